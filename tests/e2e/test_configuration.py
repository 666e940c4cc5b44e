"""Configuration changes while mail flows."""

import json
import signal
import smtplib
import time

import msgspec
import pytest
from tests.support import clients
from tests.support.certificates import Authority
from tests.support.relay import RelayProcess, listener, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import Limits, ListenerTLS, Reject, Retry, Unavailable


@pytest.fixture(scope="module")
def relay(module_relay: RelayProcess, module_sink: Sink) -> RelayProcess:
    module_relay.configure(route(to(module_sink.port)))
    return module_relay.start()


def config(relay: RelayProcess) -> dict[str, object]:
    status, body = relay.get("/config")
    assert status == 200, body
    answer = json.loads(body)
    assert isinstance(answer, dict)
    return answer


def wait_hash(relay: RelayProcess, old: object) -> None:
    until(lambda: config(relay)["hash"] != old, "the new configuration's hash at /config")


def test_new_routes_without_dropping_a_session(relay: RelayProcess, module_sink: Sink) -> None:
    """A session open across the change goes on; its next recipient meets the new routes."""
    old = config(relay)["hash"]
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as client:
        client.ehlo("client.test")
        client.mail("a@shop.test")
        assert client.rcpt("before@next.test")[0] == 250
        relay.configure(
            route(to(module_sink.port)),
            route(Reject(code=550), recipients=["*@closed.test"], name="test/closed"),
        )
        wait_hash(relay, old)
        assert client.data(clients.mail("across the change"))[0] == 250
        client.mail("a@shop.test")
        assert client.rcpt("after@closed.test")[0] == 550
    module_sink.wait(1)
    assert relay.process is not None
    assert relay.process.poll() is None


@pytest.mark.parametrize(
    ("content", "word"),
    [
        pytest.param(b"{not json", "JSON", id="no JSON"),
        pytest.param(b'{"version": 1, "pool": "x"}', "hostname", id="missing field"),
        pytest.param(b'{"version": 99}', "version", id="later version"),
        pytest.param(None, "nosuch", id="unknown listener in a route"),
    ],
)
def test_bad_configuration_keeps_the_last_good_one(
    relay: RelayProcess, module_sink: Sink, content: bytes | None, word: str
) -> None:
    """A broken document changes nothing, and /config says what is wrong with it."""
    good = relay.configure(route(to(module_sink.port)))
    until(lambda: not config(relay)["last_error"], "the good configuration")
    before = config(relay)["hash"]
    if content is None:
        routes = (msgspec.structs.replace(good.routes[0], listeners=("nosuch",)),)
        content = msgspec.json.encode(msgspec.structs.replace(good, routes=routes))
    relay.write(content)
    error = until(lambda: config(relay)["last_error"], "the error at /config")
    assert word.lower() in str(error).lower()
    assert config(relay)["hash"] == before
    module_sink.received.clear()
    clients.send(relay.port, "a@shop.test", "b@next.test", clients.mail("still working"))
    module_sink.wait(1)


def test_limits_change_for_new_transactions(relay: RelayProcess, module_sink: Sink) -> None:
    """A smaller size limit is announced and applied without a restart."""
    old = config(relay)["hash"]
    relay.configure(
        route(to(module_sink.port)),
        listeners=(listener(relay.port, limits=Limits(max_message_bytes=10_000)),),
    )
    wait_hash(relay, old)
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as client:
        client.ehlo("client.test")
        assert client.esmtp_features["size"] == "10000"
        assert client.mail("a@shop.test", ["SIZE=20000"])[0] == 552


def test_a_signal_hastens_the_look(relay: RelayProcess, module_sink: Sink) -> None:
    """SIGHUP: the new document is in force before the next look would have come."""
    old = config(relay)["hash"]
    relay.configure(route(to(module_sink.port), name="test/first"))
    wait_hash(relay, old)  # a look has just been: the next one is a second away
    old = config(relay)["hash"]
    began = time.monotonic()
    relay.configure(route(to(module_sink.port), name="test/second"))
    assert relay.process is not None
    relay.process.send_signal(signal.SIGHUP)
    wait_hash(relay, old)
    assert time.monotonic() - began < 0.7
    assert config(relay)["routes"] == ["test/second"]


def test_a_certificate_that_comes_late(relay: RelayProcess, module_sink: Sink) -> None:
    """The document names a certificate that is not there yet: the old one stays until it is."""
    old = config(relay)["hash"]
    secure = listener(relay.port, tls=ListenerTLS.OPPORTUNISTIC, certificate="late-tls")
    relay.configure(route(to(module_sink.port)), listeners=(secure,))
    until(lambda: "late-tls.crt" in str(config(relay)["last_error"]), "the missing certificate's name")
    assert config(relay)["hash"] == old
    relay.certificate("late-tls", Authority(relay.folder).issue("relay.test"))
    wait_hash(relay, old)
    assert config(relay)["last_error"] == ""
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as client:
        client.ehlo("client.test")
        assert client.has_extn("starttls")


def test_mail_of_a_route_that_is_not_ready_waits_for_it(relay: RelayProcess, module_sink: Sink) -> None:
    """Its mail is taken and goes nowhere else; once the route is ready it goes at once, not an hour later."""
    hourly = Retry(first_s=3600.0, max_s=3600.0)
    everything = route(to(module_sink.port))
    lacking = Unavailable(reason="SecretNotFound: Secret test/login")
    relay.apply(everything, route(lacking, recipients=["*@late.test"], name="test/late", retry=hourly))
    relay.wait_log("route.unavailable", route="test/late", reason="SecretNotFound: Secret test/login")
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as client:
        client.sendmail("a@shop.test", ["ann@late.test", "bob@early.test"], clients.mail("to both"))
    deferred = relay.wait_log("message.deferred", route="test/late")
    assert deferred["reply"] == "451 4.3.5 the route for this recipient is not ready"
    until(lambda: module_sink.to("bob@early.test"), "the mail of the other route")
    assert module_sink.to("ann@late.test") == []
    ready = route(to(module_sink.port), recipients=["*@late.test"], name="test/late", retry=hourly)
    relay.apply(everything, ready)
    until(lambda: module_sink.to("ann@late.test"), "the mail of the route that is ready")
