"""From hosts to a connection: every step may fail, and the next address is tried."""

import pytest
from tests.support.delivering import (
    At,
    connection_to,
    failure_of,
    send,
    told,
    transaction,
)
from tests.support.ports import free_port
from tests.support.scripted import Peer, Script, Scripted, closes_at_once, takes_mail

from waystation_relay.delivery.connect import MOST_ADDRESSES
from waystation_relay.mail.outcome import Deferred, Failed, Reason, Remote

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
