"""How long a client may take: the rules in virtual time, then in real sessions whose clock the test turns."""

import asyncio
import dataclasses
import socket
from collections.abc import Callable

import pytest
from tests.receive.reception import Client, Reception, eventually, listener
from tests.support.certificates import Certificate
from tests.support.tables import table

from waystation_relay.receive.deadlines import Activity, Deadlines, Overdue, overdue
from waystation_relay.receive.session import Session
from waystation_relay.spool.values import Tuning
from waystation_relay.wire import replies

QUIET = Activity(
    began_at=0.0, command_at=0.0, byte_at=0.0, content_at=None, content_bytes=0, in_envelope=False,
    deaf_since=None,
)  # fmt: skip
LIMITS = Deadlines(
    command_s=300, silence_s=180, patience_s=300, least_rate=256, session_s=3600, reading_s=120
)


@pytest.mark.parametrize(
    ("changed", "now", "expected"),
    [
        pytest.param({}, 299.9, None, id="quiet, not yet idle"),
        pytest.param({}, 300, Overdue.IDLE, id="idle"),
        pytest.param({"byte_at": 299}, 300, Overdue.IDLE, id="bytes of a command are no command"),
        pytest.param({"command_at": 100}, 399.9, None, id="counted from the last command"),
        pytest.param({"in_envelope": True}, 300, Overdue.IDLE, id="idle between MAIL and DATA"),
        pytest.param({"command_at": 3599}, 3599.9, None, id="an hour is not over"),
        pytest.param({"command_at": 3599}, 3600, Overdue.SESSION, id="an hour is over"),
        pytest.param({"command_at": 3599, "in_envelope": True}, 3600, None, id="a transaction has begun"),
        pytest.param({"content_at": 0}, 179.9, None, id="content, silent for a while"),
        pytest.param({"content_at": 0}, 180, Overdue.SLOW, id="content, silent for too long"),
        pytest.param({"content_at": 0, "byte_at": 299}, 299.9, None, id="content, slow, patience lasts"),
        pytest.param(
            {"content_at": 0, "byte_at": 300, "content_bytes": 300 * 256 - 1}, 300, Overdue.SLOW,
            id="content, slow, patience is over",
        ),
        pytest.param(
            {"content_at": 0, "byte_at": 300, "content_bytes": 300 * 256}, 300, None, id="fast enough"
        ),
        pytest.param(
            {"content_at": 0, "byte_at": 2000, "content_bytes": 10**6}, 2000, None, id="content, no command"
        ),
        pytest.param(
            {"content_at": 3500, "byte_at": 3599}, 3600, Overdue.SESSION, id="an hour is over in a message"
        ),
        pytest.param({"deaf_since": 0}, 119.9, None, id="not reading for a while"),
        pytest.param({"deaf_since": 0}, 120, Overdue.DEAF, id="not reading for too long"),
        pytest.param({"deaf_since": 0, "content_at": 0}, 200, Overdue.DEAF, id="not reading goes first"),
    ],
)  # fmt: skip
def test_what_is_overdue(changed: dict[str, float], now: float, expected: Overdue | None) -> None:
    """Each deadline, just before it and when it is over."""
    assert overdue(dataclasses.replace(QUIET, **changed), LIMITS, now) is expected


def test_the_documented_deadlines_are_those_in_force() -> None:
    """docs/receiving.md names every deadline with its figure."""
    rows = table("receiving.md", "deadline", "figure", "what it is for")
    figures = {row["deadline"]: float(row["figure"].split()[0]) for row in rows}
    assert figures == dataclasses.asdict(Deadlines())


# In sessions


async def swept(reception: Reception) -> None:
    """Every door has been looked at."""
    await asyncio.sleep(0.02)


async def test_an_idle_client_hears_421(reception: Reception) -> None:
    """Five minutes without a command, by the clock; commands in between start them again."""
    client = await reception.greeted()
    reception.clock.advance(299)
    await swept(reception)
    assert await client.say("NOOP") == "250 2.0.0 Ok"
    reception.clock.advance(299)
    await swept(reception)
    assert await client.say("NOOP") == "250 2.0.0 Ok"
    reception.clock.advance(300)
    assert await client.rest() == b"421 4.4.2 Timeout, closing connection\r\n"
    await reception.empty()


async def test_a_client_that_never_speaks_hears_421(reception: Reception) -> None:
    """From the greeting on."""
    client = await reception.connect()
    await client.reply()
    reception.clock.advance(300)
    assert await client.rest() == b"421 4.4.2 Timeout, closing connection\r\n"


async def test_a_byte_now_and_then_wins_nothing(reception: Reception) -> None:
    """A command that comes a letter a minute is no command."""
    client = await reception.greeted()
    for letter in b"NOOP ":
        reception.clock.advance(59)
        client.write(bytes([letter]))
        await swept(reception)
    reception.clock.advance(59)
    assert await client.rest() == b"421 4.4.2 Timeout, closing connection\r\n"


async def test_an_endless_line_wins_nothing(reception: Reception) -> None:
    """Nor does a line that is thrown away."""
    client = await reception.greeted()
    for _ in range(6):
        client.write(b"x" * 4000)
        await swept(reception)
        reception.clock.advance(50)
    assert await client.rest() == b"421 4.4.2 Timeout, closing connection\r\n"


async def test_an_endless_chunk_out_of_order_wins_nothing(reception: Reception) -> None:
    """Nor octets that are read to be thrown away."""
    client = await reception.greeted()
    client.write(b"BDAT 999999999999\r\n")
    for _ in range(6):
        client.write(b"x" * 4000)
        await swept(reception)
        reception.clock.advance(50)
    assert await client.rest() == b"421 4.4.2 Timeout, closing connection\r\n"


@pytest.mark.parametrize("command", ["DATA", "BDAT 1000"])
async def test_a_client_that_falls_silent_in_its_message(reception: Reception, command: str) -> None:
    """Three minutes without a byte of it: 421, and nothing is kept."""
    client = await reception.greeted()
    await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>")
    client.write(f"{command}\r\nhalf of a mess".encode())
    await swept(reception)
    reception.clock.advance(100)
    client.write(b"a")
    await swept(reception)
    reception.clock.advance(179)
    await swept(reception)
    assert reception.sessions == 1
    reception.clock.advance(1)
    assert (await client.rest()).endswith(b"421 4.4.2 Data arrives too slowly, closing connection\r\n")
    await reception.empty()
    assert reception.accepted == []


async def test_a_client_that_falls_silent_between_chunks(reception: Reception) -> None:
    """A message is under way between two chunks too."""
    client = await reception.greeted()
    await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>")
    client.write(b"BDAT 1\r\nx")
    await client.reply()
    reception.clock.advance(180)
    assert await client.rest() == b"421 4.4.2 Data arrives too slowly, closing connection\r\n"


async def test_a_client_that_trickles_its_message(reception: Reception) -> None:
    """After five minutes it must have sent 256 bytes a second, or is hung up on."""
    slow, fast = await reception.greeted(), await reception.greeted()
    await slow.begin()
    await fast.begin()
    for minute in range(1, 8):
        if minute <= 5:
            slow.write(b"x" * 100)
        fast.write(b"x" * 15_400)
        await swept(reception)
        reception.clock.advance(60)
        await swept(reception)
        assert reception.sessions == (2 if minute < 5 else 1)
    assert await slow.rest() == b"421 4.4.2 Data arrives too slowly, closing connection\r\n"
    fast.write(b"\r\n.\r\n")
    assert (await fast.reply()).startswith("250")


async def test_a_session_ends_after_an_hour_between_messages(reception: Reception) -> None:
    """A client that comes back for more may open another connection."""
    client = await reception.greeted()
    for _ in range(14):
        reception.clock.advance(250)
        await swept(reception)
        assert await client.say("NOOP") == "250 2.0.0 Ok"
    reception.clock.advance(100)
    assert await client.rest() == b"421 4.4.2 Session has lasted long enough, closing connection\r\n"


async def test_an_hour_over_in_a_message_waits_for_its_reply(reception: Reception) -> None:
    """The message under way is taken, then the session ends; what was pipelined behind it is not begun."""
    client = await reception.greeted()
    for _ in range(14):
        reception.clock.advance(250)
        assert await client.say("NOOP") == "250 2.0.0 Ok"
    await client.begin()
    reception.clock.advance(100)
    await swept(reception)
    client.write(b"x\r\n.\r\nMAIL FROM:<a@shop.test>\r\nRCPT TO:<b@next.test>\r\nDATA\r\n")
    said = (await client.rest()).decode().splitlines()
    assert [line[:9] for line in said] == ["250 2.0.0", "421 4.4.2"]
    assert len(reception.accepted) == 1


def cramped(reception: Reception) -> Session:
    """The only session, with little room for replies between it and its client."""
    (session,) = next(iter(reception.receiver._doors.values())).sessions
    connection = session._transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
    return session


async def test_a_client_that_does_not_read_is_cut_off(reception: Reception) -> None:
    """Replies that pile up stop the reading, and after two minutes the connection."""
    client = await reception.greeted()
    session = cramped(reception)
    client.writer.transport.pause_reading()
    client.write(b"MAIL FROM:<a@shop.test>\r\n" + b"RCPT TO:<b@next.test>\r\n" * 100_000)
    await eventually(lambda: session._deaf_since is not None, "replies to pile up")
    assert session._transport.get_write_buffer_size() < 2**20
    reception.clock.advance(119)
    await swept(reception)
    assert reception.sessions == 1
    reception.clock.advance(1)
    await reception.empty()


async def test_a_client_that_reads_again_is_heard_again(reception: Reception) -> None:
    """Every one of its commands is answered in the end."""
    client = await reception.greeted()
    session = cramped(reception)
    client.writer.transport.pause_reading()
    times = 60_000
    client.write(b"MAIL FROM:<a@shop.test>\r\n" + b"RCPT TO:<b@next.test>\r\n" * times)
    await eventually(lambda: session._deaf_since is not None, "replies to pile up")
    client.writer.transport.resume_reading()
    answered = 0
    async with asyncio.timeout(20):
        while answered < times + 1:
            answered += (await client.reader.read(2**20)).count(b"\r\n")
    assert answered == times + 1
    assert await client.say("NOOP") == "250 2.0.0 Ok"
    assert session._deaf_since is None


async def test_waiting_for_the_disk_is_not_the_clients_fault(
    reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that takes ten minutes still gets its reply to the client."""
    held: list[tuple[object, ...]] = []
    accept = reception.spool.accept
    monkeypatch.setattr(reception.spool, "accept", lambda *call: held.append(call))
    client = await reception.greeted()
    await client.begin()
    client.write(b"x\r\n.\r\n")
    await eventually(lambda: held, "the message to reach the spool")
    reception.clock.advance(600)
    await swept(reception)
    accept(*held[0])  # type: ignore[arg-type] # what it was called with
    assert (await client.reply()).startswith("250")


async def test_a_disk_that_cannot_keep_up_is_not_the_clients_fault(
    new_reception: Callable[..., Reception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the client is paused because of us, its time does not run."""
    reception = await new_reception(tuning=Tuning(memory_bytes=10_000, stream_chunk_bytes=1_000)).start()
    held: list[tuple[object, ...]] = []
    send = reception.spool.send
    monkeypatch.setattr(reception.spool, "send", lambda *call: held.append(call))
    client = await reception.greeted()
    await client.begin()
    content = (b"x" * 98 + b"\r\n") * 10_000
    client.write(content + b".\r\n")
    (session,) = next(iter(reception.receiver._doors.values())).sessions
    await eventually(lambda: session._paused, "the client to be paused")
    reception.clock.advance(200)
    await swept(reception)
    assert reception.sessions == 1
    monkeypatch.undo()
    for call in held:
        send(*call)  # type: ignore[arg-type] # what it was called with
    assert (await client.reply()).startswith("250")
    (message,) = reception.accepted
    assert (await reception.content(message)).endswith(content)


async def test_a_client_that_does_not_take_its_last_reply(reception: Reception) -> None:
    """After its goodbye a connection is given ten seconds to end."""
    client = await reception.greeted()
    session = cramped(reception)
    client.writer.transport.pause_reading()
    session._transport.write(b"x" * 20_000_000)  # more than the sockets hold
    session.dismiss(replies.SHUTTING_DOWN)
    reception.clock.advance(9)
    await swept(reception)
    assert reception.sessions == 1
    reception.clock.advance(1)
    await reception.empty()


async def test_a_handshake_has_a_deadline(
    new_reception: Callable[..., Reception], certificate: Certificate
) -> None:
    """STARTTLS and then nothing: hung up on, and the log says why."""
    reception = new_reception(deadlines=Deadlines(handshake_s=0.1))
    reception.certificate("relay", certificate)
    await reception.start(listener(reception.port, tls="Opportunistic", certificate="relay"))
    client: Client = await reception.greeted()
    assert await client.say("STARTTLS") == "220 2.0.0 Ready to start TLS"
    assert await client.rest() == b""
    await reception.empty()
    (line,) = reception.log.of("session.failed")
    assert line["client"] == "127.0.0.1"
