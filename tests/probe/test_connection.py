"""How far a probe gets: connect, greeting, EHLO, LHLO; each way to fail has a reason of its own."""

import asyncio
import dataclasses
import socket
from collections.abc import Iterator

import pytest
from tests.probe.asking import SHORT_S, Book, found, smart_host
from tests.support.ports import free_port
from tests.support.scripted import Peer, Script, Scripted

from waystation_operator.plan.findings import Target
from waystation_operator.probe.connection import SMTP_PORT


@pytest.fixture
def full() -> Iterator[int]:
    """A port that neither takes connections nor refuses them, as behind a firewall: its backlog is full."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()


async def polite(peer: Peer) -> None:
    await peer.hello("SIZE 1000")
    await peer.goodbye()


async def test_a_server_that_takes_mail_is_offered_none() -> None:
    """Greeting, EHLO and QUIT are all that a smart host without TLS and AUTH hears."""
    async with Scripted(polite) as server:
        finding = await found(smart_host(server.port))
    assert (finding.ok, finding.reason) == (True, "Reachable")
    assert finding.message == f"127.0.0.1:{server.port} answers"


async def test_a_closed_port() -> None:
    """Nobody listens."""
    finding = await found(smart_host(free_port()))
    assert (finding.ok, finding.reason) == (False, "ConnectionRefused")
    assert "check the backend's host and port" in finding.message


async def test_a_firewall_that_drops(full: int) -> None:
    """Neither yes nor no within the deadline."""
    finding = await found(smart_host(full), within_s=SHORT_S)
    assert (finding.ok, finding.reason) == (False, "ConnectionTimedOut")
    assert f"does not answer within {SHORT_S} s" in finding.message


async def test_port_25_that_drops_is_told_as_what_it_mostly_is(
    full: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most clouds block port 25: who meets that is told so, not sent to look for a typing error."""
    monkeypatch.setattr("waystation_operator.probe.connection.SMTP_PORT", full)
    assert SMTP_PORT == 25
    finding = await found(smart_host(full), within_s=SHORT_S)
    assert finding.reason == "ConnectionTimedOut"
    assert "many clouds block port 25" in finding.message


async def test_an_address_without_a_route() -> None:
    """The kernel has no way there: no server's fault, and no firewall's silence."""
    target = dataclasses.replace(smart_host(free_port()), host="255.255.255.255")
    finding = await found(target, names=Book("255.255.255.255"), within_s=SHORT_S)
    assert (finding.ok, finding.reason) == (False, "HostUnreachable")


async def silent(peer: Peer) -> None:
    await peer.silence()


async def hangs_up(peer: Peer) -> None:
    peer.close()


async def web(peer: Peer) -> None:
    peer.say("HTTP/1.1 400 Bad Request", "Server: internal-secret/1.2", "")
    await peer.hang_up()


async def endless(peer: Peer) -> None:
    await peer.flood(b"220-more\r\n" * 100)


async def odd_code(peer: Peer) -> None:
    peer.say("999 hello")
    await peer.hang_up()


async def blocked(peer: Peer) -> None:
    peer.say("554-5.7.1 you are on our list", "554 5.7.1 see http://list.test/")
    await peer.hang_up()


async def busy(peer: Peer) -> None:
    peer.say("421 4.7.0 too many of you")
    peer.close()


async def no_name(peer: Peer) -> None:
    peer.say("220 mx.test")
    for verb in ("EHLO", "HELO"):
        await peer.expect(f"{verb} relay.test")
        peer.say("550 5.7.1 who is that")
    await peer.goodbye()


async def deaf(peer: Peer) -> None:
    peer.say("220 mx.test")
    await peer.expect("EHLO relay.test")
    await peer.silence()


async def dies(peer: Peer) -> None:
    peer.say("220 mx.test")
    await peer.expect("EHLO relay.test")
    peer.drop()


async def babbles(peer: Peer) -> None:
    peer.say("220 mx.test")
    await peer.expect("EHLO relay.test")
    peer.say("hello yourself")
    await peer.hang_up()


CASES: dict[str, tuple[Script, str, str]] = {
    "says nothing": (silent, "NoGreeting", "set tls to Implicit if the port expects TLS"),
    "hangs up": (hangs_up, "ConnectionLost", "before its greeting"),
    "a web server": (web, "NotSmtp", "is not SMTP"),
    "a greeting without an end": (endless, "NotSmtp", "is not SMTP"),
    "a code that is none": (odd_code, "NotSmtp", "is not SMTP"),
    "turned away for good": (blocked, "GreetingRefused", "554 5.7.1 you are on our list"),
    "turned away for now": (busy, "GreetingRefused", "421 4.7.0 too many of you"),
    "our name is refused": (no_name, "HelloRefused", "550 5.7.1 who is that"),
    "no answer to EHLO": (deaf, "NoAnswer", "does not answer EHLO within"),
    "hangs up at EHLO": (dies, "ConnectionLost", "at EHLO"),
    "nonsense to EHLO": (babbles, "NotSmtp", "is not SMTP"),
}


@pytest.mark.parametrize("case", CASES)
async def test_each_way_to_fail_has_its_reason(case: str) -> None:
    """What a server does wrong is told as what it is, with its own words where it has any."""
    script, reason, told = CASES[case]
    async with Scripted(script) as server:
        finding = await found(smart_host(server.port), within_s=SHORT_S)
    assert (finding.ok, finding.reason) == (False, reason)
    assert told in finding.message
    assert finding.message.isprintable()


async def test_what_is_no_reply_is_not_repeated() -> None:
    """A route must not make the operator read out what stands at any port of the cluster."""
    async with Scripted(web) as server:
        finding = await found(smart_host(server.port))
    assert "internal-secret" not in finding.message


async def test_helo_where_ehlo_is_unknown() -> None:
    """An old server without extensions takes mail all the same."""

    async def old(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        peer.say("502 what is that")
        await peer.expect("HELO relay.test")
        peer.say("250 mx.test")
        await peer.goodbye()

    async with Scripted(old) as server:
        finding = await found(smart_host(server.port))
    assert finding.reason == "Reachable"


async def test_one_address_that_works_is_enough() -> None:
    """As for mail: the host's addresses are tried in turn."""
    async with Scripted(polite) as server:
        finding = await found(smart_host(server.port, host="mx.test"), names=Book("127.0.0.9", "127.0.0.1"))
    assert finding.reason == "Reachable"
    assert "mx.test [127.0.0.1]" in finding.message


async def test_an_answer_tells_more_than_a_closed_port() -> None:
    """When no address works, it is the one that said why that is told of."""
    async with Scripted(blocked) as server:
        names = Book("127.0.0.9", "127.0.0.1")
        finding = await found(smart_host(server.port, host="mx.test"), names=names)
    assert finding.reason == "GreetingRefused"


async def test_lmtp() -> None:
    """A mailbox server is greeted with LHLO."""

    async def mailboxes(peer: Peer) -> None:
        await peer.hello(verb="LHLO")
        await peer.goodbye()

    async with Scripted(mailboxes) as server:
        finding = await found(Target("lmtp", "127.0.0.1", server.port))
    assert (finding.ok, finding.reason) == (True, "Reachable")


async def test_smtp_where_lmtp_is_expected() -> None:
    """An SMTP server knows no LHLO; the remedy names the other kind of backend."""

    async def no_mailboxes(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("LHLO relay.test")
        peer.say("502 5.5.2 command not recognized")
        await peer.goodbye()

    async with Scripted(no_mailboxes) as server:
        finding = await found(Target("lmtp", "127.0.0.1", server.port))
    assert (finding.ok, finding.reason) == (False, "NotLmtp")
    assert "use its LMTP port" in finding.message
    assert "smartHost" in finding.message


async def test_a_probe_that_is_stopped_hangs_up() -> None:
    """An operator that ends leaves no connection behind."""
    arrived = asyncio.Event()

    async def waits(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        arrived.set()
        assert await peer.hang_up() == b""

    async with Scripted(waits) as server:
        probing = asyncio.create_task(found(smart_host(server.port)))
        async with asyncio.timeout(5):
            await arrived.wait()
        probing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probing
