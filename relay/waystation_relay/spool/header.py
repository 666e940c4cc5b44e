"""The first hundred bytes of the index: what SQLite keeps there, and what never changes of it.

One wrong byte here and SQLite takes the whole file for read-only, or for none
of its own; so it is looked at before SQLite opens the file, and put right
before a damaged index is read for what is left. Pure: bytes in, bytes out.
The fields are those of https://www.sqlite.org/fileformat2.html §1.3.
"""

import struct
from typing import NamedTuple

SIZE = 100
PAGE_BYTES = 4096
APPLICATION_ID = 0x57415953  # "WAYS", so that file(1) and people can tell
LAYOUT = struct.Struct(">16sH6B12I20s2I")


class Header(NamedTuple):
    magic: bytes
    page_bytes: int
    write_version: int
    read_version: int
    reserved_bytes: int
    largest_fraction: int
    smallest_fraction: int
    leaf_fraction: int
    changes: int
    pages: int
    first_free: int
    free_pages: int
    schema_changes: int
    schema_format: int
    cache_pages: int
    largest_root: int
    encoding: int
    user_version: int
    vacuum: int
    application_id: int
    unused: bytes
    pages_valid_for: int  # the number of changes for which ``pages`` counts
    sqlite_version: int


MAGIC = b"SQLite format 3\0"
# How every index begins, in WAL mode; the fields behind are of tables, once there are any.
BEGINNING = (MAGIC, PAGE_BYTES, 2, 2, 0, 64, 32, 32)
ROLLBACK = (MAGIC, PAGE_BYTES, 1, 1, 0, 64, 32, 32)  # between the file's making and the change to WAL


def read(raw: bytes) -> Header:
    return Header._make(LAYOUT.unpack(raw[:SIZE].ljust(SIZE, b"\0")))


def format_of(raw: bytes) -> int:
    """The number of our own format; 0 when this is no index of ours."""
    header = read(raw)
    is_ours = header.magic == MAGIC and header.application_id == APPLICATION_ID
    return header.user_version if is_ours else 0


def is_sound(raw: bytes) -> bool:
    """Whether what never changes is as it was made."""
    if not raw:  # not even begun
        return True
    header = read(raw)
    if header[: len(BEGINNING)] not in (BEGINNING, ROLLBACK):
        return False
    return header.application_id == 0 or raw[:SIZE] == LAYOUT.pack(*_fixed(header))


def restored(raw: bytes, size_bytes: int) -> bytes:
    """The header as it must have been, of a file of this size."""
    header = _fixed(read(raw))
    return LAYOUT.pack(*header._replace(pages=size_bytes // PAGE_BYTES, pages_valid_for=header.changes))


def _fixed(header: Header) -> Header:
    return Header._make((*BEGINNING, *header[len(BEGINNING) :]))._replace(
        schema_format=4,
        cache_pages=0,
        largest_root=0,
        encoding=1,
        vacuum=0,
        application_id=APPLICATION_ID,
        unused=bytes(20),
    )
