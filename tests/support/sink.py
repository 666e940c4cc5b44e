"""A mail server that keeps what it is given: aiosmtpd in a thread of its own.

What it answers is the test's to decide: ``answers`` maps a recipient (or
``"*"``) to the replies given at its next RCPTs, the last one staying; without
an entry everything is accepted. A next hop that deserves more realism is
Postfix or Dovecot.
"""

import dataclasses
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.support.ports import free_port
from tests.support.waiting import until


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    sender: str
    recipients: tuple[str, ...]
    content: bytes  # as on the wire, dots unstuffed


class Sink:
    def __init__(self, port: int | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = port or free_port()
        self.received: list[Received] = []
        self.connections = 0
        self.answers: dict[str, list[str]] = {}
        self.at_data = "250 2.0.0 kept"
        self._controller: Controller | None = None

    def __enter__(self) -> "Sink":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._controller = Controller(
            self,
            hostname=self.host,
            port=self.port,
            data_size_limit=64 * 2**20,
            decode_data=False,
            enable_SMTPUTF8=True,
        )
        self._controller.start()

    def stop(self) -> None:
        if self._controller is not None:
            self._controller.stop(no_assert=True)
            self._controller = None

    def wait(self, count: int, within_s: float = 15.0) -> list[Received]:
        """What arrived, once there are ``count`` messages."""
        until(lambda: len(self.received) >= count, f"{count} messages at the sink", within_s=within_s)
        return list(self.received)

    def to(self, recipient: str) -> list[Received]:
        return [r for r in self.received if recipient in r.recipients]

    # aiosmtpd's hooks; the names are its own.

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        replies = self.answers.get(address) or self.answers.get("*")
        if replies:
            answer = replies.pop(0) if len(replies) > 1 else replies[0]
            if not answer.startswith("2"):
                return answer
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.at_data.startswith("2"):
            content: Any = envelope.original_content
            sender = (envelope.mail_from or "").removeprefix("<>")  # aiosmtpd's name of the null sender
            self.received.append(Received(sender, tuple(envelope.rcpt_tos), bytes(content)))
        return self.at_data
