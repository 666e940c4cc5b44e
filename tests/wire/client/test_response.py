"""What a server says, as replies: any bytes, in any pieces, within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_relay.mail.reply import Reply, encode
from waystation_relay.wire.response import (
    KEPT_CHARS,
    KEPT_LINE_CHARS,
    KEPT_LINES,
    LINE_BYTES,
    QUOTED_BYTES,
    REPLY_BYTES,
    Responses,
    clean,
)

CASES = [
    pytest.param(b"250 ok\r\n", Reply(250, "", ("ok",)), id="plain"),
    pytest.param(b"250 2.1.0 ok\r\n", Reply(250, "2.1.0", ("ok",)), id="enhanced"),
    pytest.param(b"250\r\n", Reply(250, "", ("",)), id="code alone"),
    pytest.param(b"250 \r\n", Reply(250, "", ("",)), id="code and space"),
    pytest.param(b"250 2.1.0\r\n", Reply(250, "2.1.0", ("",)), id="codes alone"),
    pytest.param(b"250 ok\n", Reply(250, "", ("ok",)), id="bare LF"),
    pytest.param(b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, "", ("a", "b", "c")), id="three lines"),
    pytest.param(b"250-a\r\n250\r\n", Reply(250, "", ("a", "")), id="last line without text"),
    pytest.param(
        b"550-5.1.1 who\r\n550 5.1.1 is that\r\n",
        Reply(550, "5.1.1", ("who", "is that")),
        id="enhanced lines",
    ),
    pytest.param(
        b"550-who\r\n550 5.1.1 is that\r\n", Reply(550, "5.1.1", ("who", "is that")), id="late code"
    ),
    pytest.param(
        b"550-5.1.1 a\r\n550 5.7.1 b\r\n",
        Reply(550, "5.1.1", ("a", "b")),
        id="the first enhanced code counts",
    ),
    pytest.param(
        b"450 5.7.1 no\r\n", Reply(450, "", ("5.7.1 no",)), id="enhanced code of another class is text"
    ),
    pytest.param(b"250-x\r\n251 y\r\n", Reply(251, "", ("x", "y")), id="codes of one class: the last counts"),
    pytest.param(b"250 2.1.0x ok\r\n", Reply(250, "", ("2.1.0x ok",)), id="not quite an enhanced code"),
    pytest.param(b"250 2.1234.0 ok\r\n", Reply(250, "", ("2.1234.0 ok",)), id="too many digits"),
    pytest.param(b"250 a\tb\0c\x1b[31m\x7f\r\n", Reply(250, "", ("a b?c?[31m?",)), id="control characters"),
    pytest.param("250 grüß\r\n".encode(), Reply(250, "", ("grüß",)), id="UTF-8"),
    pytest.param(b"250 gr\xfc\xdf\r\n", Reply(250, "", ("gr\ufffd\ufffd",)), id="not UTF-8"),
    pytest.param(b"250 a\rb\r\n", Reply(250, "", ("a b",)), id="bare CR"),
    pytest.param(
        b"250 " + b"x" * 5000 + b"\r\n", Reply(250, "", ("x" * KEPT_LINE_CHARS,)), id="a long line is cut"
    ),
]


@pytest.mark.parametrize(("said", "reply"), CASES)
@pytest.mark.parametrize("pieces", [0, 1], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(
    "trailing", [b"", b"2", b"250 next"], ids=["alone", "digit after", "half a line after"]
)
def test_reply(said: bytes, reply: Reply, pieces: int, trailing: bytes) -> None:
    """A reply is understood however it arrives, and what follows it is noticed."""
    responses = Responses()
    data = said + trailing
    step = pieces or len(data)
    found = [r for at in range(0, len(data), step) for r in responses.receive(data[at : at + step])]
    assert found == [reply]
    assert responses.is_pending is bool(trailing)
    assert not responses.malformed


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        pytest.param(b"hello\r\n", "hello", id="words"),
        pytest.param(b"\r\n", "(an empty line)", id="nothing"),
        pytest.param(b"25 ok\r\n", "25 ok", id="two digits"),
        pytest.param(b"2500 ok\r\n", "2500 ok", id="four digits"),
        pytest.param(b"150 ok\r\n", "150 ok", id="a class that SMTP has not"),
        pytest.param(b"600 ok\r\n", "600 ok", id="nor this"),
        pytest.param("٢٥٠ ok\r\n".encode(), "٢٥٠ ok", id="digits of another script"),
        pytest.param(b"250_ok\r\n", "250_ok", id="no separator"),
        pytest.param(b"250-a\r\n550 b\r\n", "550 b", id="lines of two classes"),
        pytest.param(b"250-a\r\nb\r\n", "b", id="a line without code amid others"),
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", "HTTP/1.1 400 Bad Request", id="a web server"),
        pytest.param(b"\x16\x03\x01\x02\n", "????", id="a TLS handshake"),
        pytest.param(b"SSH-2.0-x" + b"!" * 999 + b"\r\n", "SSH-2.0-x" + "!" * (QUOTED_BYTES - 9), id="long"),
    ],
)
@pytest.mark.parametrize("pieces", [0, 1], ids=["whole", "byte by byte"])
def test_what_is_no_reply(said: bytes, shown: str, pieces: int) -> None:
    """Anything else ends the reading: nothing after it is believed, and its beginning is kept to be shown."""
    responses = Responses()
    data = b"220 hello\r\n" + said + b"250 ok\r\n"
    step = pieces or len(data)
    found = [r for at in range(0, len(data), step) for r in responses.receive(data[at : at + step])]
    assert found == [Reply(220, "", ("hello",))]
    assert responses.malformed == shown


def test_endless_line_is_refused_while_it_comes() -> None:
    """A server that never ends its line is not listened to for long."""
    responses = Responses()
    fed = 0
    while not responses.malformed and fed <= 2 * LINE_BYTES:
        responses.receive(b"2" * 1000)
        fed += 1000
    assert LINE_BYTES < fed <= LINE_BYTES + 1000
    assert not responses.is_pending


def test_endless_reply_is_refused_while_it_comes() -> None:
    """A server that never comes to its last line is not listened to for long."""
    responses = Responses()
    fed = 0
    while not responses.malformed and fed <= 2 * REPLY_BYTES:
        assert responses.receive(b"250-" + b"x" * 994 + b"\r\n") == []
        fed += 1000
    assert REPLY_BYTES < fed <= REPLY_BYTES + 1000


def test_of_a_long_reply_the_beginning_is_kept() -> None:
    """A chatty server's reply is understood; people are shown as much of it as they will read."""
    responses = Responses()
    lines = [b"250-line %d of a very long reply\r\n" % n for n in range(1000)]
    (reply,) = responses.receive(b"".join(lines) + b"250 end\r\n")
    assert reply.code == 250
    assert len(reply.lines) == KEPT_LINES
    assert reply.lines[0] == "line 0 of a very long reply"


SCRAPS = st.sampled_from(
    [b"250", b"-", b" ", b"\r\n", b"\n", b"\r", b"2.1.5 ", b"5.1.1", b"550", b"354 ", b"x", b"\xff", b"\0",
     b"250 ok\r\n", b"250-a\r\n", b"x" * 3000, b"250-" + b"y" * 9000 + b"\r\n"]
)  # fmt: skip
STREAM = st.lists(SCRAPS | st.binary(max_size=12), max_size=60).map(b"".join)
CUTS = st.lists(st.integers(0, 20_000), max_size=12)


def receive(data: bytes, cuts: list[int]) -> tuple[list[Reply], Responses]:
    responses = Responses()
    replies: list[Reply] = []
    start = 0
    for end in [*sorted(cut for cut in cuts if cut < len(data)), len(data)]:
        replies += responses.receive(data[start:end])
        start = end
    return replies, responses


@given(STREAM, CUTS)
def test_pieces_make_no_difference(data: bytes, cuts: list[int]) -> None:
    """How the network cuts the bytes changes nothing of what they mean."""
    whole, first = receive(data, [])
    cut, second = receive(data, cuts)
    assert cut == whole
    assert second.malformed == first.malformed
    assert second.is_pending == first.is_pending


@given(STREAM)
def test_bounds_hold_whatever_is_said(data: bytes) -> None:
    """No reply has a code, a length or a character that the rest of the relay does not expect."""
    replies, responses = receive(data, [])
    for reply in replies:
        assert 200 <= reply.code <= 599
        assert reply.enhanced == "" or reply.enhanced[0] == str(reply.code)[0]
        assert 1 <= len(reply.lines) <= KEPT_LINES
        assert sum(map(len, reply.lines)) <= KEPT_CHARS
        assert reply.text.isprintable()
    assert responses.malformed.isprintable()
    assert len(responses.malformed) <= QUOTED_BYTES
    assert len(responses._partial) <= LINE_BYTES


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)
REPLIES = st.builds(
    Reply,
    st.integers(200, 599),
    st.just(""),
    st.lists(WORDS.filter(lambda w: not w[0].isdigit()), min_size=1, max_size=5).map(tuple),
) | st.builds(
    lambda code, detail, lines: Reply(code, f"{code // 100}.{detail}", lines),
    st.sampled_from([250, 451, 550]),
    st.sampled_from(["1.1", "7.26", "0.0"]),
    st.lists(WORDS, min_size=1, max_size=5).map(tuple),
)


@given(st.lists(REPLIES, max_size=8), CUTS)
def test_what_our_server_says_our_client_understands(replies: list[Reply], cuts: list[int]) -> None:
    """Replies as this relay writes them are read back as they were."""
    found, responses = receive(b"".join(map(encode, replies)), cuts)
    assert found == replies
    assert not responses.malformed


@given(st.binary(max_size=200))
def test_cleaned_text_is_one_printable_line(text: bytes) -> None:
    """Whatever a stranger says, it cannot forge a log line or move a terminal's cursor."""
    assert clean(text).isprintable()
