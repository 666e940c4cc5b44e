"""The configuration changes while mail comes in."""

import socket
import ssl
from collections.abc import Callable

import pytest
from tests.receive.reception import EVERYTHING, Client, Reception, eventually, limits, listener
from tests.support.certificates import Authority, Certificate
from tests.support.ports import free_port

from waystation_contract.model import Listener, Route
from waystation_relay.receive.receiver import ListenFailure

FAR = ("*@far.test",)
ELSEWHERE = Route(
    name="test/far", created=0.0, listeners=("smtp",), recipients=FAR, backends=EVERYTHING.backends
)


def occupied(port: int) -> socket.socket:
    """Somebody else's socket."""
    other = socket.socket()
    other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    other.bind(("127.0.0.1", port))
    other.listen()
    return other


async def is_open(port: int) -> bool:
    try:
        (await Client.connect(port)).close()
    except ConnectionRefusedError:
        return False
    return True


# Start


async def test_each_listener_is_opened(new_reception: Callable[..., Reception]) -> None:
    """One line in the log for each, and each greets."""
    reception = new_reception()
    second = free_port()
    await reception.start(listener(reception.port), listener(second, name="submission"))
    assert reception.log.of("listener.opened") == [
        {"listener": "smtp", "address": "127.0.0.1", "port": reception.port},
        {"listener": "submission", "address": "127.0.0.1", "port": second},
    ]
    for port in (reception.port, second):
        assert (await (await reception.connect(port)).reply()).startswith("220 relay.test ESMTP")


async def test_a_port_in_use_fails_the_start(new_reception: Callable[..., Reception]) -> None:
    """The failure names listener, address, port and remedy; the listeners opened before are closed again."""
    reception = new_reception()
    taken = free_port()
    with occupied(taken), pytest.raises(ListenFailure) as failure:
        await reception.start(listener(reception.port), listener(taken, name="submission"))
    assert str(failure.value) == (
        f"listener submission: cannot listen on 127.0.0.1 port {taken}: the port is in use; "
        "stop what uses it, or give the listener another port"
    )
    assert not await is_open(reception.port)


async def test_an_address_of_another_machine_fails_the_start(new_reception: Callable[..., Reception]) -> None:
    """Likewise an address to bind to that is not ours."""
    reception = new_reception()
    with pytest.raises(ListenFailure, match=r"cannot listen on 192\.0\.2\.1 port .* has no such address"):
        await reception.start(bind="192.0.2.1")


# Terms


async def test_new_limits_count_at_once(reception: Reception) -> None:
    """For sessions at the door, for messages from the next MAIL on, and in the next EHLO."""
    client = await reception.greeted()
    reception.apply(listener(reception.port, limits=limits(max_message_bytes=500, max_sessions=1)))
    assert await client.say("MAIL FROM:<a@shop.test> SIZE=501") == (
        "552 5.3.4 Message too large, at most 500 bytes are taken"
    )
    assert "250-SIZE 500" in (await client.say("EHLO client.test")).splitlines()
    assert (await (await reception.connect()).rest()).startswith(b"421 4.3.2")
    assert reception.receiver.session_limits == {("smtp",): 1.0}


async def test_a_transaction_keeps_the_terms_it_began_with(reception: Reception) -> None:
    """Between MAIL and the end of the data nothing changes under the client's feet."""
    client = await reception.greeted()
    assert await client.script("MAIL FROM:<a@shop.test>") == ["250"]
    reception.apply(
        listener(reception.port, clients=(), limits=limits(max_message_bytes=1)), routes=(ELSEWHERE,)
    )
    assert await client.script("RCPT TO:<b@next.test>", "DATA") == ["250", "354"]
    client.write(b"x\r\n.\r\n")
    assert (await client.reply()).startswith("250")
    assert await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>") == ["250", "550"]


async def test_new_networks_count_from_the_next_mail(reception: Reception) -> None:
    """A client may lose and get back the right to relay within a session."""
    client = await reception.greeted()
    reception.apply(listener(reception.port, clients=("192.0.2.0/24",)))
    assert await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>", "RSET") == [
        "250", "550", "250",
    ]  # fmt: skip
    reception.apply(listener(reception.port))
    assert (await client.send()).startswith("250")


async def test_new_routes_count_from_the_next_mail(reception: Reception) -> None:
    """A recipient whose route is gone is asked to wait, one whose route has come is taken."""
    client = await reception.greeted()
    reception.apply(routes=(ELSEWHERE,))
    await client.say("MAIL FROM:<a@shop.test>")
    assert await client.script("RCPT TO:<b@next.test>", "RCPT TO:<b@far.test>") == ["451", "250"]


async def test_a_renamed_listener_keeps_socket_and_sessions(reception: Reception) -> None:
    """Its new name is in log and metrics from then on."""
    client = await reception.greeted()
    reception.apply(
        listener(reception.port, name="front"),
        routes=(Route(name="a/b", created=0.0, listeners=("front",), backends=EVERYTHING.backends),),
    )
    assert reception.receiver.sessions == {("front",): 1.0}
    assert (await client.send()).startswith("250")
    assert reception.log.of("message.accepted")[0]["listener"] == "front"
    assert reception.accepted[0].origin.listener == "front"
    assert len(reception.log.of("listener.opened")) == 1


# Sockets


async def test_a_new_listener_is_opened(reception: Reception) -> None:
    """Without a restart; those that were there before notice nothing."""
    client = await reception.greeted()
    second = free_port()
    reception.apply(listener(reception.port), listener(second, name="submission"))
    await eventually(lambda: len(reception.log.of("listener.opened")) == 2, "the second listener")
    assert (await (await reception.connect(second)).reply()).startswith("220")
    assert await client.say("NOOP") == "250 2.0.0 Ok"


async def test_a_removed_listener_is_closed(new_reception: Callable[..., Reception]) -> None:
    """Its idle sessions hear 421, its open messages are finished, the others notice nothing."""
    reception = new_reception()
    second = free_port()
    both = (listener(reception.port), listener(second, name="submission"))
    routes = (Route(name="a/b", created=0.0, listeners=("smtp", "submission"), backends=EVERYTHING.backends),)
    await reception.start(*both, routes=routes)
    idle, busy, other = [await reception.greeted(port) for port in (second, second, reception.port)]
    await busy.begin()
    reception.apply(both[0])
    assert await idle.rest() == b"421 4.3.2 Service is shutting down, try again later\r\n"
    assert not await is_open(second)
    assert reception.log.of("listener.closed") == [{"listener": "submission", "port": second}]
    assert reception.receiver.sessions == {("smtp",): 1.0, ("submission",): 1.0}
    busy.write(b"x\r\n.\r\n")
    said = (await busy.rest()).decode().splitlines()
    assert [line[:9] for line in said] == ["250 2.0.0", "421 4.3.2"]
    assert await other.say("NOOP") == "250 2.0.0 Ok"
    await eventually(
        lambda: reception.receiver.sessions == {("smtp",): 1.0}, "the closed one to be forgotten"
    )


async def test_deadlines_go_on_behind_a_removed_listener(new_reception: Callable[..., Reception]) -> None:
    """A message that was under way when its listener went has no more time than any other."""
    reception = new_reception()
    second = free_port()
    routes = (Route(name="a/b", created=0.0, listeners=("smtp", "submission"), backends=EVERYTHING.backends),)
    await reception.start(listener(reception.port), listener(second, name="submission"), routes=routes)
    client = await reception.greeted(second)
    await client.begin()
    reception.apply(listener(reception.port))
    await eventually(lambda: reception.log.of("listener.closed"), "the listener to close")
    reception.clock.advance(180)
    assert await client.rest() == b"421 4.4.2 Data arrives too slowly, closing connection\r\n"
    await reception.empty()


async def test_a_listener_moves_to_another_port(reception: Reception) -> None:
    """The old socket is closed, the new one opened."""
    moved = free_port()
    reception.apply(listener(moved))
    await eventually(lambda: reception.log.of("listener.closed"), "the old one to close")
    await eventually(lambda: len(reception.log.of("listener.opened")) == 2, "the new one to open")
    assert not await is_open(reception.port)
    assert await is_open(moved)


async def test_a_listener_begins_with_tls_from_now_on(
    reception: Reception, certificate: Certificate, trusting: ssl.SSLContext
) -> None:
    """Plain and implicit TLS on one port are two sockets, one after the other."""
    reception.certificate("relay", certificate)
    reception.apply(listener(reception.port, tls="Implicit", certificate="relay"))
    await eventually(lambda: len(reception.log.of("listener.opened")) == 2, "the new socket")
    client = await reception.greeted(tls=trusting, server_hostname="relay.test")
    assert (await client.send()).startswith("250")
    reception.apply(listener(reception.port))
    await eventually(lambda: len(reception.log.of("listener.opened")) == 3, "the plain one again")
    assert (await (await reception.greeted()).send()).startswith("250")


async def test_ports_in_use_are_tried_again(reception: Reception) -> None:
    """The log says which, the others are opened, and when the ports are free these are too."""
    taken = [free_port(), free_port()]
    others = [occupied(port) for port in taken]
    third = free_port()
    names = ("one", "two", "three")
    extra = [listener(port, name=name) for port, name in zip((*taken, third), names, strict=True)]
    reception.apply(listener(reception.port), *extra)
    await eventually(lambda: len(reception.log.of("listener.opened")) == 2, "the free one to be opened")
    await eventually(lambda: len(reception.log.of("listener.failed")) >= 4, "both to be tried twice")
    line = reception.log.of("listener.failed")[0]
    assert (line["listener"], line["port"]) == ("one", taken[0])
    assert "the port is in use" in line["error"]
    for other in others:
        other.close()
    await eventually(lambda: len(reception.log.of("listener.opened")) == 4, "all to be opened")
    assert await is_open(taken[0])


async def test_trying_again_does_not_multiply(reception: Reception, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the configuration changes meanwhile, a port is tried once each time."""
    taken = free_port()
    with occupied(taken):
        for _ in range(5):
            reception.apply(listener(reception.port), listener(taken, name="one"))
            before = len(reception.log.of("listener.failed"))
            await eventually(lambda n=before: len(reception.log.of("listener.failed")) > n, "a try")
        assert len(reception.receiver._tasks._tasks) == 2


async def test_a_listener_that_cannot_be_opened_may_be_taken_back(reception: Reception) -> None:
    """Without it in the configuration nobody tries any more."""
    taken = free_port()
    with occupied(taken):
        reception.apply(listener(reception.port), listener(taken, name="one"))
        await eventually(lambda: reception.log.of("listener.failed"), "the failure")
        reception.apply()
        await eventually(lambda: not reception.receiver._stale.is_set(), "the change to be seen")
    assert set(reception.receiver.sessions) == {("smtp",)}


# Certificates


@pytest.mark.parametrize("tls", ["Opportunistic", "Implicit"])
async def test_a_replaced_certificate_is_shown_to_the_next_client(
    new_reception: Callable[..., Reception], authority: Authority, trusting: ssl.SSLContext, tls: str
) -> None:
    """Renewing a certificate closes no socket and no session."""
    reception = new_reception()

    def having(issued: Certificate) -> Listener:
        reception.certificate("relay", issued)
        return listener(reception.port, tls=tls, certificate="relay")

    async def shown(name: str) -> Client:
        if tls == "Implicit":
            client = await reception.greeted(tls=trusting, server_hostname=name)
        else:
            client = await reception.greeted()
            assert (await client.say("STARTTLS")).startswith("220")
            await client.start_tls(trusting, name)
        subject = client.secured().getpeercert() or {}
        assert ("DNS", name) in subject["subjectAltName"]
        return client

    await reception.start(having(authority.issue("relay.test")))
    before = await shown("relay.test")
    reception.apply(having(authority.issue("renewed.test")))
    await shown("renewed.test")
    assert (await before.say("EHLO client.test")).startswith("250")
    assert len(reception.log.of("listener.opened")) == 1
