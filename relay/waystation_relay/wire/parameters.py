"""The parameters of MAIL and RCPT: SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531), RET, ENVID, NOTIFY,
ORCPT (RFC 3461, RFC 6533).

A parser takes a value (``None`` when there is no ``=``) and returns what it
means, or raises ``BadParameter`` with what the client is told. xtext stays as
it came: it is passed on, and decoded only for people.
"""

import re
from collections.abc import Callable, Mapping

from waystation_relay.mail.envelope import BodyType, Notify, Ret
from waystation_relay.wire import replies

_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+\Z")
# RFC 6533 §3: \x{HEX} for what xtext cannot say, or the characters themselves under SMTPUTF8.
_UTF8_XTEXT = re.compile(r"(?:[!-*,-<>-\[\]-~\u0080-\U0010ffff]|\\x\{[0-9A-F]{2,6}\}|\+[0-9A-F]{2})+\Z")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]+\Z")
_ENVID_CHARS = 100  # RFC 3461 §4.4
_ORCPT_CHARS = 500  # RFC 3461 §4.2
_SIZE_DIGITS = 20  # RFC 1870 §3

_NOTIFY = {"SUCCESS": Notify.SUCCESS, "FAILURE": Notify.FAILURE, "DELAY": Notify.DELAY}


class BadParameter(Exception):  # noqa: N818 - what the client wrote, not a fault of ours
    """``said`` is the whole reply."""

    def __init__(self, said: bytes) -> None:
        super().__init__(said.decode())
        self.said = said


def _bad(why: str) -> BadParameter:
    return BadParameter(replies.bad_parameter(why))


def _size(value: str | None) -> int:
    if value is None or not (value.isascii() and value.isdigit()) or len(value) > _SIZE_DIGITS:
        raise _bad("SIZE takes a number of bytes")
    return int(value)


def _body(value: str | None) -> BodyType:
    try:
        return BodyType((value or "").upper())
    except ValueError:
        raise _bad("BODY is 7BIT or 8BITMIME here") from None


def _smtputf8(value: str | None) -> bool:
    if value is not None:
        raise _bad("SMTPUTF8 takes no value")
    return True


def _ret(value: str | None) -> Ret:
    try:
        return Ret((value or "").upper())
    except ValueError:
        raise _bad("RET is FULL or HDRS") from None


def _envid(value: str | None) -> str:
    if value is None or len(value) > _ENVID_CHARS or not _XTEXT.match(value):
        raise _bad("ENVID takes xtext of at most 100 characters (RFC 3461)")
    return value


def _notify(value: str | None) -> Notify:
    words = (value or "").upper().split(",")
    if words == ["NEVER"]:
        return Notify.NEVER
    notify = Notify.DEFAULT
    for word in words:
        if word not in _NOTIFY:
            raise _bad("NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY")
        notify |= _NOTIFY[word]
    return notify


def _orcpt(value: str | None) -> str:
    kind, semicolon, address = (value or "").partition(";")
    grammar = _UTF8_XTEXT if kind.lower() == "utf-8" else _XTEXT
    if (
        not semicolon
        or len(value or "") > _ORCPT_CHARS
        or not _ADDRESS_TYPE.match(kind)
        or not grammar.match(address)
    ):
        raise _bad("ORCPT takes type;address in xtext (RFC 3461)")
    return value or ""


Parser = Callable[[str | None], object]
OF_MAIL: Mapping[str, Parser] = {
    "SIZE": _size,
    "BODY": _body,
    "SMTPUTF8": _smtputf8,
    "RET": _ret,
    "ENVID": _envid,
}
OF_RCPT: Mapping[str, Parser] = {"NOTIFY": _notify, "ORCPT": _orcpt}


def parse(text: str, known: Mapping[str, Parser]) -> dict[str, object]:
    """Keyword, upper case, → meaning. Raises ``BadParameter``: unknown (555), repeated or malformed (501)."""
    found: dict[str, object] = {}
    for item in text.split():
        keyword, equals, value = item.partition("=")
        if keyword.isascii():  # some letters of other scripts have an ASCII upper case
            keyword = keyword.upper()
        parser = known.get(keyword)
        if parser is None:
            shown = keyword[:32] if keyword and keyword.isascii() and keyword.isprintable() else "given"
            raise BadParameter(replies.unknown_parameter(shown))
        if keyword in found:
            raise _bad(f"{keyword} is given twice")
        found[keyword] = parser(value if equals else None)
    return found
