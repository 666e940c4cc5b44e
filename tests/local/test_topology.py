"""What each process of a local run is told: its document, its files, its command."""

from pathlib import Path

import msgspec
import pytest
from tests.local.worlds import plans, pool, route, secret

from waystation_contract.check import check
from waystation_contract.model import (
    LMTP,
    MX,
    Backend,
    Discard,
    Document,
    Quarantine,
    Reject,
    SmartHost,
    Unavailable,
    UpstreamTLS,
)
from waystation_operator.local.layout import Layout
from waystation_operator.local.place import place
from waystation_operator.local.redirect import credentials, to_sink, with_dns
from waystation_operator.local.topology import Settings, admin_ports, desired, document_of

LAYOUT = Layout(Path("/data"))
BACKENDS = """[
  {mx: {}, priority: 1},
  {smartHost: {host: smtp.example.net, port: 587, tls: Required, authSecretName: upstream}, weight: 3},
  {lmtp: {host: dovecot.example.com}, priority: 2}]"""
UPSTREAM = secret("upstream", username="shop", password="hunter2")


def planned(backends: str) -> Document:
    (plan,) = plans(pool("outbound", 25), route("outbound", backends), UPSTREAM)
    assert plan.document is not None
    return plan.document


def test_sink_takes_the_place_of_every_delivery() -> None:
    """With the sink nothing leaves the machine, whatever the route says; priorities and weights stay."""
    (only,) = to_sink(planned(BACKENDS), "127.0.0.1", 5025).routes
    assert [(x.priority, x.weight) for x in only.backends] == [(1, 1), (0, 3), (2, 1)]
    assert all(
        isinstance(x, SmartHost)
        and (x.host, x.port, x.tls, x.credential) == ("127.0.0.1", 5025, UpstreamTLS.NONE, None)
        for x in only.backends
    )


@pytest.mark.parametrize(
    ("text", "kind"),
    [("reject: {}", Reject), ("discard: {}", Discard), ("quarantine: {}", Quarantine)],
)
def test_sink_leaves_verdicts(text: str, kind: type[Backend]) -> None:
    """Rejecting, discarding and holding deliver nowhere, so they stay what they are."""
    document = planned(f"[{{{text}}}]")
    assert to_sink(document, "127.0.0.1", 5025) == document
    assert isinstance(document.routes[0].backends[0], kind)


def test_every_kind_of_backend_is_decided_on() -> None:
    """A new kind of backend must not slip past the sink: it delivers, is a verdict, or cannot be had."""
    assert set(Backend.__args__) == {MX, SmartHost, LMTP, Reject, Discard, Quarantine, Unavailable}


def test_sink_leaves_what_is_not_ready() -> None:
    """Mail that would wait in a cluster waits here, too."""
    (only,) = planned("[{mx: {}}]").routes
    waiting = msgspec.structs.replace(only, backends=(Unavailable(reason="SecretNotFound"),))
    document = msgspec.structs.replace(planned("[{mx: {}}]"), routes=(waiting,))
    assert to_sink(document, "127.0.0.1", 5025) == document


def test_changed_documents_are_still_valid() -> None:
    """What the local mode changes passes the relay's own check."""
    document = with_dns(to_sink(planned(BACKENDS), "127.0.0.1", 5025), ["127.0.0.1:5353"])
    assert check(document) == ()
    assert document.delivery.dns_servers == ("127.0.0.1:5353",)


def test_credentials_named_by_a_document() -> None:
    """Names of certificates and credentials that a document needs beside it."""
    assert credentials(planned(BACKENDS)) == {"mail.upstream"}
    assert credentials(to_sink(planned(BACKENDS), "127.0.0.1", 5025)) == set()


def test_passwords_are_written_only_where_they_are_used() -> None:
    """With the sink no relay logs in anywhere, so none gets the password."""
    found = plans(pool("outbound", 25), route("outbound", BACKENDS), UPSTREAM)
    (pod,) = place(found, 2500, sink=False).pods
    _, files = document_of(pod, place(found, 2500, sink=False), ())
    assert files == {"mail.upstream.username": b"shop", "mail.upstream.password": b"hunter2"}
    _, files = document_of(pod, place(found, 2500, sink=True), ())
    assert files == {}


def test_processes_of_a_run() -> None:
    """The sink first, then each relay with its folder, address, admin port and token."""
    found = desired(place(plans(pool("outbound", 25, 587)), 2500, sink=True), LAYOUT, Settings(sink=True))
    sink, relay = found.processes
    assert sink.argv[1:] == ("-m", "waystation", "sink", "--port", "5025", "--maildir", "/data/sink")
    assert " ".join(relay.argv[1:]) == (
        "-m waystation relay --config /data/pods/outbound-0/config/relay.json"
        " --data /data/pods/outbound-0/spool --bind 127.0.0.1 --admin 127.0.0.1:8000"
        " --admin-token-file /data/pods/outbound-0/admin-token --pod outbound-0"
    )
    assert [(x.port, x.what) for x in relay.listening] == [
        (2525, "listener l25, port 25"),
        (3087, "listener l587, port 587"),
        (8000, "admin"),
    ]
    assert relay.ready_url == "http://127.0.0.1:8000/readyz"
    assert admin_ports(found) == {"outbound-0": 8000}


def test_pods_of_one_pool_share_their_ports() -> None:
    """Several pods listen at the same address, and only then: alone, a second process there is a mistake."""
    two = desired(place(plans(pool("outbound", 25, replicas=2)), 2500, sink=False), LAYOUT, Settings())
    assert ["--reuse-port" in process.argv for process in two.processes] == [True, True]
    one = desired(place(plans(pool("outbound", 25)), 2500, sink=False), LAYOUT, Settings())
    assert ["--reuse-port" in process.argv for process in one.processes] == [False]
