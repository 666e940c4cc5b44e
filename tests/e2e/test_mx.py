"""Delivery by MX: zones served by nsd, resolved by unbound, mail servers on several loopback addresses."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import clients
from tests.support.dns import Nsd, Unbound
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import MX, Delivery, MXPolicy

# All servers of a test have one port, as all have port 25 in the world; the addresses differ.
ZONE = """
two      MX 10 down
two      MX 20 up
down     A 127.0.0.3
up       A 127.0.0.2
plain    A 127.0.0.2
null     MX 0 .
alias    CNAME two
loop     MX 10 up
loop     MX 20 relay
loop     MX 30 down
relay    A 127.0.0.9
onlyme   MX 10 relay
nowhere  MX 10 missing
ring1    CNAME ring2
ring2    CNAME ring1
"""


@pytest.fixture(scope="module")
def sink() -> Iterator[Sink]:
    """The server at 127.0.0.2; nothing listens at 127.0.0.3."""
    with Sink(host="127.0.0.2") as running:
        yield running


@pytest.fixture(scope="module")
def home() -> Iterator[Sink]:
    """Where the senders' reports arrive."""
    with Sink() as running:
        yield running


@pytest.fixture(scope="module")
def relay(
    module_relay: RelayProcess, sink: Sink, home: Sink, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RelayProcess]:
    folder: Path = tmp_path_factory.mktemp("dns")
    with (
        Nsd(folder, {"dest.test": ZONE}) as nsd,
        Unbound(folder, {"dest.test": nsd.port, "broken.test": free_port()}) as unbound,
    ):
        module_relay.configure(
            route(MX(tls=MXPolicy.OPPORTUNISTIC, port=sink.port), name="test/mx"),
            route(to(home.port), recipients=["*@shop.test"], name="test/home"),
            hostname="relay.dest.test",
            delivery=Delivery(dns_servers=(f"127.0.0.1:{unbound.port}",)),
        )
        yield module_relay.start()


@pytest.fixture(autouse=True)
def empty(relay: RelayProcess, sink: Sink, home: Sink) -> Iterator[None]:
    sink.received.clear()
    home.received.clear()
    yield
    relay.queue_run("delete", "--all")


@pytest.mark.parametrize(
    "domain",
    [
        pytest.param("two.dest.test", id="best MX refuses connections, the next one takes it"),
        pytest.param("plain.dest.test", id="no MX, the domain's own address"),
        pytest.param("alias.dest.test", id="CNAME to a domain with MX"),
        pytest.param("loop.dest.test", id="ourselves and worse left out"),
        pytest.param("[127.0.0.2]", id="address literal"),
        pytest.param("TWO.Dest.TEST", id="upper case"),
    ],
)
def test_delivered_by_mx(relay: RelayProcess, sink: Sink, domain: str) -> None:
    """Whatever way DNS names the server, the mail gets there in the first attempt."""
    clients.send(relay.port, "ann@shop.test", f"bob@{domain}", clients.mail("by mx"))
    assert sink.wait(1, within_s=10)[0].recipients == (f"bob@{domain}",)


@pytest.mark.parametrize(
    ("domain", "status"),
    [
        pytest.param("null.dest.test", "5.1.10", id="null MX"),
        pytest.param("absent.dest.test", "5.1.2", id="no such domain"),
        pytest.param("nowhere.dest.test", "5.4.4", id="no MX host has an address"),
        pytest.param("onlyme.dest.test", "5.4.6", id="the best MX is ourselves"),
    ],
)
def test_bounced_at_once(relay: RelayProcess, home: Sink, domain: str, status: str) -> None:
    """What can never work is reported at once, with the status code made for it."""
    clients.send(relay.port, "ann@shop.test", f"bob@{domain}", clients.mail("by mx"))
    (report,) = home.wait(1)
    assert report.sender == ""
    assert f"Status: {status}\r\n".encode() in report.content
    until(lambda: relay.queued() == 0, "an empty queue")


@pytest.mark.parametrize(
    "domain",
    [
        pytest.param("broken.test", id="the zone's server does not answer"),
        pytest.param("ring1.dest.test", id="a ring of CNAMEs"),
    ],
)
def test_dns_trouble_waits(relay: RelayProcess, home: Sink, domain: str) -> None:
    """A lookup that fails says nothing about the address: the mail waits and says why."""
    clients.send(relay.port, "ann@shop.test", f"bob@{domain}", clients.mail("by mx"))

    def deferred() -> list[object]:
        return [m for m in relay.queue("list") if m["recipients"][0]["attempts"]]

    (message,) = until(deferred, "a first attempt", within_s=25, every_s=0.2)
    assert message["recipients"][0]["reason"] == "dns"  # type: ignore[index]
    assert home.received == []
