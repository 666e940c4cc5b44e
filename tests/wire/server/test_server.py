"""What conversations cannot show: who talks too early, what is kept, how it ends, and bytes of any kind."""

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.effort import examples
from tests.wire.server import script
from tests.wire.server.recorder import Recorder

from waystation_relay.wire import replies
from waystation_relay.wire.order import State
from waystation_relay.wire.server import LINE_BYTES, MOST_ERRORS, MOST_IDLE, Server

ANY = tuple(State)


# Who talks too early


@pytest.mark.parametrize("behind", [b"NOOP\r\n", b"MAIL FROM:<a@shop.test>\r\n", b"x", b"\n"])
def test_nothing_may_follow_the_first_ehlo_in_its_packet(behind: bytes) -> None:
    """A client that does not wait for the first reply is talking to somebody else, and is hung up on."""
    host = Recorder()
    server = Server(host)
    assert server.receive(b"EHLO client.test\r\n" + behind) == replies.TOO_EARLY
    assert server.is_closing
    assert host.helo is None


def test_a_second_ehlo_may_be_pipelined() -> None:
    """Once both have spoken, EHLO is a command like any other."""
    host = Recorder()
    server = script.begun(State.READY, host)
    said = server.receive(b"EHLO client.test\r\nNOOP\r\n")
    assert said.endswith(replies.OK)
    assert not server.is_closing


@pytest.mark.parametrize("state", [State.READY, State.MAIL, State.RCPT])
def test_nothing_may_follow_starttls_in_its_packet(state: State) -> None:
    """Commands put behind STARTTLS by somebody in the middle are never carried out (CVE-2011-0411)."""
    host = Recorder()
    server = script.begun(state, host)
    assert server.receive(b"STARTTLS\r\nMAIL FROM:<mallory@shop.test>\r\n") == replies.TOO_EARLY
    assert server.is_closing
    assert not server.tls_begins


def test_nothing_is_read_while_tls_starts() -> None:
    """What comes between the go-ahead and TLS's beginning is not interpreted."""
    host = Recorder()
    server = script.begun(State.READY, host)
    assert server.receive(b"STARTTLS\r\n") == replies.START_TLS
    assert server.tls_begins
    assert server.is_waiting
    assert server.receive(b"EHLO client.test\r\n") == b""


def test_nothing_may_follow_the_first_ehlo_under_tls() -> None:
    """After STARTTLS the conversation is new: its first EHLO stands alone again."""
    host = Recorder()
    server = script.begun(State.READY, host)
    server.receive(b"STARTTLS\r\n")
    assert server.tls_started() == b""
    assert server.receive(b"EHLO client.test\r\nNOOP\r\n") == replies.TOO_EARLY
    assert server.is_closing


def test_a_host_without_tls_refuses_starttls() -> None:
    """STARTTLS that was not offered changes nothing."""
    host = Recorder(offers_tls=False)
    server = script.begun(State.RCPT, host)
    assert server.receive(b"STARTTLS\r\n") == replies.NO_TLS
    assert server.state is State.RCPT
    assert not server.tls_begins


# Waiting


def test_what_follows_a_message_waits_for_its_reply() -> None:
    """While the disk works nothing behind the message is answered, and then all of it, in order."""
    host = Recorder()
    server = script.begun(State.RCPT, host)
    assert server.receive(b"DATA\r\nx\r\n.\r\nNOOP\r\n") == replies.START_DATA
    assert server.is_waiting
    assert server.receive(b"QU") == b""
    assert server.receive(b"IT\r\n") == b""
    assert server.pending_bytes == len("NOOP\r\nQUIT\r\n")
    assert server.answer(b"250 2.0.0 kept\r\n") == b"250 2.0.0 kept\r\n" + replies.OK + replies.BYE
    assert server.is_closing


@pytest.mark.parametrize(
    ("state", "sent", "expected"),
    [
        pytest.param(State.RCPT, b"", False, id="before the content"),
        pytest.param(State.RCPT, b"DATA\r\n", True, id="in the data"),
        pytest.param(State.RCPT, b"DATA\r\nx\r\n.\r\n", True, id="while the disk works"),
        pytest.param(State.RCPT, b"BDAT 5\r\nx", True, id="in a chunk"),
        pytest.param(State.CHUNKS, b"", True, id="between chunks"),
        pytest.param(State.CHUNKS, b"RSET\r\n", False, id="chunks given up"),
        pytest.param(State.READY, b"BDAT 5\r\nx", True, id="in a chunk nobody asked for"),
        pytest.param(State.READY, b"BDAT 1\r\nx", False, id="after it"),
        pytest.param(State.READY, b"", False, id="between messages"),
    ],
)
def test_a_message_is_under_way(state: State, sent: bytes, expected: bool) -> None:
    """Whoever wants to end the session learns whether it would cost the client a message."""
    server = script.begun(state, Recorder())
    server.receive(sent)
    assert server.in_content == expected


def test_nothing_is_read_after_close() -> None:
    """A server that was closed answers nothing and keeps nothing."""
    server = script.begun(State.RCPT, Recorder())
    server.close()
    assert server.receive(b"NOOP\r\n" * 1000) == b""
    assert server.pending_bytes == 0


# What is kept


@pytest.mark.parametrize("state", ANY, ids=lambda x: x.name)
def test_an_endless_line_is_not_kept(state: State) -> None:
    """A line that never ends costs the memory of one line."""
    server = script.begun(state, Recorder())
    for _ in range(100):
        assert server.receive(b"x" * 1000) == b""
        assert server.pending_bytes <= LINE_BYTES
    assert server.receive(b"\r\n") == replies.LINE_TOO_LONG


def test_endless_content_is_not_kept() -> None:
    """Content goes to the host as it comes; only what may be the end of data is held back."""
    host = Recorder()
    server = script.begun(State.RCPT, host)
    server.receive(b"DATA\r\n")
    for _ in range(100):
        server.receive(b"x\r\n.y\r\n" * 100)
        assert server.pending_bytes == 0
    assert len(host._content or b"") >= 100 * 100 * len("x\r\ny\r\n") - 5


def seconds(work: Callable[[], object]) -> float:
    best = 1e9
    for _ in range(3):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def converse(times: int, command: bytes) -> None:
    server = script.begun(State.RCPT, Recorder())
    server.receive(command * times)


@pytest.mark.parametrize(
    "command", [b"RCPT TO:<b@next.test>\r\n", b"BDAT 1\r\nx"], ids=["recipients", "chunks of one octet"]
)
def test_work_grows_with_the_input_and_no_faster(command: bytes) -> None:
    """Ten times as many commands in one packet take ten times as long, not a hundred times."""
    few = seconds(lambda: converse(4_000, command))
    many = seconds(lambda: converse(40_000, command))
    assert many < few * 30


# How it ends


def test_limits_are_those_documented() -> None:
    """Twenty errors, a hundred commands without a message, 2048 bytes a line."""
    assert (MOST_ERRORS, MOST_IDLE, LINE_BYTES) == (20, 100, 2048)


# Anything at all

TOKENS = st.sampled_from(
    [
        b"EHLO client.test\r\n", b"HELO x\r\n", b"MAIL FROM:<a@shop.test>\r\n", b"MAIL FROM:<>", b" SIZE=5",
        b" SMTPUTF8", b"RCPT TO:<b@next.test>\r\n", b"RCPT TO:<\xc3\xbc@next.test>\r\n", b"DATA\r\n",
        b"BDAT 3\r\n", b"BDAT 0 LAST\r\n", b"BDAT 4 LAST\r\n", b"BDAT 99\r\n", b"RSET\r\n", b"NOOP\r\n",
        b"STARTTLS\r\n", b"QUIT\r\n", b"\r\n.\r\n", b".", b"\r\n", b"\r", b"\n", b"\0", b"\xff", b"x" * 700,
        b"GET / HTTP/1.0\r\n", b"AUTH PLAIN\r\n",
    ]
)  # fmt: skip
ANYTHING = st.lists(TOKENS | st.binary(max_size=20), max_size=40).map(b"".join)


def feed(stream: bytes, sizes: list[int], begin: State) -> tuple[bytes, Recorder, Server]:
    host = Recorder()
    server = script.begun(begin, host)
    out, at, turn = b"", 0, 0
    while at < len(stream):
        size = sizes[turn % len(sizes)] if sizes else len(stream)
        piece, at, turn = stream[at : at + size], at + size, turn + 1
        out += server.receive(piece)
        while server.is_waiting:
            out += server.tls_started() if server.tls_begins else server.answer(host.verdict())
    return out, host, server


@given(ANYTHING, st.lists(st.integers(1, 50), max_size=8), st.sampled_from(ANY))
@settings(deadline=None, max_examples=examples(400))
def test_any_bytes_get_whole_replies(stream: bytes, sizes: list[int], begin: State) -> None:
    """Whatever arrives: no crash, whole lines with a code each, one last reply, one line kept at most."""
    out, _, server = feed(stream, sizes, begin)
    lines = out.split(b"\r\n")
    assert lines.pop() == b""
    for line in lines:
        assert line[:3].isdigit()
        assert line[3:4] in (b" ", b"-")
        assert b"\n" not in line
        assert b"\r" not in line
    assert server.pending_bytes <= LINE_BYTES
    if any(line.startswith((b"221", b"421")) for line in lines):
        assert server.is_closing
        assert lines[-1][:3] in (b"221", b"421")


@given(ANYTHING, st.lists(st.integers(1, 9), min_size=1, max_size=8), st.sampled_from(ANY[1:]))
@settings(deadline=None, max_examples=examples(400))
def test_any_bytes_mean_the_same_however_they_are_cut(stream: bytes, sizes: list[int], begin: State) -> None:
    """What a client says does not depend on how the network cuts it up (but for talking before it may)."""
    stream = stream.replace(b"STARTTLS", b"VRFY x")
    whole, kept, _ = feed(stream, [], begin)
    cut, kept_too, _ = feed(stream, sizes, begin)
    assert cut == whole
    assert kept_too.messages == kept.messages


def test_each_command_gets_one_reply() -> None:
    """Ten thousand commands chosen at random, pipelined: as many final reply lines."""
    dice = random.Random(5321)
    commands = [b"MAIL FROM:<a@shop.test>\r\n", b"RCPT TO:<b@next.test>\r\n", b"BDAT 3 LAST\r\na\r\n"]
    sent = [dice.choices(commands, (2, 5, 2))[0] for _ in range(10_000)]
    at, replied = 0, 0
    while at < len(sent):
        host = Recorder()
        server = script.begun(State.READY, host)
        for command in sent[at:]:
            said = server.receive(command)
            if server.is_waiting:
                said += server.answer(host.verdict())
            at += 1
            replied += len([line for line in said.splitlines() if line[3:4] == b" "])
            if server.is_closing:
                replied -= 1  # the 421 that says goodbye
                break
    assert replied == len(sent)
