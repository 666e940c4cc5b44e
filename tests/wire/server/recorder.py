"""A host for the server machine that takes everything, unless told otherwise, and remembers what it took."""

from collections import defaultdict, deque

from waystation_relay.mail.envelope import Recipient
from waystation_relay.wire import replies
from waystation_relay.wire.envelope import Mail

Message = tuple[str, list[str], bytes]  # reverse-path, recipients, content


class Recorder:
    """``say`` scripts the next answer: to mail, rcpt, begin, chunk, end (at once) or answer (put off)."""

    def __init__(self, *, offers_tls: bool = True) -> None:
        self.offers_tls = offers_tls
        self.messages: list[Message] = []  # whose content is complete
        self.mails: list[Mail] = []
        self.recipients: list[Recipient] = []
        self.resets = 0
        self.helo: tuple[str, bool] | None = None
        self._next: defaultdict[str, deque[bytes]] = defaultdict(deque)
        self._mail: Mail | None = None
        self._to: list[str] = []
        self._content: bytearray | None = None

    def say(self, when: str, said: bytes) -> None:
        self._next[when].append(said)

    @property
    def unsaid(self) -> list[str]:
        return [when for when, left in self._next.items() if left]

    def verdict(self) -> bytes:
        """What the disk said, for ``Server.answer``."""
        return self._scripted("answer") or replies.queued(f"Q{len(self.messages)}")

    # wire.host.Host

    def hello(self, name: str, *, extended: bool) -> bytes:
        self.helo = name, extended
        return b"250-mx.test\r\n250 PIPELINING\r\n" if extended else b"250 mx.test\r\n"

    def mail(self, command: Mail) -> bytes:
        assert self._mail is None, "a second MAIL reached the host"
        said = self._scripted("mail") or replies.SENDER_OK
        if said.startswith(b"2"):
            self._mail = command
            self.mails.append(command)
        return said

    def rcpt(self, recipient: Recipient) -> bytes:
        assert self._mail is not None, "RCPT without MAIL reached the host"
        said = self._scripted("rcpt") or replies.RECIPIENT_OK
        if said.startswith(b"2"):
            self._to.append(recipient.address)
            self.recipients.append(recipient)
        return said

    def begin_content(self) -> bytes | None:
        assert self._to, "content without a recipient reached the host"
        assert self._content is None
        said = self._scripted("begin")
        if said is None:
            self._content = bytearray()
        return said

    def take(self, piece: bytes) -> None:
        assert self._content is not None, "content outside of a message reached the host"
        assert piece, "nothing was handed over"
        self._content += piece

    def chunk_refused(self) -> bytes | None:
        return self._scripted("chunk")

    def end_content(self) -> bytes | None:
        assert self._mail is not None
        assert self._content is not None
        self.messages.append((self._mail.reverse_path, list(self._to), bytes(self._content)))
        return self._scripted("end")

    def reset(self) -> None:
        self.resets += 1
        self._mail, self._to, self._content = None, [], None

    def start_tls(self) -> bool:
        return self.offers_tls

    def _scripted(self, when: str) -> bytes | None:
        return self._next[when].popleft() if self._next[when] else None
