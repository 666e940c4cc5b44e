"""What the shape cannot say: each finding names the field, the value, the problem and a remedy."""

from typing import Any

import msgspec
import pytest
from tests.contract.documents import SMALL, small

from waystation_contract.check import LONE_VERDICT, ConfigError, Finding, check
from waystation_contract.model import (
    LMTP,
    MX,
    Delivery,
    Discard,
    Document,
    Listener,
    ListenerTLS,
    Quarantine,
    Reject,
    Retry,
    Route,
    SmartHost,
    Unavailable,
)


def listener(routes: tuple[Route, ...] = SMALL.routes, **changes: Any) -> Document:
    first, second = SMALL.listeners
    return small(listeners=(msgspec.structs.replace(first, **changes), second), routes=routes)


def another(**fields: Any) -> Document:
    third = Listener(**{"name": "x", "port": 1, "service_port": 1} | fields)
    return small(listeners=(*SMALL.listeners, third))


def route(**changes: Any) -> Document:
    return small(routes=(msgspec.structs.replace(SMALL.routes[0], **changes),))


def backends(*given: Any) -> Document:
    return route(backends=given)


# (what is wrong, a document with it alone, field: value: problem)
CASES = [
    ("version", small(version=2), "version: 2: is not 1"),
    ("hostname", small(hostname="a b"), "hostname: a b: is not a DNS name"),
    ("postmaster", small(postmaster="root"), "postmaster: root: is not a mail address"),
    ("no listener", small(listeners=(), routes=()), "listeners: is empty"),
    ("listener without a name", listener(name="", routes=()), "listeners[0].name: is empty"),
    ("two names", another(name="smtp"), "listeners[2].name: smtp: is also listeners[0].name"),
    ("two ports", another(port=2525), "listeners[2].port: 2525: is also listeners[0].port"),
    (
        "two service ports",
        another(service_port=25),
        "listeners[2].service_port: 25: is also listeners[0].service_port",
    ),
    (
        "no certificate",
        listener(tls=ListenerTLS.IMPLICIT),
        "listeners[0].certificate: is missing with tls Implicit",
    ),
    (
        "certificate with a path",
        listener(certificate="../tls"),
        "listeners[0].certificate: ../tls: is not the name of a credential or certificate",
    ),
    (
        "client",
        listener(clients=("10.0.0.0/8", "10.0.0.1")),
        "listeners[0].clients[1]: 10.0.0.1: is not a network in CIDR notation",
    ),
    (
        "open relay",
        listener(clients=("0.0.0.0/0",)),
        "listeners[0].clients: 0.0.0.0/0: lets the whole internet relay through this listener",
    ),
    ("first above max", small(retry=Retry(first_s=10, max_s=5)), "retry.first_s: 10: is above max_s (5)"),
    ("negative warning", small(retry=Retry(warn_after_s=-1)), "retry.warn_after_s: -1: is negative"),
    (
        "late warning",
        small(retry=Retry(warn_after_s=5, expire_after_s=5)),
        "retry.warn_after_s: 5: is not before expire_after_s (5)",
    ),
    (
        "bind address",
        small(delivery=Delivery(bind_address="eth0")),
        "delivery.bind_address: eth0: is not an IP address",
    ),
    (
        "DNS server",
        small(delivery=Delivery(dns_servers=("192.0.2.1", "dns"))),
        "delivery.dns_servers[1]: dns: is not a DNS server's address",
    ),
    ("two routes", small(routes=SMALL.routes[:1] * 2), "routes[1].name: mail/all: is also routes[0].name"),
    ("route without listeners", route(listeners=()), "routes[0].listeners: is empty"),
    (
        "unknown listener",
        route(listeners=("smtp", "x")),
        "routes[0].listeners[1]: x: is no listener of this pool",
    ),
    ("route without senders", route(senders=()), "routes[0].senders: is empty"),
    ("route without recipients", route(recipients=()), "routes[0].recipients: is empty"),
    (
        "pattern",
        route(recipients=("*", "example.com")),
        "routes[0].recipients[1]: example.com: is not an address pattern",
    ),
    ("route without backends", backends(), "routes[0].backends: is empty"),
    ("reject beside others", backends(MX(), Reject()), f"routes[0].backends: {LONE_VERDICT.problem}"),
    ("discard beside others", backends(Discard(), MX()), f"routes[0].backends: {LONE_VERDICT.problem}"),
    ("two verdicts", backends(Quarantine(), Discard()), f"routes[0].backends: {LONE_VERDICT.problem}"),
    ("smart host", backends(MX(), SmartHost(host="a:25")), "routes[0].backends[1].host: a:25: is not a host"),
    ("LMTP host", backends(LMTP(host="")), "routes[0].backends[0].host: is not a host"),
    (
        "credential",
        backends(SmartHost(host="a", credential="UP")),
        "routes[0].backends[0].credential: UP: is not the name of a credential or certificate",
    ),
    (
        "enhanced code",
        backends(Reject(enhanced="5.7")),
        "routes[0].backends[0].enhanced: 5.7: is not an enhanced status code",
    ),
    (
        "reply text",
        backends(Reject(message="a\nb")),
        "routes[0].backends[0].message: a\nb: cannot be said in a reply",
    ),
    (
        "reply class",
        backends(Reject(code=450)),
        "routes[0].backends[0].enhanced: 5.7.1: is of another class than code 450 (RFC 3463 §2)",
    ),
    (
        "reason of two lines",
        backends(Unavailable(reason="a\nb")),
        "routes[0].backends[0].reason: a\nb: is no reason that a log line can give",
    ),
    (
        "no reason",
        backends(Unavailable(reason=" ")),
        "routes[0].backends[0].reason:  : is no reason that a log line can give",
    ),
    (
        "unavailable beside a verdict",
        backends(Unavailable(reason="x"), Discard()),
        f"routes[0].backends: {LONE_VERDICT.problem}",
    ),
    (
        "a route's retry",
        route(retry=Retry(first_s=10, max_s=5)),
        "routes[0].retry.first_s: 10: is above max_s (5)",
    ),
]


@pytest.mark.parametrize(("document", "expected"), [pytest.param(*rest, id=name) for name, *rest in CASES])
def test_finding(document: Document, expected: str) -> None:
    """One mistake, one finding, at its place, with a remedy."""
    (finding,) = check(document)
    assert str(finding) == f"{expected}; {finding.remedy}"
    assert finding.remedy


def test_all_findings_at_once() -> None:
    """Every mistake of a document is found in one look, in the order of its fields."""
    wrong = Route(name="x/y", created=0, listeners=("nosuch",), backends=(LMTP(host=""), Discard()))
    found = check(small(hostname="", postmaster="x", routes=(wrong,)))
    assert [finding.field for finding in found] == [
        "hostname",
        "postmaster",
        "routes[0].listeners[0]",
        "routes[0].backends",
        "routes[0].backends[0].host",
    ]


def test_a_good_document_has_no_findings() -> None:
    """The document that the cases above change is right itself; test_codec.py tries any other."""
    assert check(SMALL) == ()


def test_an_error_reads_as_its_findings() -> None:
    """The text of the exception is what people see: a line a finding."""
    error = ConfigError((Finding("a", "1", "is wrong", "mend it"), Finding("b", "", "is missing", "add it")))
    assert str(error) == "a: 1: is wrong; mend it\nb: is missing; add it"
