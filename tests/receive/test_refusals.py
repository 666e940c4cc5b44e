"""Mail that is not taken: what the client hears, what the log says, and that nothing stays."""

import shutil
from collections.abc import Callable

import pytest
from tests.receive.reception import EVERYTHING, Reception, limits, listener

from waystation_contract.model import Reject, Route
from waystation_relay.policy import content
from waystation_relay.receive import conversation
from waystation_relay.spool.values import (
    FailureKind,
    Refusal,
    RefusalKind,
    SpoolFailure,
    SpoolLimits,
    Tuning,
)


def elsewhere() -> Route:
    """A route for next.test alone."""
    return Route(
        name="test/next", created=0.0, listeners=("smtp",), recipients=("*@next.test",),
        backends=EVERYTHING.backends,
    )  # fmt: skip


def said_no(reception: Reception, reason: str, **fields: object) -> None:
    """One line and one count for one refusal."""
    (line,) = reception.log.of("message.refused")
    assert line["reason"] == reason
    assert {name: line.get(name) for name in fields} == fields
    assert reception.count("messages_refused_total", reason=reason) == 1
    assert reception.accepted == []


# Before the content


async def test_who_may_not_relay_is_told_so(new_reception: Callable[..., Reception]) -> None:
    """A client outside of the listener's networks gets no recipient taken, whatever the routes are."""
    reception = new_reception()
    await reception.start(listener(reception.port, clients=("192.0.2.0/24",)), routes=(elsewhere(),))
    client = await reception.greeted()
    assert await client.say("MAIL FROM:<a@shop.test>") == "250 2.1.0 Sender ok"
    assert await client.say("RCPT TO:<b@next.test>") == "550 5.7.1 Relaying denied"
    said_no(
        reception, "relay-denied", listener="smtp", client="127.0.0.1", sender="a@shop.test",
        recipient="b@next.test", reply="550 5.7.1 Relaying denied",
    )  # fmt: skip
    assert await client.say("RCPT TO:<c@nowhere.test>") == "550 5.7.1 Relaying denied"
    assert await client.say("RCPT TO:<postmaster>") == "550 5.7.1 Relaying denied"
    assert await client.say("DATA") == "554 5.5.1 No valid recipients"


async def test_who_may_not_relay_is_not_told_forever(new_reception: Callable[..., Reception]) -> None:
    """The twentieth recipient it may not have ends the session of a client that goes through a list."""
    reception = new_reception()
    await reception.start(listener(reception.port, clients=()))
    client = await reception.greeted()
    await client.say("MAIL FROM:<a@shop.test>")
    client.write(b"".join(b"RCPT TO:<b%d@next.test>\r\n" % n for n in range(100)))
    said = (await client.rest()).decode().splitlines()
    assert said == ["550 5.7.1 Relaying denied"] * 19 + ["421 4.7.0 Too many errors, closing connection"]
    assert reception.count("messages_refused_total", reason="relay-denied") == 20


async def test_a_recipient_without_a_route_is_asked_to_wait(new_reception: Callable[..., Reception]) -> None:
    """A route may be on its way: 451, and the other recipients get their mail."""
    reception = await new_reception().start(routes=(elsewhere(),))
    client = await reception.greeted()
    assert await client.script("MAIL FROM:<a@shop.test>") == ["250"]
    assert await client.say("RCPT TO:<b@far.test>") == "451 4.4.4 No route for this recipient now"
    assert await client.say("RCPT TO:<b@next.test>") == "250 2.1.5 Recipient ok"
    said_no(reception, "no-route", recipient="b@far.test")


async def test_a_reject_route_speaks_for_itself(new_reception: Callable[..., Reception]) -> None:
    """Code, enhanced code and text are the route's."""
    reject = Reject(code=451, enhanced="4.7.1", message="Come back on Monday")
    no = Route(
        name="test/no", created=0.0, listeners=("smtp",), recipients=("*@no.test",), backends=(reject,)
    )
    reception = await new_reception().start(routes=(no, EVERYTHING))
    client = await reception.greeted()
    await client.say("MAIL FROM:<a@shop.test>")
    assert await client.say("RCPT TO:<b@no.test>") == "451 4.7.1 Come back on Monday"
    assert await client.say("RCPT TO:<b@next.test>") == "250 2.1.5 Recipient ok"
    said_no(reception, "rejected", recipient="b@no.test", reply="451 4.7.1 Come back on Monday")


async def test_recipients_beyond_the_limit_wait_for_the_next_message(
    new_reception: Callable[..., Reception],
) -> None:
    """RFC 5321 §4.5.3.1.10: 452, and the mail goes to those before."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_recipients=2)))
    client = await reception.greeted()
    await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>", "RCPT TO:<c@next.test>")
    assert await client.say("RCPT TO:<d@next.test>") == "452 4.5.3 Too many recipients"
    said_no(reception, "too-many-recipients", recipient="d@next.test")
    await client.say("DATA")
    client.write(b"x\r\n.\r\n")
    assert (await client.reply()).startswith("250")
    assert len(reception.accepted[0].envelope.recipients) == 2
    assert (await client.send(b"x\r\n", "d@next.test")).startswith("250")


async def test_an_announced_size_over_the_limit_is_refused_at_once(
    new_reception: Callable[..., Reception],
) -> None:
    """RFC 1870: before a byte of it crosses the wire."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_message_bytes=1000)))
    client = await reception.greeted()
    refused = "552 5.3.4 Message too large, at most 1000 bytes are taken"
    assert await client.say("MAIL FROM:<a@shop.test> SIZE=1001") == refused
    said_no(reception, "too-large", sender="a@shop.test", reply=refused)
    assert await client.say("MAIL FROM:<a@shop.test> SIZE=1000") == "250 2.1.0 Sender ok"


async def test_a_full_queue_refuses_mail_for_now(new_reception: Callable[..., Reception]) -> None:
    """452 at MAIL, until there is room again."""
    reception = new_reception(spool_limits=SpoolLimits(max_bytes=1, full_at_percent=1))
    await reception.start()
    client = await reception.greeted()
    refused = "452 4.3.1 Insufficient system storage, try again later"
    assert await client.say("MAIL FROM:<a@shop.test>") == refused
    said_no(reception, "queue-full", sender="a@shop.test", reply=refused)
    reception.spool.set_limits(SpoolLimits(max_bytes=2**30, full_at_percent=100))
    assert (await client.send()).startswith("250")


@pytest.mark.parametrize("kind", [RefusalKind.READ_ONLY, RefusalKind.FAILING], ids=lambda x: x.value)
async def test_a_failing_disk_refuses_mail_for_now(
    reception: Reception, monkeypatch: pytest.MonkeyPatch, kind: RefusalKind
) -> None:
    """451 at MAIL, and nothing about what it is that fails."""
    monkeypatch.setattr(reception.spool, "refusal", lambda: Refusal(kind, "/dev/sda1: input/output error"))
    client = await reception.greeted()
    refused = "451 4.3.0 Local trouble with storage, try again later"
    assert await client.say("MAIL FROM:<a@shop.test>") == refused
    said_no(reception, "storage", sender="a@shop.test", reply=refused)


# At the content's end


@pytest.mark.parametrize(
    ("content", "reason", "reply"),
    [
        pytest.param(
            b"a\nb\r\n",
            "line-endings",
            "550 5.6.0 Message holds a bare CR or LF; lines must end in CR LF (RFC 5321 section 2.3.8)",
            id="bare LF",
        ),
        pytest.param(
            b"a\rb\r\n",
            "line-endings",
            "550 5.6.0 Message holds a bare CR or LF; lines must end in CR LF (RFC 5321 section 2.3.8)",
            id="bare CR",
        ),
        pytest.param(
            b"a\0b\r\n", "nul", "550 5.6.0 Message holds a NUL byte (RFC 5321 section 4.5.2)", id="NUL"
        ),
        pytest.param(
            b"Received: from x by y; date\r\n" * 101 + b"\r\nx\r\n",
            "loop",
            "554 5.4.6 Too many hops, this looks like a mail loop",
            id="a loop",
        ),
    ],
)
@pytest.mark.parametrize("by_chunks", [False, True], ids=["DATA", "BDAT"])
async def test_content_that_cannot_be_kept_is_refused_whole(
    reception: Reception, content: bytes, reason: str, reply: str, by_chunks: bool
) -> None:
    """Refused at its end, by DATA and by BDAT; the session stays in step and nothing is kept."""
    client = await reception.greeted()
    if by_chunks:
        await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>")
        client.write(b"BDAT %d LAST\r\n" % len(content) + content)
        assert await client.reply() == reply
    else:
        assert await client.send(content) == reply
    said_no(reception, reason, sender="a@shop.test", reply=reply)
    assert reception.log.of("message.refused")[0]["queue_id"]
    assert reception.files() == []
    assert (await client.send()).startswith("250")


async def test_a_hundred_hops_are_no_loop(reception: Reception) -> None:
    """RFC 5321 §6.3 wants at least a hundred Received fields taken."""
    client = await reception.greeted()
    assert (await client.send(b"Received: x\r\n" * 100 + b"\r\nx\r\n")).startswith("250")


@pytest.mark.parametrize("size", [1_100, 3_000_000], ids=["small", "streamed"])
async def test_content_over_the_limit_is_refused_at_its_end(
    new_reception: Callable[..., Reception], size: int
) -> None:
    """A client that announced nothing is heard out, told, and may go on; its file is gone."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_message_bytes=size - 100)))
    client = await reception.greeted()
    said = await client.send(b"x" * 48 + b"\r\n" + (b"y" * 48 + b"\r\n") * (size // 50))
    assert said == f"552 5.3.4 Message too large, at most {size - 100} bytes are taken"
    said_no(reception, "too-large", sender="a@shop.test")
    assert (await client.send()).startswith("250")
    assert reception.files() == []


async def test_content_without_an_end_ends_the_session(
    new_reception: Callable[..., Reception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a message that is too large only so much is read and thrown away."""
    monkeypatch.setattr(conversation, "SWALLOWED_BYTES", 100_000)
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_message_bytes=1000)))
    client = await reception.greeted()
    await client.begin()
    for _ in range(10):
        client.write(b"x" * 30_000)
    assert await client.rest() == b"552 5.3.4 Message too large, at most 1000 bytes are taken\r\n"
    said_no(reception, "too-large", sender="a@shop.test")
    await reception.empty()


async def test_a_chunk_over_the_limit_ends_the_message(new_reception: Callable[..., Reception]) -> None:
    """552 at that chunk; what was pipelined behind it is read and thrown away."""
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_message_bytes=1000)))
    client = await reception.greeted()
    await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>")
    chunk = b"BDAT 600\r\n" + b"x" * 600
    client.write(chunk * 3 + b"BDAT 6 LAST\r\nQUIT\r\n")
    assert [(await client.reply())[:9] for _ in range(4)] == [
        "250 2.0.0", "552 5.3.4", "503 5.5.1", "503 5.5.1",
    ]  # fmt: skip
    said_no(reception, "too-large", sender="a@shop.test")
    assert (await client.send()).startswith("250")


@pytest.mark.parametrize("size", [20_000, 2_000_000], ids=["small", "streamed"])
async def test_a_disk_that_fails_keeps_nothing(reception: Reception, size: int) -> None:
    """The files cannot be written: 451, nothing in the queue, and the session goes on."""
    shutil.rmtree(reception.data / "segments")
    client = await reception.greeted()
    said = await client.send((b"x" * 98 + b"\r\n") * (size // 100))
    assert said == "451 4.3.0 Local trouble with storage, try again later"
    said_no(reception, "storage", sender="a@shop.test")
    (reception.data / "segments").mkdir()
    assert await client.say("NOOP") == "250 2.0.0 Ok"
    assert reception.spool.stats().messages == 0


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        (FailureKind.FULL, "452 4.3.1 Insufficient system storage, try again later"),
        (FailureKind.READ_ONLY, "451 4.3.0 Local trouble with storage, try again later"),
        (FailureKind.IO, "451 4.3.0 Local trouble with storage, try again later"),
        (FailureKind.CLOSED, "451 4.3.0 Local trouble with storage, try again later"),
    ],
)
async def test_what_the_spool_cannot_promise_is_not_promised(
    reception: Reception, monkeypatch: pytest.MonkeyPatch, kind: FailureKind, reply: str
) -> None:
    """Each way a commit fails has its reply; the line in the log names the queue id that came to nothing."""

    def fail(draft: object, envelope: object, origin: object, done: Callable[[SpoolFailure], None]) -> None:
        reception.spool._loop.call_soon(done, SpoolFailure(kind, "no"))

    monkeypatch.setattr(reception.spool, "accept", fail)
    client = await reception.greeted()
    assert await client.send() == reply
    (line,) = reception.log.of("message.refused")
    assert line["queue_id"]
    assert line["reply"] == reply
    assert reception.count("messages_accepted_total") == 0


async def test_a_message_found_too_large_while_its_client_is_paused(
    new_reception: Callable[..., Reception],
) -> None:
    """A client that was paused for the disk's sake is heard again when its message is thrown away."""
    reception = new_reception(tuning=Tuning(memory_bytes=5_000, stream_chunk_bytes=1_000))
    await reception.start(listener(reception.port, limits=limits(max_message_bytes=20_000)))
    client = await reception.greeted()
    await client.script("MAIL FROM:<a@shop.test>", "RCPT TO:<b@next.test>")
    client.write((b"BDAT 8000\r\n" + b"x" * 8000) * 3)
    assert [(await client.reply())[:9] for _ in range(3)] == ["250 2.0.0", "250 2.0.0", "552 5.3.4"]
    assert await client.say("NOOP") == "250 2.0.0 Ok"


async def test_content_far_over_the_limit_that_ends_in_time(
    new_reception: Callable[..., Reception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that has come to its end is told once, and may go on."""
    monkeypatch.setattr(conversation, "SWALLOWED_BYTES", 1_000)
    reception = new_reception()
    await reception.start(listener(reception.port, limits=limits(max_message_bytes=1000)))
    client = await reception.greeted()
    assert (await client.send(b"x" * 5000 + b"\r\n")).startswith("552 5.3.4")
    assert await client.say("NOOP") == "250 2.0.0 Ok"
    said_no(reception, "too-large", sender="a@shop.test")


def test_figures_are_those_documented() -> None:
    """docs/receiving.md: 64 MiB thrown away, twenty recipients refused, a hundred hops."""
    assert conversation.SWALLOWED_BYTES == 64 * 2**20
    assert conversation.MOST_DENIED == 20
    assert content.MOST_HOPS == 100
