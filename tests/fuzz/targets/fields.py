"""Strangers' text on its way into the fields of a report: xtext, its UTF-8 kind, folding.

Invariant tested: whatever it was, what comes out is one field of printable
characters in lines of at most 998 bytes that continue with a blank, and
unfolded it is the words that went in; encoding what was decoded gives an address again.
"""

import re

from waystation_relay.bounce import fields

TOKENS = (
    b"rfc822;", b"utf-8;", b";", b"+2B", b"+0D+0A", b"+00", b"+", b"\\x{F6}", b"\\x{D800}", b"\\x{110000}",
    b"\\x{0A}", b"\\", b" ", b"\t", b"\r\n", b"a@shop.test", "ö".encode(), "\u2028".encode(),
    "\u202e".encode(), b"\x7f", b"\x85", b"x" * 1000, "ü".encode() * 300, b"=",
)  # fmt: skip
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def run(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    for utf8 in (False, True):
        for value in (
            fields.clean(text, utf8=utf8),
            fields.clean(fields.xtext(text), utf8=utf8),
            fields.original_recipient(text, utf8=utf8),
            fields.typed_address(text, utf8=utf8),
        ):
            assert not UNPRINTABLE.search(value), value
            assert utf8 or value.isascii()
            folded(value)
    plain = fields.clean(text, utf8=True)
    assert fields.embedded(fields.embed(plain)) == plain


def folded(value: str) -> None:
    lines = fields.field("Name", value).split("\r\n")
    assert all(len(line.encode()) <= 998 for line in lines)
    assert all(line.startswith(" ") for line in lines[1:])
    assert not any("\r" in line or "\n" in line for line in lines)
    assert "".join(lines).replace(" ", "") == f"Name:{value}".replace(" ", "")
