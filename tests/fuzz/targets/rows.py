"""Rows of the queue's index, damaged in ways that a checksum does not show.

Invariant tested: a row is read or is ``Unreadable``, whatever is in its columns;
what is read can be shown to a person, written again and read again as the
same; and an unreadable message is mended into rows that are readable, or given up
in so many words.

The checksum is put right before reading, as if the bytes had been so when they were written.
"""

from typing import Any

import msgspec
from tests.fuzz.target import Feed, explained

from waystation_relay.admin import view
from waystation_relay.mail.envelope import BodyType, Envelope, Notify, Origin, Recipient, Ret
from waystation_relay.mail.message import Message, Progress
from waystation_relay.mail.outcome import Reason, Remote
from waystation_relay.mail.reply import reply
from waystation_relay.spool import mend, rows

ID = 1_800_000_000_000_000
TAG = "7F2QX"
ENVELOPE = Envelope(
    "ann@shop.test",
    (Recipient("Bob@next.test", Notify.SUCCESS, "rfc822;b@next.test"), Recipient("eve@next.test")),
    BodyType.EIGHT_BIT, True, Ret.FULL, "Q1",
)  # fmt: skip
ORIGIN = Origin("smtp", "ESMTPS", "192.0.2.1", "app.shop.test")
PROGRESS = Progress(
    0, due=2e9, attempts=3, warned=True, last_reply=reply(451, "4.4.1", "later"), last_reason=Reason.CONNECT,
    last_remote=Remote("mx.next.test", "192.0.2.25", 25), last_attempt=1.9e9,
)  # fmt: skip
SEALED = rows.seal(ID, ENVELOPE, ORIGIN)[rows.CRC_BYTES :]
DETAILS = rows.details_of(ID, PROGRESS)[rows.CRC_BYTES :]
TOKENS = (
    SEALED, DETAILS, b"\x90", b"\x92", b"\x93", b"\x96", b"\xc0", b"\xc2", b"\xc3", b"\xa0", b"\xa3abc",
    b"\xff", b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
    b"\xdc\xff\xff", b"\xd9\x02\xc3\x28", b"bob@next.test",
)  # fmt: skip


def run(data: bytes) -> None:
    feed = Feed(data)
    row, progress = columns(feed), [recipient(feed), recipient(feed)][: feed.below(3)]
    blob = feed.rest()
    at = feed.below(2)
    if at:
        row[6] = rows._with_crc(ID, blob)
    elif progress:
        progress[0][5] = rows._with_crc(ID, blob)
    try:
        message = rows.message_of(row, progress, TAG)
    except rows.Unreadable:
        repaired(row, progress)
        return
    shown(message)
    again = rows.seal(message.id, message.envelope, message.origin)
    assert rows.unseal(message.id, again) == rows.Sealed(message.envelope, message.origin)
    for one in message.pending:
        address = message.envelope.recipients[one.number].address.lower()
        details = rows.details_of(message.id, one)
        stored = [
            one.number,
            int(one.status),
            one.due,
            one.last_reason or "",
            one.hold_reason,
            details,
            address,
        ]
        again = rows.progress_of(message.id, stored, message.envelope)
        assert repr(again) == repr(one), "as text, for the sake of NaN"


ODD: tuple[Any, ...] = (None, -1, 0, 2**63 - 1, -(2**63), 1.5, float("inf"), "", "x", b"", b"x")


def columns(feed: Feed) -> list[Any]:
    row: list[Any] = [ID, 1.8e9, 100, 0, 0, 7, rows.seal(ID, ENVELOPE, ORIGIN)]
    damage(feed, row)
    return row


def recipient(feed: Feed) -> list[Any]:
    row: list[Any] = [0, 0, 2e9, "connect", "", rows.details_of(ID, PROGRESS), "bob@next.test"]
    damage(feed, row)
    return row


def damage(feed: Feed, row: list[Any]) -> None:
    place = feed.below(2 * len(row))
    if place < len(row):
        row[place] = ODD[feed.below(len(ODD))]


def shown(message: Message) -> None:
    msgspec.json.encode(view.full(message, active=False))


def repaired(row: list[Any], progress: list[list[Any]]) -> None:
    if not isinstance(row[0], int):
        return
    found = [(row[0], p[0], p[1], p[2], p[6], "next.test", p[3], p[4], p[5]) for p in progress]
    try:
        sealed, anew = mend.mended(row[0], "ann@shop.test", row[6], found)
    except rows.Unreadable as why:
        explained(str(why))
        return
    envelope = rows.unseal(row[0], sealed).envelope
    for one in anew:
        rows.progress_of(row[0], [one[n] for n in mend.PROGRESS], envelope)
