"""Dots on the way out: no content ends its own transmission, and every content arrives as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waystation_relay.wire.stuffing import END, Stuffer, find_dotted, stuff, terminated


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"a\r\n", b"a\r\n", id="nothing to do"),
        pytest.param(b".\r\n", b"..\r\n", id="a dot alone"),
        pytest.param(b".a\r\n", b"..a\r\n", id="dot at the start"),
        pytest.param(b"a\r\n.\r\nb\r\n", b"a\r\n..\r\nb\r\n", id="dot line within"),
        pytest.param(b"a\r\n..b\r\n", b"a\r\n...b\r\n", id="two dots"),
        pytest.param(b"a.b\r\n", b"a.b\r\n", id="dot elsewhere"),
        pytest.param(b"a", b"a\r\n", id="no line end"),
        pytest.param(b"a\r\n.", b"a\r\n..\r\n", id="dot last"),
        pytest.param(b"a\r", b"a\r\r\n", id="CR last"),
        pytest.param(b"a\n.\nb\r\n", b"a\n.\nb\r\n", id="bare LF is no line end"),
    ],
)
def test_stuffed(content: bytes, wire: bytes) -> None:
    """A line that begins with a dot gets another; the last line is ended (RFC 5321 §4.5.2)."""
    assert stuff(content) == wire


def unstuffed(wire: bytes) -> bytes:
    """As a server reads it: up to the line that is a dot, one dot taken from lines that begin with one."""
    end = (b"\r\n" + wire).index(b"\r\n.\r\n")
    assert end + len(b".\r\n") == len(wire), "the content ended early"
    lines = wire[:end].split(b"\r\n")
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)


CONTENT = st.lists(st.sampled_from([b".", b"\r\n", b"\r", b"\n", b"a", b"\r\n.", b"..", b"\xff"])).map(
    b"".join
)
CUTS = st.lists(st.integers(0, 60), max_size=10)


@given(CONTENT)
def test_server_reads_what_was_sent(content: bytes) -> None:
    """Taking the dots away gives the content back, and it ends where it should, whatever it holds."""
    assert unstuffed(stuff(content) + END) == terminated(content)


@given(CONTENT, CUTS)
def test_chunks_make_no_difference(content: bytes, cuts: list[int]) -> None:
    """A body stuffed piece by piece is the body stuffed whole, empty pieces included."""
    stuffer = Stuffer()
    ends = [*sorted(cut for cut in cuts if cut < len(content)), len(content)]
    pieces = [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert b"".join(map(stuffer.stuff, pieces)) + stuffer.finish() == stuff(content) + END


@given(CONTENT)
def test_byte_by_byte_makes_no_difference(content: bytes) -> None:
    """Not even in pieces of one byte."""
    stuffer = Stuffer()
    pieces = [stuffer.stuff(content[n : n + 1]) for n in range(len(content))]
    assert b"".join(pieces) + stuffer.finish() == stuff(content) + END


@given(
    st.lists(st.sampled_from([b"\r\n", b"\r\n.", b".", b"a.b", b"\n.", b"\r.", b"x" * 50]), max_size=300),
    st.sampled_from([0, 20_000]),
)
def test_the_first_dotted_line_is_found_wherever_it_is(parts: list[bytes], before: int) -> None:
    """Large bodies are searched another way than small ones, with the same result."""
    data = b"A" * before + b"".join(parts)
    assert find_dotted(data) == data.find(b"\r\n.")
