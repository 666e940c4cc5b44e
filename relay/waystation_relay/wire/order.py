"""Where a conversation stands, which command is allowed when (RFC 5321 §4.1.4), and what is said when not."""

import enum

from waystation_relay.wire import replies


class State(enum.IntEnum):  # int: an Enum's hash is a Python call
    START = enum.auto()  # no EHLO yet
    READY = enum.auto()
    MAIL = enum.auto()  # a sender
    RCPT = enum.auto()  # and a recipient
    CHUNKS = enum.auto()  # BDAT has begun


class Mode(enum.IntEnum):
    """What the next bytes are."""

    COMMANDS = enum.auto()
    SKIPPING = enum.auto()  # the rest of a line that is too long
    DATA = enum.auto()
    CHUNK = enum.auto()
    WAITING = enum.auto()
    CLOSED = enum.auto()


CONTENT_MODES = frozenset({Mode.DATA, Mode.CHUNK, Mode.WAITING})
_ANY = frozenset(State)
ORDER: dict[str, frozenset[State]] = {
    "EHLO": _ANY,
    "HELO": _ANY,
    "MAIL": frozenset({State.READY}),
    "RCPT": frozenset({State.MAIL, State.RCPT}),
    "DATA": frozenset({State.RCPT}),
    "BDAT": frozenset({State.RCPT, State.CHUNKS}),
    "RSET": _ANY,
    "NOOP": _ANY,
    "VRFY": _ANY,
    "HELP": _ANY,
    "QUIT": _ANY,
    "STARTTLS": frozenset({State.READY, State.MAIL, State.RCPT}),
    "EXPN": _ANY,
    "TURN": _ANY,
    "ETRN": _ANY,
    "AUTH": _ANY,
}
WRONG_ORDER: dict[tuple[str, State | None], bytes] = {
    ("MAIL", State.START): replies.HELLO_FIRST,
    ("MAIL", State.CHUNKS): replies.CHUNKS_BEGUN,
    ("MAIL", None): replies.MAIL_TWICE,
    ("RCPT", State.START): replies.HELLO_FIRST,
    ("RCPT", State.CHUNKS): replies.CHUNKS_BEGUN,
    ("RCPT", None): replies.MAIL_FIRST,
    ("DATA", State.START): replies.HELLO_FIRST,
    ("DATA", State.MAIL): replies.NO_RECIPIENTS,
    ("DATA", State.CHUNKS): replies.CHUNKS_BEGUN,
    ("DATA", None): replies.MAIL_FIRST,
    ("BDAT", State.START): replies.HELLO_FIRST,
    ("BDAT", State.MAIL): replies.NO_RECIPIENTS,
    ("BDAT", None): replies.MAIL_FIRST,
    ("STARTTLS", State.CHUNKS): replies.CHUNKS_BEGUN,
    ("STARTTLS", None): replies.HELLO_FIRST,
}
