"""Content on its way in: where it ends, what is taken out, what is noticed."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.effort import examples

from waystation_relay.wire import stuffing
from waystation_relay.wire.content import HEADER_BYTES, ChunkDecoder, DataDecoder, Inspector, chunk_of

END = b"\r\n.\r\n"
# What makes trouble, and what lies between.
BYTES = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"\0", b"\xe4", b"x", b"Received: y", b"\r\n\r\n"])
    | st.binary(min_size=1, max_size=6),
    max_size=40,
).map(b"".join)
CUTS = st.lists(st.integers(1, 7), min_size=1, max_size=6)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    found, turn = [], 0
    while data:
        size = sizes[turn % len(sizes)]
        found.append(data[:size])
        data, turn = data[size:], turn + 1
    return found


def decode(stream: list[bytes]) -> tuple[bytes, bytes | None]:
    """What the data held, and what follows its end (``None``: no end)."""
    taken: list[bytes] = []
    decoder = DataDecoder(taken.append)
    while stream:
        rest = decoder.feed(stream.pop(0))
        if rest is not None:
            return b"".join(taken), rest + b"".join(stream)
    return b"".join(taken), None


def reference(stream: bytes) -> tuple[bytes, bytes | None]:
    """RFC 5321 §4.5.2 read literally: lines end in CR LF, one dot ends, a first dot goes."""
    content = b""
    while True:
        line, end, stream = stream.partition(b"\r\n")
        if not end:
            return content + (line[1:] if line.startswith(b".") else line), None
        if line == b".":
            return content, stream
        content += (line[1:] if line.startswith(b".") else line) + b"\r\n"


# DATA


@given(BYTES, BYTES, CUTS)
@settings(deadline=None, max_examples=examples(500))
def test_data_is_read_as_the_rfc_says(content: bytes, behind: bytes, sizes: list[int]) -> None:
    """Whatever is sent, however it is cut: the content and the first byte behind it are RFC 5321's."""
    stream = content + END + behind
    assert decode([stream]) == decode(pieces(stream, sizes)) == reference(stream)


@given(BYTES, CUTS)
@settings(deadline=None, max_examples=examples(300))
def test_without_an_end_nothing_is_lost_or_invented(content: bytes, sizes: list[int]) -> None:
    """What has been handed over is the beginning of the content; at most an unfinished end is held back."""
    taken, rest = decode(pieces(content, sizes))
    whole, end = reference(content)
    if end is None:
        assert rest is None
        assert whole.startswith(taken)
        assert len(whole) - len(taken) <= len(END)


@given(BYTES.map(lambda x: x.replace(b"\r", b"").replace(b"\n", b"\r\n")), BYTES, CUTS)
@settings(deadline=None, max_examples=examples(300))
def test_what_we_send_we_read(content: bytes, behind: bytes, sizes: list[int]) -> None:
    """Our own client's dot-stuffing is undone to the byte."""
    sent = stuffing.stuff(content) + stuffing.END
    assert decode(pieces(sent + behind, sizes)) == (stuffing.terminated(content), behind)


NO_END = {
    "LF . LF": b"\n.\n",
    "LF . CRLF": b"\n.\r\n",
    "CR . CR": b"\r.\r",
    "CR . CRLF": b"\r.\r\n",
    "CR . LF": b"\r.\n",
    "LF . CR": b"\n.\r",
    "CRLF . LF": b"\r\n.\n",
    "CRLF . CR": b"\r\n.\r",
    "CRLF . CR x LF": b"\r\n.\rx\n",
    "CRLF NUL . CRLF": b"\r\n\0.\r\n",
    "CRLF . NUL CRLF": b"\r\n.\0\r\n",
    "CRLF . CR NUL LF": b"\r\n.\r\0\n",
    "CRLF .. CRLF": b"\r\n..\r\n",
    "CRLF . blank CRLF": b"\r\n. \r\n",
    "CRLF blank . CRLF": b"\r\n .\r\n",
    "CR CRLF . CR CRLF": b"\r\r\n.\r\r\n",
    "LF CRLF . LF CRLF": b"\n\r\n.\n\r\n",
    "NEL . NEL": "\u0085.\u0085".encode(),
    "LS . LS": "\u2028.\u2028".encode(),
    "VT . VT": b"\x0b.\x0b",
    "FF . FF": b"\x0c.\x0c",
}
SMUGGLED = b"MAIL FROM:<ceo@shop.test>\r\nRCPT TO:<ann@shop.test>\r\nDATA\r\npay\r\n"


@pytest.mark.parametrize("false_end", NO_END.values(), ids=NO_END)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_only_crlf_dot_crlf_ends_the_data(false_end: bytes, size: int) -> None:
    """What another server might take for the end of data is content (SMTP smuggling, CVE-2023-51764)."""
    stream = b"first" + false_end + SMUGGLED + END + b"behind"
    content, rest = decode(pieces(stream, [size]))
    assert rest == b"behind"
    assert b"RCPT TO:<ann@shop.test>" in content


@pytest.mark.parametrize(
    "false_end", [x for x in NO_END.values() if re.search(rb"(?<!\r)\n|\r(?!\n)|\0", x)], ids=repr
)
def test_a_false_end_is_noticed(false_end: bytes) -> None:
    """If anybody could see an end in it, the message will be refused."""
    inspector = Inspector()
    content, _ = decode([b"first" + false_end + SMUGGLED + END])
    inspector.look(content)
    assert inspector.bare or inspector.nul


def test_the_end_may_come_first() -> None:
    """An empty message is ended by a dot alone; the line it stands on began with the data."""
    assert decode([b".\r\nQUIT\r\n"]) == (b"", b"QUIT\r\n")
    assert decode([b"\r\n.\r\n"]) == (b"\r\n", b"")


# BDAT


@given(BYTES, st.lists(st.integers(0, 9), min_size=1, max_size=8), CUTS)
@settings(deadline=None, max_examples=examples(300))
def test_chunks_are_octets(content: bytes, chunks: list[int], sizes: list[int]) -> None:
    """Content in chunks of any size, in packets of any size, is the same content; no CR LF is divided."""
    taken: list[bytes] = []
    decoder = ChunkDecoder(taken.append)
    parts = pieces(content, [n + 1 for n in chunks])
    for part in parts:
        decoder.begin(len(part))
        complete = [decoder.feed(packet) for packet in pieces(part, sizes)]
        assert complete == [False] * (len(complete) - 1) + [True]
    decoder.finish()
    assert b"".join(taken) == content
    assert not any(a.endswith(b"\r") and b.startswith(b"\n") for a, b in itertools.pairwise(taken))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", (0, False)),
        ("0 LAST", (0, True)),
        ("1000 last", (1000, True)),
        ("  7   LAST  ", (7, True)),
        ("999999999999", (999_999_999_999, False)),
        ("007", (7, False)),
        ("1000000000000", None),
        ("", None),
        ("LAST", None),
        ("5 FIRST", None),
        ("5 LAST x", None),
        ("5LAST", None),
        ("-5", None),
        ("+5", None),
        ("5.0", None),
        ("0x5", None),
        ("1_000", None),
        ("²", None),
        ("٣", None),
        ("5 LA\u017fT", None),
    ],
)
def test_size_of_a_chunk(text: str, expected: tuple[int, bool] | None) -> None:
    """RFC 3030 §2: a number, and perhaps LAST."""
    assert chunk_of(text) == expected


# What is noticed


def inspect(content: bytes, sizes: list[int]) -> Inspector:
    """In pieces as a decoder makes them: no CR LF is divided."""
    inspector = Inspector()
    decoder = ChunkDecoder(inspector.look)
    for part in pieces(content, sizes):
        decoder.begin(len(part))
        decoder.feed(part)
    decoder.finish()
    return inspector


def header_of(content: bytes) -> bytes:
    """Up to the first empty line; all of it when there is none."""
    return b"" if content.startswith(b"\r\n") else content.partition(b"\r\n\r\n")[0] + b"\r\n"


@given(BYTES, CUTS)
@settings(deadline=None, max_examples=examples(500))
def test_inspection_does_not_depend_on_cuts(content: bytes, sizes: list[int]) -> None:
    """Bare line ends, NULs, bytes from 0x80, size and hops are found as when the whole is looked at."""
    inspector = inspect(content, sizes)
    assert inspector.size_bytes == len(content)
    assert inspector.bare == bool(re.search(rb"(?<!\r)\n|\r(?!\n)", content))
    assert inspector.nul == (b"\0" in content)
    assert inspector.eight_bit == any(byte > 127 for byte in content)
    hops = len(re.findall(rb"(?:\A|\r\n)received:", header_of(content).lower()))
    assert inspector.hops == hops


@pytest.mark.parametrize(
    ("content", "hops"),
    [
        pytest.param(b"", 0, id="nothing"),
        pytest.param(b"Received: a\r\nreceived: b\r\nSubject: x\r\n\r\n", 2, id="any case"),
        pytest.param(b"Subject: x\r\n\r\nReceived: a\r\n", 0, id="in the body"),
        pytest.param(b"\r\nReceived: a\r\n\r\n", 0, id="without a header"),
        pytest.param(b"X-Received: a\r\nReceived-SPF: pass\r\n\r\n", 0, id="names like it"),
        pytest.param(b"Subject: x\r\n Received: a\r\n\r\n", 0, id="a folded line"),
        pytest.param(b"Received: a\r\nReceived: b", 2, id="no empty line"),
        pytest.param(b"Received: a\r\n" * 101 + b"\r\n", 101, id="a hundred and one"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5, 10_000])
def test_hops_are_received_fields_of_the_header(content: bytes, hops: int, size: int) -> None:
    """How many servers a message has passed, by its trace."""
    assert inspect(content, [size]).hops == hops


@pytest.mark.parametrize("size", [1000, 70_000, 10**6])
def test_a_header_is_followed_so_far_and_no_further(size: int) -> None:
    """A header without an end costs a bounded amount of memory."""
    inspector = inspect(b"X-Filler: 0123456789\r\n" * 40_000, [size])
    assert inspector.header is not None
    assert len(inspector.header) == HEADER_BYTES
    assert len(inspector._seen) == 0
