"""From hosts to a connection: every step may fail, and the next address is tried."""

import asyncio
import socket

import pytest
from tests.support.delivering import (
    IMPATIENT,
    PATIENT,
    SHORT_S,
    At,
    connection_to,
    failure_of,
    opened,
    send,
    told,
    transaction,
)
from tests.support.ports import free_port
from tests.support.scripted import Peer, Script, Scripted

from waystation_relay.delivery.connect import MOST_ADDRESSES
from waystation_relay.mail.outcome import Deferred, Failed, Reason, Remote


async def takes_mail(peer: Peer) -> None:
    await peer.hello()
    await peer.take()
    await peer.goodbye()


# Each step failing


def greets(*lines: str) -> Script:
    async def script(peer: Peer) -> None:
        peer.say(*lines)
        await peer.hang_up()

    return script


def answers_hello(*lines: str) -> Script:
    async def script(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        peer.say(*lines)
        await peer.hang_up()

    return script


async def closes_at_once(peer: Peer) -> None:
    peer.close()


async def resets_at_once(peer: Peer) -> None:
    peer.drop()


async def closes_after_greeting(peer: Peer) -> None:
    peer.say("220 mx.test")
    await peer.expect("EHLO relay.test")
    peer.close()


async def floods(peer: Peer) -> None:
    await peer.flood((b"220-" + b"x" * 996 + b"\r\n") * 64)


async def floods_without_line_end(peer: Peer) -> None:
    await peer.flood(b"2" * 65536)


async def says_too_much(peer: Peer) -> None:
    peer.say("220 mx.test", "250 I cannot wait")
    await peer.hang_up()


async def says_too_much_after_hello(peer: Peer) -> None:
    await peer.hello()
    peer.say("250 and by the way")
    await peer.hang_up()


FAILING = [
    pytest.param(
        closes_at_once, "deferred connect 451 4.4.2", "it closed the connection", id="closes at once"
    ),
    pytest.param(resets_at_once, "deferred connect 451 4.4.2", "awaiting the reply to", id="resets at once"),
    pytest.param(greets("421 4.7.0 busy"), "deferred throttled 421 4.7.0", "greeted us with: 421", id="421"),
    pytest.param(greets("450 later"), "deferred other 450 4.0.0", "greeted us with: 450", id="4yz greeting"),
    pytest.param(greets("554 no"), "deferred policy 451 4.7.0", "greeted us with: 554 no", id="5yz greeting"),
    pytest.param(greets("354 go on"), "deferred protocol 451 4.5.0", "354 go on", id="3yz greeting"),
    pytest.param(greets("SSH-2.0-x"), "deferred protocol 451 4.5.0", "SSH-2.0-x", id="no mail server"),
    pytest.param(
        greets("220 mx.test", "421 4.3.2 on second thoughts"),
        "deferred throttled 421 4.3.2",
        "answered EHLO with: 421",
        id="421 behind the greeting",
    ),
    pytest.param(says_too_much, "deferred protocol 451 4.5.0", "more replies", id="two greetings"),
    pytest.param(floods, "deferred protocol 451 4.5.0", "makes no sense", id="a greeting without end"),
    pytest.param(floods_without_line_end, "deferred protocol 451 4.5.0", "2222", id="a line without end"),
    pytest.param(closes_after_greeting, "deferred connect 451 4.4.2", "EHLO", id="closes after the greeting"),
    pytest.param(
        answers_hello("421 bye"), "deferred throttled 421 4.3.2", "answered EHLO with: 421", id="421 to EHLO"
    ),
    pytest.param(answers_hello("450 later"), "deferred other 450 4.0.0", "EHLO with: 450", id="4yz to EHLO"),
    pytest.param(answers_hello("334 "), "deferred protocol 451 4.5.0", "334", id="3yz to EHLO"),
    pytest.param(answers_hello("what?"), "deferred protocol 451 4.5.0", "what?", id="nonsense to EHLO"),
    pytest.param(
        says_too_much_after_hello, "deferred protocol 451 4.5.0", "more replies", id="more after EHLO"
    ),
]


@pytest.mark.parametrize(("script", "outcome", "text"), FAILING)
async def test_step_fails(script: Script, outcome: str, text: str) -> None:
    """Whatever a server does instead of taking mail, the mail waits and says what the server did."""
    async with Scripted(script) as server:
        failure = await failure_of(server.port)
    assert told(failure.outcome) == outcome
    assert text in failure.outcome.reply.text
    assert failure.remote == failure.outcome.remote == Remote("mx.test", "127.0.0.1", server.port)


@pytest.mark.parametrize(("script", "outcome", "text"), FAILING)
async def test_next_address_is_tried(script: Script, outcome: str, text: str) -> None:
    """A server that fails in any way does not keep mail from the next one."""
    async with Scripted(script, takes_mail) as server:
        connection = await connection_to(server.port, At("bad.test"), At("good.test"))
        assert connection.remote.host == "good.test"
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def test_nobody_listens() -> None:
    """A refused connection is told with the address and the system's own word for it."""
    port = free_port()
    failure = await failure_of(port, At("a.test", ("127.0.0.1",)), At("b.test", ("127.0.0.2",)))
    assert told(failure.outcome) == "deferred connect 451 4.4.1"
    assert failure.outcome.reply.text == f"cannot connect to a.test [127.0.0.1]:{port}: Connection refused"


async def test_all_addresses_of_a_host_come_before_the_next_host() -> None:
    """Hosts by their order, and each host's addresses by theirs."""
    async with Scripted(takes_mail, host="127.0.0.3") as server:
        connection = await connection_to(
            server.port, At("a.test", ("127.0.0.1", "127.0.0.2", "127.0.0.3")), At("b.test")
        )
        assert connection.remote == Remote("a.test", "127.0.0.3", server.port)
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def test_number_of_addresses_is_bounded() -> None:
    """A domain with hundreds of addresses is given up after some."""
    async with Scripted(closes_at_once) as server:
        await failure_of(server.port, At("many.test", ("127.0.0.1",) * 100))
    assert server.connections == MOST_ADDRESSES


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        pytest.param(
            closes_at_once, greets("450 4.7.1 greylisted"), "greylisted 450", id="answer beats silence"
        ),
        pytest.param(
            greets("450 4.7.1 greylisted"), closes_at_once, "greylisted 450", id="whatever the order"
        ),
        pytest.param(
            greets("421 4.7.0 busy"), greets("450 4.7.1 greylisted"), "throttled 421", id="the first"
        ),
        pytest.param(greets("521 no mail here"), closes_at_once, "connect 451", id="hope beats finality"),
    ],
)
async def test_most_telling_trouble_is_told(first: Script, second: Script, outcome: str) -> None:
    """When all fail, the trouble told is one with an answer, and a temporary one while there is one."""
    async with Scripted(first, second) as server:
        failure = await failure_of(server.port, At("a.test"), At("b.test"), mx=True)
    assert isinstance(failure.outcome, Deferred)
    assert f"{failure.outcome.reason} {failure.outcome.reply.code}" == outcome


# Servers that take no mail (RFC 7504)


@pytest.mark.parametrize("code", [521, 556])
async def test_mail_host_that_takes_no_mail_fails(code: int) -> None:
    """When all MX hosts of a domain say that they take no mail, the sender hears it at once."""
    async with Scripted(greets(f"{code} this host takes no mail")) as server:
        failure = await failure_of(server.port, At("a.test"), At("b.test"), mx=True)
        assert server.connections == 2
    assert isinstance(failure.outcome, Failed)
    assert failure.outcome.reason is Reason.ADDRESS
    assert failure.outcome.reply.code == code


async def test_smart_host_that_takes_no_mail_defers() -> None:
    """A smart host that takes no mail is our own misconfiguration: the mail waits."""
    async with Scripted(greets("521 this host takes no mail")) as server:
        failure = await failure_of(server.port)
    assert told(failure.outcome) == "deferred bad-address 451 4.3.2"


# Politeness


@pytest.mark.parametrize("script", [greets("554 no"), answers_hello("450 later")], ids=["greeting", "EHLO"])
async def test_says_goodbye_to_who_refuses(script: Script) -> None:
    """A server that refuses us is told QUIT before the line is closed (RFC 5321 §3.1)."""
    said: list[bytes] = []

    async def listening(peer: Peer) -> None:
        hang_up = peer.hang_up

        async def recorded() -> bytes:
            said.append(await hang_up())
            return said[-1]

        peer.hang_up = recorded  # type: ignore[method-assign]
        await script(peer)

    async with Scripted(listening) as server:
        await failure_of(server.port)
    assert said == [b"QUIT\r\n"]


# EHLO, HELO, LHLO


@pytest.mark.parametrize("refusal", ["500 what?", "502 not implemented", "550 no"])
async def test_helo_where_ehlo_is_refused(refusal: str) -> None:
    """A server that knows no EHLO is greeted as of old, and offers nothing."""

    async def old(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        peer.say(refusal)
        await peer.expect("HELO relay.test")
        peer.say("250-mx.test", "250 PIPELINING")
        await peer.take()
        await peer.goodbye()

    async with Scripted(old) as server:
        connection = await connection_to(server.port)
        assert not connection.capabilities.pipelining
        assert told((await send(connection, transaction())).outcomes[0]) == "delivered 250 2.0.0"
        connection.quit()


async def test_helo_refused_too() -> None:
    """A server that refuses both is told about, and the mail waits."""

    async def sour(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        peer.say("550 5.7.1 no")
        await peer.expect("HELO relay.test")
        peer.say("550 5.7.1 no, I said")
        await peer.expect("QUIT")

    async with Scripted(sour) as server:
        failure = await failure_of(server.port)
    assert told(failure.outcome) == "deferred policy 451 4.7.1"
    assert "answered HELO with: 550 5.7.1 no, I said" in failure.outcome.reply.text


async def test_lmtp_begins_with_lhlo_and_knows_no_other() -> None:
    """An LMTP server is never greeted with EHLO or HELO (RFC 2033 §4.1)."""

    async def smtp(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("LHLO relay.test")
        peer.say("500 5.5.1 what?")
        await peer.expect("QUIT")

    async with Scripted(smtp) as server:
        failure = await failure_of(server.port, lmtp=True)
    assert told(failure.outcome) == "deferred protocol 451 4.5.1"
    assert "answered LHLO with: 500" in failure.outcome.reply.text


async def test_multi_line_greeting_byte_by_byte() -> None:
    """A greeting of many lines that takes its time is a greeting."""

    async def slow(peer: Peer) -> None:
        await peer.drip(b"220-mx.test\r\n220-welcome\r\n220 to you\r\n")
        await peer.expect("EHLO relay.test")
        await peer.drip(b"250-mx.test\r\n250-PIPELINING\r\n250 SIZE 1000\r\n")
        await peer.goodbye()

    async with Scripted(slow) as server:
        connection = await connection_to(server.port)
        assert connection.capabilities.size_bytes == 1000
        connection.quit()


# Ourselves


@pytest.mark.parametrize("where", ["greeting", "EHLO"])
async def test_mail_host_that_is_ourselves_is_a_loop(where: str) -> None:
    """An MX host that turns out to be this relay fails the mail, which else went round in circles."""

    async def mirror(peer: Peer) -> None:
        peer.say(f"220 {'Relay.TEST.' if where == 'greeting' else 'mx.test'} ready")
        await peer.expect("EHLO relay.test")
        peer.say(f"250 {'relay.test' if where == 'EHLO' else 'mx.test'} hello")
        await peer.expect("QUIT")

    async with Scripted(mirror) as server:
        failure = await failure_of(server.port, At("other-name.test"), At("worse.test"), mx=True)
        assert server.connections == 1, "a worse host was tried"
    assert told(failure.outcome) == "failed loop 554 5.4.6"
    assert "loops back" in failure.outcome.reply.text


async def test_better_mail_host_that_is_down_is_waited_for() -> None:
    """A backup server waits for the better one; it neither bounces the mail nor goes past itself."""

    async def ourselves(peer: Peer) -> None:
        await peer.hello(name="relay.test")
        await peer.expect("QUIT")

    async with Scripted(closes_at_once, ourselves, takes_mail) as server:
        failure = await failure_of(server.port, At("a.test"), At("us.test"), At("worse.test"), mx=True)
        assert server.connections == 2
    assert told(failure.outcome) == "deferred connect 451 4.4.2"
    assert failure.remote is not None
    assert failure.remote.host == "a.test"


async def test_smart_host_may_share_our_name() -> None:
    """A configured mailbox server may bear the name of the whole mail system, as this relay does."""

    async def namesake(peer: Peer) -> None:
        await peer.hello(name="relay.test")
        await peer.goodbye()

    async with Scripted(namesake) as server:
        (await connection_to(server.port)).quit()


# Source addresses


async def test_bind_address_is_the_source() -> None:
    """The server sees the configured source address; what its family cannot reach is passed over."""
    sources: list[str] = []

    async def looking(peer: Peer) -> None:
        sources.append(peer.source)
        await peer.hello()
        await peer.goodbye()

    async with Scripted(looking) as server:
        connection = await connection_to(
            server.port, At("a.test", ("::1", "127.0.0.1")), bind_address="127.0.0.7"
        )
        connection.quit()
    assert sources == ["127.0.0.7"]


async def test_no_address_of_the_right_family() -> None:
    """Mail for hosts that the source address cannot reach waits, and says why."""
    failure = await failure_of(free_port(), At("a.test", ("::1",)), bind_address="127.0.0.7")
    assert told(failure.outcome) == "deferred connect 451 4.4.1"
    assert failure.outcome.reply.text == "dest.test has no address that can be connected to from 127.0.0.7"


async def test_source_address_that_is_not_ours() -> None:
    """A source address this machine does not have is told, not crashed on."""
    failure = await failure_of(free_port(), bind_address="192.0.2.1")
    assert told(failure.outcome) == "deferred connect 451 4.4.1"
    assert "cannot connect to mx.test" in failure.outcome.reply.text


# Time


async def never_greets(peer: Peer) -> None:
    await peer.silence()


async def never_answers_hello(peer: Peer) -> None:
    peer.say("220 mx.test")
    await peer.silence()


async def answers_hello_by_half(peer: Peer) -> None:
    peer.say("220 mx.test")
    await peer.expect("EHLO relay.test")
    peer.write(b"250-mx.test\r\n250")
    await peer.silence()


@pytest.mark.parametrize(
    ("script", "text"),
    [
        pytest.param(never_greets, f"did not answer the connection within {SHORT_S} s", id="no greeting"),
        pytest.param(never_answers_hello, f"did not answer EHLO within {SHORT_S} s", id="no answer to EHLO"),
        pytest.param(
            answers_hello_by_half, f"did not answer EHLO within {SHORT_S} s", id="half an answer to EHLO"
        ),
    ],
)
async def test_silence_has_a_deadline(script: Script, text: str) -> None:
    """A server that says nothing is given up, and the next one is tried."""
    async with Scripted(script) as server:
        failure = await failure_of(server.port, timeouts=IMPATIENT)
    assert told(failure.outcome) == "deferred connect 451 4.4.2"
    assert text in failure.outcome.reply.text
    async with Scripted(script, takes_mail) as server:
        connection = await connection_to(server.port, At("a.test"), At("b.test"), timeouts=IMPATIENT)
        assert (await send(connection, transaction())).reusable
        connection.quit()


async def test_trickle_does_not_extend_the_deadline() -> None:
    """A server that sends a byte now and then to keep us waiting does not keep us longer."""

    async def trickle(peer: Peer) -> None:
        gone = asyncio.create_task(peer.hang_up())
        while not gone.done():
            peer.write(b"2")
            await asyncio.wait([gone], timeout=0.03)
        await gone

    async with Scripted(trickle) as server:
        failure = await failure_of(server.port, timeouts=IMPATIENT)
    assert f"did not answer the connection within {SHORT_S} s" in failure.outcome.reply.text


async def test_connecting_has_a_deadline() -> None:
    """An address that answers nothing at all, not even a refusal, is given up."""
    # A full backlog swallows further connections, as a firewall would.
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        failure = await failure_of(port, timeouts=IMPATIENT)
        for one in waiting:
            one.close()
    assert told(failure.outcome) == "deferred connect 451 4.4.1"
    assert f"no answer within {SHORT_S} s" in failure.outcome.reply.text


async def test_cancelled_opening_closes_its_connection() -> None:
    """A relay that is stopped while it connects leaves no socket behind."""
    arrived = asyncio.Event()

    async def waiting(peer: Peer) -> None:
        peer.say("220 mx.test")
        await peer.expect("EHLO relay.test")
        arrived.set()
        assert await peer.hang_up() == b""

    async with Scripted(waiting) as server:
        opening = asyncio.create_task(opened(server.port, timeouts=PATIENT))
        async with asyncio.timeout(5):
            await arrived.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_server_that_closes_after_its_last_word() -> None:
    """A server that answers EHLO and is gone with it is told as lost, not kept as a connection."""

    async def gone(peer: Peer) -> None:
        await peer.hello()
        peer.close()

    async with Scripted(gone) as server:
        for _ in range(20):  # both orders of events
            found = await opened(server.port)
            if hasattr(found, "outcome"):
                assert told(found.outcome) == "deferred connect 451 4.4.2"
            else:
                result = await send(found, transaction())
                assert told(result.outcomes[0]) == "deferred connect 451 4.4.2"
                assert not result.reusable
