"""What the server machine asks of whoever runs it (``receive.session``)."""

from typing import Protocol

from waystation_relay.mail.envelope import Recipient
from waystation_relay.wire.envelope import Mail


class Host(Protocol):
    """Who decides. Every ``bytes`` is a whole reply; a 421 to RCPT ends the session."""

    def hello(self, name: str, *, extended: bool) -> bytes: ...
    def mail(self, command: Mail) -> bytes: ...
    def rcpt(self, recipient: Recipient) -> bytes: ...
    def begin_content(self) -> bytes | None:
        """A reply refuses the message before its content; ``None`` takes it."""

    def take(self, piece: bytes) -> None:
        """Content, unstuffed; never after the content was refused."""

    def chunk_refused(self) -> bytes | None:
        """After each BDAT chunk but the last: a reply ends the message."""

    def end_content(self) -> bytes | None:
        """The reply, or ``None``: it comes by ``Server.answer``."""

    def reset(self) -> None:
        """The transaction is over, or never was."""

    def start_tls(self) -> bool:
        """Whether TLS may start; if so the host starts it once what ``receive`` returned is written."""
