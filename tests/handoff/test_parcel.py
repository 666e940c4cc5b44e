"""The bytes between two relays: what is written is read, however it comes; anything else is refused."""

import contextlib
import struct
import zlib
from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waystation_relay.handoff import parcel
from waystation_relay.handoff.parcel import Decoder, Malformed, Mark, Parcel
from waystation_relay.mail.envelope import BodyType, Envelope, Notify, Origin, Recipient, Ret
from waystation_relay.mail.message import Progress, Status
from waystation_relay.mail.outcome import Reason, Remote
from waystation_relay.mail.reply import Reply
from waystation_relay.spool.adopt import Adoption

NAME = "1KA3ZQ9W0TH-7F2QX"
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=12)
TIMES = st.floats(0, parcel.LATEST)
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NAMES = st.tuples(st.text(ALPHABET, min_size=11, max_size=11), st.text(ALPHABET, min_size=5, max_size=5)).map(
    "-".join
)
REPLIES = st.builds(
    Reply, st.integers(200, 599), st.sampled_from(["", "4.7.1"]), st.lists(TEXT, max_size=3).map(tuple)
)


def recipients() -> st.SearchStrategy[Recipient]:
    return st.builds(Recipient, TEXT, st.integers(0, 15).map(Notify), st.none() | TEXT)


@st.composite
def progress(draw: st.DrawFn, number: int) -> Progress:
    return Progress(
        number,
        draw(st.sampled_from(Status)),
        draw(TIMES),
        draw(st.integers(0, 2**31)),
        draw(st.booleans()),
        draw(st.none() | REPLIES),
        draw(st.none() | st.sampled_from(Reason)),
        draw(st.none() | st.builds(Remote, TEXT, TEXT, st.integers(0, 65535))),
        draw(TIMES),
        draw(TEXT),
        draw(st.booleans()),
    )


@st.composite
def messages(draw: st.DrawFn) -> tuple[Parcel, bytes]:
    people = tuple(draw(st.lists(recipients(), min_size=1, max_size=4)))
    numbers = draw(st.lists(st.integers(0, len(people) - 1), min_size=1, unique=True))
    envelope = Envelope(
        draw(TEXT), people, draw(st.sampled_from(BodyType)), draw(st.booleans()),
        draw(st.none() | st.sampled_from(Ret)), draw(st.none() | TEXT),
    )  # fmt: skip
    adoption = Adoption(
        draw(NAMES),
        draw(NAMES),
        envelope,
        Origin(*[draw(TEXT) for _ in range(5)]),
        draw(TIMES),
        tuple([draw(progress(number)) for number in numbers]),
    )
    body = draw(st.binary(max_size=60))
    return Parcel(adoption, len(body), zlib.crc32(body)), body


def written(batch: Sequence[tuple[Parcel, bytes]]) -> bytes:
    return parcel.MAGIC + b"".join(parcel.frame(one) + body for one, body in batch) + parcel.END


def read(pieces: Sequence[bytes]) -> tuple[list[tuple[Parcel, bytes]], bool]:
    """What came out, and whether it is known to be all."""
    decoder, found, whole = Decoder(), [], 0
    for piece in pieces:
        for event in decoder.feed(piece):
            match event:
                case Parcel():
                    found.append((event, b""))
                case bytes():
                    found[-1] = found[-1][0], found[-1][1] + event
                case Mark.WHOLE:
                    whole += 1
                    assert whole == len(found)
    return found, decoder.ended


@settings(max_examples=60, deadline=None)
@given(st.lists(messages(), max_size=3), st.integers(1, 40))
def test_what_is_written_is_read(batch: list[tuple[Parcel, bytes]], step: int) -> None:
    """Whole, byte by byte and in pieces of any size."""
    raw = written(batch)
    for size in (len(raw), 1, step):
        pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
        assert read(pieces) == (batch, True)


@settings(max_examples=40, deadline=None)
@given(st.lists(messages(), max_size=2), st.data())
def test_what_is_cut_off_has_no_end(batch: list[tuple[Parcel, bytes]], data: st.DataObject) -> None:
    """However much of it came, it does not pass for all."""
    raw = written(batch)
    assert read([raw[: data.draw(st.integers(0, len(raw) - 1))]])[1] is False


@settings(max_examples=40, deadline=None)
@given(st.lists(messages(), max_size=2), st.binary(min_size=1, max_size=20))
def test_nothing_may_follow_the_end(batch: list[tuple[Parcel, bytes]], more: bytes) -> None:
    """In the same piece or a later one."""
    for pieces in ([written(batch) + more], [written(batch), more]):
        with pytest.raises(Malformed):
            read(pieces)


@settings(max_examples=80, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=2), st.data())
def test_a_flipped_bit_is_noticed(batch: list[tuple[Parcel, bytes]], data: st.DataObject) -> None:
    """Anywhere: nothing else than what was sent is ever taken for the whole."""
    raw = bytearray(written(batch))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with contextlib.suppress(Malformed):
        assert read([bytes(raw)])[1] is False


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(raw: bytes) -> None:
    """No bytes do more harm than a refusal."""
    for start in (b"", parcel.MAGIC, parcel.MAGIC + struct.pack(">II", len(raw), zlib.crc32(raw))):
        with contextlib.suppress(Malformed):
            read([start + raw])


TWO = Envelope("a@b.test", (Recipient("c@d.test"), Recipient("e@f.test")))
GOOD = Adoption(NAME, NAME, TWO, Origin(), 1e9, (Progress(0), Progress(1)))
WRONG = {
    "no name": {"name": ""},
    "a name of our own making": {"name": "../../etc/passwd"},
    "no queue id": {"queue_id": "x"},
    "nobody": {"pending": ()},
    "somebody twice": {"pending": (Progress(0), Progress(0))},
    "a recipient too many": {"pending": (Progress(2),)},
    "a recipient before the first": {"pending": (Progress(-1),)},
    "no time": {"arrival": float("nan")},
    "for ever": {"pending": (Progress(0, due=float("inf")),)},
    "before all time": {"arrival": -1.0},
    "attempts": {"pending": (Progress(0, attempts=-1),)},
    "a sender of two lines": {"envelope": msgspec.structs.replace(TWO, reverse_path="a@b.test\r\nQUIT")},
    "a recipient of two lines": {
        "envelope": Envelope("", (Recipient("a@b.test\nDATA"), Recipient("c@d.test")))
    },
    "an original recipient of two lines": {
        "envelope": Envelope("", (Recipient("a@b.test", orcpt="rfc822;x\r"), Recipient("c@d.test")))
    },
    "an envelope id of two lines": {"envelope": msgspec.structs.replace(TWO, envid="1\n2")},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG)
def test_what_no_relay_sends_is_refused(fields: dict[str, object]) -> None:
    """A message that could not be stored, or not be delivered, is refused before anything is done."""
    assert parcel.checked(parcel.frame(Parcel(GOOD, 0, 0))[parcel.FRAME.size :]).adoption == GOOD
    wrong = Parcel(msgspec.structs.replace(GOOD, **fields), 0, 0)
    with pytest.raises(Malformed):
        parcel.frame(wrong)
    with pytest.raises(Malformed):
        parcel.checked(msgspec.msgpack.encode(wrong))


@pytest.mark.parametrize(("size_bytes", "crc32"), [(-1, 0), (2**40, 0), (0, -1), (0, 2**32)])
def test_impossible_sizes_are_refused(size_bytes: int, crc32: int) -> None:
    """No relay waits for a body that never ends."""
    with pytest.raises(Malformed):
        parcel.checked(msgspec.msgpack.encode(Parcel(GOOD, size_bytes, crc32)))


def test_a_frame_has_a_bound() -> None:
    """Its length is refused before anything is kept for it."""
    with pytest.raises(Malformed):
        read([parcel.MAGIC + parcel.FRAME.pack(parcel.LARGEST_BYTES + 1, 0)])
    large = msgspec.structs.replace(TWO, reverse_path="a" * parcel.LARGEST_BYTES)
    with pytest.raises(Malformed):
        parcel.frame(Parcel(msgspec.structs.replace(GOOD, envelope=large), 0, 0))


def test_a_later_relay_may_say_more() -> None:
    """Fields behind those that are known are passed over."""
    content = msgspec.msgpack.decode(parcel.frame(Parcel(GOOD, 0, 0))[parcel.FRAME.size :])
    content[0].append("more")
    content.append({"and": "more"})
    assert parcel.checked(msgspec.msgpack.encode(content)) == Parcel(GOOD, 0, 0)


def test_another_format_is_refused() -> None:
    """The number stands at the beginning, so that nothing of it is taken for ours."""
    with pytest.raises(Malformed):
        read([b"WSHO\x02" + parcel.END])
