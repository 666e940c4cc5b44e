"""The envelope (RFC 5321 §2.3.1) with its ESMTP parameters, and where it came from."""

import enum

import msgspec


class Notify(enum.IntFlag):
    """RFC 3461 §4.1. No NOTIFY given is ``DEFAULT``: failure, and delay at the sender's server's choice."""

    DEFAULT = 0
    NEVER = 1
    SUCCESS = 2
    FAILURE = 4
    DELAY = 8


class Ret(enum.StrEnum):
    """RFC 3461 §4.3: how much of the message a failure report returns."""

    FULL = "FULL"
    HEADERS = "HDRS"


class BodyType(enum.StrEnum):
    """RFC 6152. BINARYMIME is refused at MAIL, so it never appears here."""

    SEVEN_BIT = "7BIT"
    EIGHT_BIT = "8BITMIME"


class Recipient(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One forward-path. ``orcpt`` is RFC 3461's original recipient, still xtext: ``rfc822;a+2Bb@x.test``."""

    address: str
    notify: Notify = Notify.DEFAULT
    orcpt: str | None = None


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """What MAIL and RCPT said. ``reverse_path`` is ``""`` for the null sender; ``envid`` is still xtext."""

    reverse_path: str
    recipients: tuple[Recipient, ...]
    body: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None


class Origin(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """How a message came in. Made by us (a DSN): ``protocol`` and ``client`` are empty."""

    listener: str = ""
    protocol: str = ""  # the "with" word of Received, RFC 3848: ESMTP, ESMTPS, UTF8SMTP…
    client: str = ""  # IP address, text form
    helo: str = ""
    user: str = ""  # authenticated identity
