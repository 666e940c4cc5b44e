"""MAIL and RCPT as a server reads them (RFC 5321 §4.1.1.2, §4.1.1.3). Pure.

Each parser takes what follows the verb and returns the command, or the reply
that refuses it. A source route is ignored, as RFC 5321 asks; a blank after the
colon is forgiven, as everybody does; angle brackets are demanded.
"""

import functools
import re

import msgspec

from waystation_contract import grammar
from waystation_relay.mail.envelope import BodyType, Notify, Recipient, Ret
from waystation_relay.wire import replies
from waystation_relay.wire.parameters import OF_MAIL, OF_RCPT, BadParameter, parse

_PATH = r' ?<((?:"(?:[^"\\]|\\.)*"|[^"<>\s])*)>(?: +(.*))?\Z'
_MAIL = re.compile("FROM:" + _PATH, re.IGNORECASE)
_RCPT = re.compile("TO:" + _PATH, re.IGNORECASE)
_SOURCE_ROUTE = re.compile(r"@[^,:@\s]+(?:,@[^,:@\s]+)*:")
_PATH_BYTES = 254  # RFC 5321 §4.5.3.1.3, without the angle brackets

POSTMASTER = "postmaster"


class Mail(msgspec.Struct, frozen=True, gc=False):
    """``size_bytes`` is ``None`` when the client did not say."""

    reverse_path: str
    size_bytes: int | None = None
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None


def mail(arguments: str) -> Mail | bytes:
    match = _MAIL.match(arguments)
    if match is None:
        return replies.MAIL_SYNTAX
    path, given = match.groups()
    try:
        found = parse(given, OF_MAIL) if given else {}
    except BadParameter as bad:
        return bad.said
    address = _address(path) if path else ""
    if address is None:
        return replies.BAD_SENDER
    command = Mail(
        address,
        found.get("SIZE"),  # type: ignore[arg-type] # each parser of OF_MAIL returns its field's type
        found.get("BODY", BodyType.SEVEN_BIT),  # type: ignore[arg-type] # as above
        bool(found.get("SMTPUTF8")),
        found.get("RET"),  # type: ignore[arg-type] # as above
        found.get("ENVID"),  # type: ignore[arg-type] # as above
    )
    if not command.smtputf8 and not address.isascii():
        return replies.SENDER_NEEDS_SMTPUTF8
    return command


def rcpt(arguments: str, *, smtputf8: bool) -> Recipient | bytes:
    match = _RCPT.match(arguments)
    if match is None:
        return replies.RCPT_SYNTAX
    path, given = match.groups()
    try:
        found = parse(given, OF_RCPT) if given else {}
    except BadParameter as bad:
        return bad.said
    address = _address(path)
    if address is None and path.lower() == POSTMASTER:
        address = path
    if address is None:
        return replies.BAD_RECIPIENT
    if not smtputf8 and not (address.isascii() and (given is None or given.isascii())):
        return replies.RECIPIENT_NEEDS_SMTPUTF8
    if not found:
        return Recipient(address)
    return Recipient(
        address,
        found.get("NOTIFY", Notify.DEFAULT),  # type: ignore[arg-type] # each parser of OF_RCPT returns its field's type
        found.get("ORCPT"),  # type: ignore[arg-type] # as above
    )


@functools.lru_cache(maxsize=8192)
def _address(path: str) -> str | None:
    """The mailbox in a path, its source route dropped; ``None``: there is none. Cached: they recur."""
    route = _SOURCE_ROUTE.match(path)
    address = path[route.end() :] if route else path
    if len(address.encode()) > _PATH_BYTES or grammar.address(address) is not None:
        return None
    return address
