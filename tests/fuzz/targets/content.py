"""Message content, in by DATA and BDAT and out again.

Invariant tested: the end of the data and the content before it are those of a
plain reading of RFC 5321 §4.5.2, however the bytes are cut; what the inspector
says of the pieces it would say of the whole; and what our client stuffs, our
server gets back.
"""

from tests.fuzz.target import pieces

from waystation_relay.wire.content import ChunkDecoder, DataDecoder, Inspector
from waystation_relay.wire.stuffing import END, Stuffer, stuff, terminated

TOKENS = (
    b"\r\n", b"\r", b"\n", b".", b"..", b"\r\n.\r\n", b"\n.\n", b"\r.\r", b"\r\n..\r\n", b"\r\n.", b"\0",
    b"\xff", b"Received: x\r\n", b"received:", b" received:", b"Subject: x\r\n\r\n", b"\r\n\r\n", b"a",
)  # fmt: skip


def run(data: bytes) -> None:
    expected = plainly(data)
    for cut in ([data], [data[n : n + 1] for n in range(len(data))], list(pieces(data, 9))):
        assert decoded(cut) == expected
        chunked(data, cut)
        stuffed(data, cut)


def plainly(data: bytes) -> tuple[bytes, bytes] | None:
    """Content and what follows its end; ``None``: it has no end."""
    before, end, rest = (b"\r\n" + data).partition(b"\r\n.\r\n")
    if not end:
        return None
    lines = [line[1:] if line.startswith(b".") else line for line in (before + b"\r\n").split(b"\r\n")]
    return b"\r\n".join(lines)[2:], rest


def decoded(cut: list[bytes]) -> tuple[bytes, bytes] | None:
    content: list[bytes] = []
    decoder, whole = DataDecoder(content.append), Inspector()
    for n, piece in enumerate(cut):
        rest = decoder.feed(piece)
        if rest is not None:
            same(content, whole)
            return b"".join(content), rest + b"".join(cut[n + 1 :])
    return None


def chunked(data: bytes, cut: list[bytes]) -> None:
    content: list[bytes] = []
    decoder = ChunkDecoder(content.append)
    decoder.begin(len(data))
    for n, piece in enumerate(cut, 1):
        assert decoder.feed(piece) is (n == len(cut))
    decoder.finish()
    assert b"".join(content) == data
    same(content, Inspector())


def same(content: list[bytes], whole: Inspector) -> None:
    """The inspector sees pieces as it sees the whole, because no piece ends within a CR LF."""
    parts = Inspector()
    for piece in content:
        assert piece
        parts.look(piece)
    if content:
        whole.look(b"".join(content))
    for seen in ("size_bytes", "bare", "nul", "eight_bit", "hops"):
        assert getattr(parts, seen) == getattr(whole, seen), seen


def stuffed(data: bytes, cut: list[bytes]) -> None:
    stuffer = Stuffer()
    sent = b"".join([stuffer.stuff(piece) for piece in cut]) + stuffer.finish()
    assert sent == stuff(data) + END
    assert decoded([sent + b"QUIT\r\n"]) == (terminated(data), b"QUIT\r\n")
