"""SQLite's write-ahead log, read without SQLite: what lies in it behind the first damage.

SQLite believes a log up to the first frame that does not check out, and passes over the rest in silence:
that is how it tells a commit that a crash has cut off. But each commit is synced before the next one
begins. If another follows the one that does not check out, that was no crash
but damage, and what follows had been promised. Pure: bytes in, pages out.
The format is that of https://www.sqlite.org/fileformat2.html §4.

Known limits
    Damage to the last commit of a log looks like a crash, as does a log that ends too early.
"""

import struct
from collections.abc import Iterator
from mmap import mmap

from waystation_relay.spool.header import PAGE_BYTES

HEADER = struct.Struct(">8I")  # magic, version, page size, sequence, salts, checksums
FRAME = struct.Struct(">6I")  # page, size of the file in pages if this ends a commit, salts, checksums
FRAME_BYTES = FRAME.size + PAGE_BYTES
BIG_ENDIAN = (
    0x377F0683  # the magic of a log whose checksums were made of such words; otherwise the last bit is 0
)
Raw = bytes | mmap
Sums = tuple[int, int]


def is_damaged(raw: Raw) -> bool:
    """Whether more commits than one lie behind those that SQLite believes."""
    return _goes_on(raw, _believed(raw))


def pages(raw: Raw) -> Iterator[tuple[int, bytes]]:
    """(number, content) of each page of each commit, in order; of those behind damage as well."""
    damaged = is_damaged(raw)
    salts = _salts(raw)
    commit: list[tuple[int, bytes]] = []
    for start in _starts(raw):
        page, file_pages, *own, _, _ = FRAME.unpack_from(raw, start)
        if page and own == salts:
            commit.append((page, raw[start + FRAME.size : start + FRAME_BYTES]))
            if file_pages:
                yield from commit
                commit.clear()
        elif not damaged:  # the last commit may be taken as it is, if it is complete
            return


def _starts(raw: Raw, after: int = 0) -> range:
    """Of frames, but for so many."""
    return range(HEADER.size + after * FRAME_BYTES, len(raw) - FRAME_BYTES + 1, FRAME_BYTES)


def _goes_on(raw: Raw, believed: int) -> bool:
    salts = _salts(raw)
    commit = False
    for start in _starts(raw, believed):
        page, file_pages, *own, _, _ = FRAME.unpack_from(raw, start)
        if page and own == salts:
            if commit:
                return True
            commit = file_pages > 0
    return False


def _believed(raw: Raw) -> int:
    """How many frames SQLite believes: up to the end of the last commit that checks out."""
    sums = _header_sums(raw)
    if sums is None:
        return 0
    salts = _salts(raw)
    order = _order(raw)
    believed = 0
    for number, start in enumerate(_starts(raw)):
        page, file_pages, *own, first, second = FRAME.unpack_from(raw, start)
        sums = _sums(raw[start : start + 8], sums, order)
        sums = _sums(raw[start + FRAME.size : start + FRAME_BYTES], sums, order)
        if sums != (first, second) or own != salts or not page:
            break
        if file_pages:
            believed = number + 1
    return believed


def _salts(raw: Raw) -> list[int]:
    """Of the header, or if that is damaged, of the first frame; none when there is neither."""
    if _header_sums(raw) is not None:
        return list(HEADER.unpack_from(raw)[4:6])
    return list(FRAME.unpack_from(raw, HEADER.size)[2:4]) if _starts(raw) else []


def _order(raw: Raw) -> str:
    return ">" if HEADER.unpack_from(raw)[0] == BIG_ENDIAN else "<"


def _header_sums(raw: Raw) -> Sums | None:
    """Those that the first frame's are built on; none: the header does not check out."""
    if len(raw) < HEADER.size:
        return None
    magic, _, page_bytes, *_, first, second = HEADER.unpack_from(raw)
    sums = _sums(raw[: HEADER.size - 8], (0, 0), _order(raw))
    is_sound = magic | 1 == BIG_ENDIAN and page_bytes == PAGE_BYTES and sums == (first, second)
    return sums if is_sound else None


def _sums(data: bytes, start: Sums, order: str) -> Sums:
    one, two = start
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for word, other in zip(words, words, strict=True):
        one = (one + word + two) & 0xFFFFFFFF
        two = (two + other + one) & 0xFFFFFFFF
    return one, two
