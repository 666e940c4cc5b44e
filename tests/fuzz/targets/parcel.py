"""Batches that one relay hands to another, whatever is in them.

Invariant tested: a batch is read or is ``Malformed``, the same in pieces as at once;
what is read has a body of the size and checksum it says, names its recipients,
and is written and read again as the same.

Half of the inputs are a frame's content, with a checksum that fits.
"""

import zlib

from tests.fuzz.target import explained, pieces

from waystation_relay.handoff.parcel import (
    END,
    FRAME,
    MAGIC,
    Decoder,
    Malformed,
    Mark,
    Parcel,
    checked,
    frame,
)
from waystation_relay.mail.envelope import Envelope, Origin, Recipient
from waystation_relay.mail.message import Progress
from waystation_relay.mail.outcome import Reason
from waystation_relay.mail.reply import reply
from waystation_relay.spool.adopt import Adoption

NAME = "1KA3ZQ9W0TH-7F2QX"
BODY = b"Subject: x\r\n\r\nhello\r\n"
PENDING = Progress(
    0, due=2e9, attempts=3, last_reply=reply(451, "4.4.1", "later"), last_reason=Reason.CONNECT
)
WHAT = Adoption(NAME, NAME, Envelope("a@b.test", (Recipient("c@d.test"),)), Origin("smtp"), 1.9e9, (PENDING,))
PARCEL = frame(Parcel(WHAT, len(BODY), zlib.crc32(BODY)))
TOKENS = (
    MAGIC, END, BODY, PARCEL, PARCEL[FRAME.size :], MAGIC + PARCEL + BODY + END, NAME.encode(), b"\x90",
    b"\x93", b"\x96", b"\xc0", b"\xff" * 4, b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", b"\xdc\xff\xff", b"\r\n",
)  # fmt: skip


def run(data: bytes) -> None:
    if data[:1] < b"\x80":
        assert read([data]) == read([data[at : at + 1] for at in range(len(data))]) == read([*pieces(data)])
        return
    try:
        parcel = checked(data)
    except Malformed as why:
        explained(str(why))
        return
    assert checked(frame(parcel)[FRAME.size :]) == parcel
    whole = read([MAGIC, FRAME.pack(len(data), zlib.crc32(data)) + data])
    assert whole is not None
    for progress in parcel.adoption.pending:
        assert parcel.adoption.envelope.recipients[progress.number].address is not None


def read(parts: list[bytes]) -> list[tuple[Parcel, bytes]] | None:
    """The messages that are whole; None: malformed."""
    decoder, whole = Decoder(), []
    parcel, body = None, b""
    try:
        for part in parts:
            for event in decoder.feed(part):
                if isinstance(event, Parcel):
                    parcel, body = event, b""
                elif isinstance(event, bytes):
                    body += event
                elif event is Mark.WHOLE:
                    assert parcel is not None
                    assert (len(body), zlib.crc32(body)) == (parcel.size_bytes, parcel.crc32)
                    whole.append((parcel, body))
    except Malformed as why:
        explained(str(why))
        return None
    return whole
