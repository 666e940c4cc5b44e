"""What is to be sent in one mail transaction, and what became of it."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import msgspec

from waystation_relay.mail.envelope import BodyType, Envelope, Recipient, Ret
from waystation_relay.mail.outcome import Outcome


@runtime_checkable
class BodySource(Protocol):
    """Content too large to hold in memory. ``read`` may block, is called from a worker thread, and raises
    when the bytes cannot be had."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, size: int, /) -> bytes: ...


Body = bytes | BodySource


class Transaction(msgspec.Struct, frozen=True):
    """``body`` is complete RFC 5322 content with CRLF line ends.

    ``eight_bit`` says whether it holds bytes above 127; ``None`` means
    unknown: bytes are then looked at, a source is taken at ``body_type``'s word.
    """

    reverse_path: str
    recipients: tuple[Recipient, ...]
    body: Body
    body_type: BodyType = BodyType.SEVEN_BIT
    smtputf8: bool = False
    ret: Ret | None = None
    envid: str | None = None
    eight_bit: bool | None = None

    @classmethod
    def of(cls, envelope: Envelope, numbers: Sequence[int], body: Body) -> "Transaction":
        """Some of an envelope's recipients, by their places in it."""
        return cls(
            envelope.reverse_path,
            tuple([envelope.recipients[n] for n in numbers]),
            body,
            envelope.body,
            envelope.smtputf8,
            envelope.ret,
            envelope.envid,
        )


class Result(msgspec.Struct, frozen=True):
    """``outcomes``: one for each recipient, in the transaction's order.

    ``again``: places of deferred recipients to send at once in another
    transaction, because the server only had no room for them in this one
    while it took others (RFC 5321 §4.5.3.1.10, RFC 9422), or because the
    connection had served before and was found closed. ``reusable``: the connection
    takes another transaction. ``connection_lost``: it broke, or fell out of step,
    under this one; a 421 that asks for less is none of that.
    """

    outcomes: tuple[Outcome, ...]
    reusable: bool
    connection_lost: bool = False
    again: tuple[int, ...] = ()
