"""Header-like fields that strangers' text cannot break out of: cleaning, decoding, folding.

Everything that reaches a report's fields comes through here. What is cleaned
holds no control character, so no line can be added by an address, an ENVID
or a remote server's reply.
"""

import datetime
import re
from email.utils import format_datetime

SOFT_WIDTH = 76
HARD_WIDTH = 900  # of the 998 that RFC 5322 §2.1.1 allows; counted in bytes

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_ASCII = re.compile(r"[^\x20-\x7e]")
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


def clean(text: str, *, utf8: bool) -> str:
    """Control characters as ``?``; without ``utf8`` everything that is not ASCII too."""
    text = _UNPRINTABLE.sub("?", text)
    return text if utf8 else _NOT_ASCII.sub("?", text)


def xtext(encoded: str) -> str:
    """RFC 3461 §4: ``a+2Bb`` is ``a+b``. Still to be cleaned: ``+0D+0A`` is a line break."""
    return _XTEXT.sub(lambda match: chr(int(match.group(1), 16)), encoded)


def embedded(encoded: str) -> str:
    """RFC 6533 §3: ``d\\x{F6}rte`` is ``dörte``."""

    def character(match: re.Match[str]) -> str:
        code = int(match.group(1), 16)
        return chr(code) if code <= 0x10FFFF else "?"

    return _EMBEDDED.sub(character, encoded)


def embed(text: str) -> str:
    """RFC 6533 §3, ``utf-8-addr-xtext``: every character that is not plain ASCII as ``\\x{…}``."""
    return re.sub(r"[^\x21-\x7e]|[\\+=]", lambda match: f"\\x{{{ord(match.group()):02X}}}", text)


def typed_address(address: str, *, utf8: bool) -> str:
    """``rfc822; a@b``, or RFC 6533's ``utf-8`` type for what ASCII cannot say."""
    if address.isascii():
        return f"rfc822; {clean(address, utf8=False)}"
    return f"utf-8; {clean(address, utf8=True) if utf8 else embed(clean(address, utf8=True))}"


def original_recipient(orcpt: str, *, utf8: bool) -> str:
    """ORCPT's value decoded for Original-Recipient, RFC 3461 §5.2.1 and RFC 6533 §3."""
    kind, semicolon, encoded = orcpt.partition(";")
    if not semicolon:
        kind, encoded = "rfc822", orcpt
    if kind.lower() == "utf-8":
        decoded = embedded(encoded)
        shown = clean(decoded, utf8=True) if utf8 else embed(clean(decoded, utf8=True))
        return f"utf-8; {shown}"
    return f"{clean(kind, utf8=False)}; {clean(xtext(encoded), utf8=utf8)}"


def date(at: float) -> str:
    """RFC 5322 §3.3, in UTC."""
    return format_datetime(datetime.datetime.fromtimestamp(at, datetime.UTC))


def field(name: str, value: str) -> str:
    """``Name: value`` folded at spaces, without the last line break; overlong words are cut apart."""
    lines: list[str] = []
    line = f"{name}:"
    for word in value.split(" "):
        for piece in pieces(word):
            if piece and len(line) + 1 + len(piece) > SOFT_WIDTH and line != f"{name}:":
                lines.append(line)
                line = ""
            line = f"{line} {piece}"
    lines.append(line)
    return "\r\n".join(lines)


def pieces(word: str) -> list[str]:
    """The word, or parts of it that each fit a line; only nonsense is that long."""
    step = HARD_WIDTH // 4  # a character is at most four bytes
    return [word[start : start + step] for start in range(0, len(word), step)] or [word]
