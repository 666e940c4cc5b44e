"""Segment files and the first bytes of the index, whatever is in them.

Invariant tested: a body is exactly what was written under this message's name or
is ``Damaged``; where the index says it lies may be nonsense too. The index's
header is recognized or not, and a restored one is sound.
"""

import os
import zlib
from pathlib import Path

from tests.fuzz.target import Feed, explained

from waystation_relay.mail.message import Place
from waystation_relay.spool import header as index
from waystation_relay.spool.bodies import Damaged, read_record
from waystation_relay.spool.segments import HEADER, MAGIC, header

ID = 7
BODY = b"Subject: x\r\n\r\nhello\r\n"
RECORD = header(ID, zlib.crc32(BODY), len(BODY)) + BODY
FRESH = index.restored(
    index.LAYOUT.pack(*index.BEGINNING, *[1] * 5, 4, 0, 0, 1, 1, 0, index.APPLICATION_ID, bytes(20), 1, 0),
    4096,
)
TOKENS = (
    RECORD, BODY, MAGIC, HEADER.pack(MAGIC, 0, ID, 0), bytes(8), FRESH, index.MAGIC, b"\xff" * 8, b"WAYS",
)  # fmt: skip

OFFSETS = (HEADER.size, 0, 1, -1, len(RECORD) + HEADER.size, 2**40, 2**63 - 1)
LENGTHS = (len(BODY), 0, 1, -1, 4096, 2**31, 2**63 - 1)
FILE = os.memfd_create("segment")
PATH = Path(f"/proc/self/fd/{FILE}")


def run(data: bytes) -> None:
    feed = Feed(data)
    offset, length = OFFSETS[feed.below(len(OFFSETS))], LENGTHS[feed.below(len(LENGTHS))]
    content = feed.rest()
    os.ftruncate(FILE, 0)
    os.pwrite(FILE, content, 0)
    for crc32 in {zlib.crc32(BODY), zlib.crc32(content[offset : offset + length] if length > 0 else b"")}:
        place = Place(1, offset, length, crc32)
        try:
            body = read_record(PATH, ID, place)
        except Damaged as why:
            explained(str(why))
            continue
        assert (len(body), zlib.crc32(body)) == (length, crc32)
        assert content[offset - HEADER.size : offset] == header(ID, crc32, length)
    first_bytes(content)


def first_bytes(raw: bytes) -> None:
    index.read(raw)
    sound = index.is_sound(raw)
    assert index.format_of(raw) >= 0
    if raw:
        restored = index.restored(raw, len(raw))
        assert index.is_sound(restored)
        assert index.read(restored).pages == len(raw) // index.PAGE_BYTES
        if sound and index.format_of(raw):
            assert index.format_of(restored) == index.format_of(raw)
