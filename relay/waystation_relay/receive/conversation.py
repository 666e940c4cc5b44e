"""What is said: the server machine's host (``wire.host.Host``), one a session.

Gathers the facts for policy, owns the transaction under way and its draft.
The session around it owns the connection.

Invariants
    A message is acknowledged after the spool said that it is durable, never before.
    A draft is accepted, or discarded by ``reset``, however the transaction ends.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from waystation_relay.mail.envelope import BodyType, Envelope, Origin, Recipient
from waystation_relay.policy import content, recipient, sender
from waystation_relay.policy.recipient import RcptFacts
from waystation_relay.policy.sender import MailFacts
from waystation_relay.policy.verdict import Refusal, Why
from waystation_relay.receive import trace
from waystation_relay.receive.terms import Terms, client_address
from waystation_relay.spool.draft import Draft
from waystation_relay.spool.values import FailureKind, RefusalKind, SpoolFailure
from waystation_relay.wire import replies
from waystation_relay.wire.content import Inspector
from waystation_relay.wire.envelope import POSTMASTER, Mail

if TYPE_CHECKING:
    from waystation_relay.receive.door import Door  # the door makes sessions, which make these

SWALLOWED_BYTES = 64 * 2**20  # of a message that is too large: then the connection is closed
MOST_DENIED = 20  # recipients that a client who may not relay gets refused


class Conversation:
    """``answer`` is told the reply that ``end_content`` put off. ``full``: the disk cannot keep up, nothing
    is to be read until ``drained``. ``is_hopeless``: the session is to ``give_up`` and hang up."""

    __slots__ = (
        "_answer", "_client", "_denied", "_door", "_draft", "_drained", "_extended", "_full", "_helo",
        "_inspector", "_mail", "_may_relay", "_recipients", "_refusal", "_terms", "_word", "cipher",
        "content_at", "is_hopeless",
    )  # fmt: skip

    def __init__(
        self,
        door: "Door",
        client: str,
        *,
        answer: Callable[[bytes], None],
        full: Callable[[], None],
        drained: Callable[[], None],
    ) -> None:
        self._door, self._client = door, client
        self._answer, self._full, self._drained = answer, full, drained
        self._terms: Terms = door.terms
        self._may_relay = bool(client) and self._terms.may_relay(client_address(client))
        self._helo, self._extended, self._word = "", False, ""
        self._mail: Mail | None = None
        self._recipients: dict[Recipient, None] = {}
        self._draft: Draft | None = None
        self._inspector: Inspector | None = None
        self._refusal: Refusal | None = None  # of the content under way
        self._denied = 0
        self.cipher = ""  # as the Received field says it; empty: no TLS
        self.content_at: float | None = None  # when the content under way began, monotonic
        self.is_hopeless = False  # no end of a message that is too large

    @property
    def content_bytes(self) -> int:
        return self._inspector.size_bytes if self._inspector is not None else 0

    @property
    def terms(self) -> Terms:
        return self._terms

    def hello(self, name: str, *, extended: bool) -> bytes:
        self._renew_terms()
        self._helo, self._extended = name, extended
        if not extended:
            return self._terms.helo
        return self._terms.ehlo_tls if self.cipher else self._terms.ehlo

    def mail(self, command: Mail) -> bytes:
        self._renew_terms()
        terms, spool_says = self._terms, self._door.spool.refusal()
        refusal = sender.judge(
            MailFacts(
                terms.tls_required and not self.cipher,
                command.size_bytes,
                terms.limits.max_message_bytes,
                None if spool_says is None else spool_says.kind is RefusalKind.FULL,
            )
        )
        if refusal is not None:
            return self._refuse(refusal, command.reverse_path, "")
        self._mail = command
        return replies.SENDER_OK

    def rcpt(self, recipient_: Recipient) -> bytes:
        assert self._mail is not None
        terms, reverse_path = self._terms, self._mail.reverse_path
        if recipient_.address.lower() == POSTMASTER:
            recipient_ = Recipient(terms.postmaster, recipient_.notify, recipient_.orcpt)
        address = recipient_.address
        refusal = recipient.judge(
            RcptFacts(
                self._may_relay,
                len(self._recipients),
                terms.limits.max_recipients,
                terms.table.match(terms.listener, reverse_path, address) if self._may_relay else None,
            )
        )
        if refusal is not None:
            said = self._refuse(refusal, reverse_path, address)
            if refusal.why is Why.RELAY_DENIED:
                self._denied += 1
                if self._denied >= MOST_DENIED:
                    return replies.TOO_MANY_ERRORS
            return said
        self._recipients[recipient_] = None
        return replies.RECIPIENT_OK

    def begin_content(self) -> bytes | None:
        assert self._mail is not None
        mail, terms = self._mail, self._terms
        draft = self._draft = self._door.spool.draft()
        self._inspector = Inspector()
        self.content_at = self._door.time()
        self._word = trace.protocol(extended=self._extended, tls=bool(self.cipher), smtputf8=mail.smtputf8)
        recipients = self._recipients
        draft.append(
            trace.received(
                helo=self._helo,
                client=self._client,
                hostname=terms.hostname,
                word=self._word,
                queue_id=draft.queue_id,
                arrival=draft.arrival,
                recipient=next(iter(recipients)).address if len(recipients) == 1 else "",
                cipher=self.cipher,
            )
        )
        return None

    def take(self, piece: bytes) -> None:
        inspector, draft = self._inspector, self._draft
        assert inspector is not None
        inspector.look(piece)
        most = self._terms.limits.max_message_bytes
        if inspector.size_bytes > most:
            if draft is not None:
                self._refusal = sender.too_large(most)
                self._discard(draft)
            self.is_hopeless = inspector.size_bytes > most + SWALLOWED_BYTES
        elif draft is not None and not draft.append(piece):
            draft.on_drain = self._drained
            self._full()

    def give_up(self) -> bytes:
        """The last word to a client that does not stop sending."""
        assert self._mail is not None and self._refusal is not None  # noqa: PT018 - one fact: it is hopeless
        return self._refuse(self._refusal, self._mail.reverse_path, "")

    def chunk_refused(self) -> bytes | None:
        if self._refusal is None:
            return None
        assert self._mail is not None
        return self._refuse(self._refusal, self._mail.reverse_path, "")

    def end_content(self) -> bytes | None:
        mail, draft, inspector = self._mail, self._draft, self._inspector
        assert mail is not None and inspector is not None  # noqa: PT018 - one fact: there is a message
        refusal = self._refusal or content.judge(bare=inspector.bare, nul=inspector.nul, hops=inspector.hops)
        self.content_at = None
        if refusal is not None or draft is None:
            assert refusal is not None
            return self._refuse(refusal, mail.reverse_path, "")
        envelope = Envelope(
            mail.reverse_path,
            tuple(self._recipients),
            BodyType.EIGHT_BIT if inspector.eight_bit else BodyType.SEVEN_BIT,
            mail.smtputf8,
            mail.ret,
            mail.envid,
        )
        origin = Origin(self._terms.listener, self._word, self._client, self._helo)
        queue_id, size_bytes = draft.queue_id, draft.size_bytes
        self._door.spool.accept(
            draft, envelope, origin, lambda failure: self._committed(queue_id, size_bytes, envelope, failure)
        )
        self._draft = None
        self._drained()  # an accepted draft tells nobody any more
        return None

    def reset(self) -> None:
        self._mail = None
        self._recipients = {}
        self._refusal = None
        self._inspector = None
        self.content_at = None
        self.is_hopeless = False
        if self._draft is not None:
            self._discard(self._draft)

    def start_tls(self) -> bool:
        return self._terms.starttls and not self.cipher

    def end(self) -> None:
        """The connection is gone: nobody is to be told, and nothing refers to the session any more."""
        self.reset()
        self._answer = _nobody
        self._full = self._drained = _nothing

    # The spool's answer

    def _committed(
        self, queue_id: str, size_bytes: int, envelope: Envelope, failure: SpoolFailure | None
    ) -> None:
        if failure is None:
            self._door.accepted(self._client, queue_id, self._word, self._helo, envelope, size_bytes)
            said = replies.queued(queue_id)
        else:
            refused = sender.QUEUE_FULL if failure.kind is FailureKind.FULL else sender.STORAGE
            said = self._refuse(refused, envelope.reverse_path, "", queue_id)
        self._answer(said)

    # Inside

    def _discard(self, draft: Draft) -> None:
        draft.discard()
        self._draft = None
        self._drained()  # it tells nobody any more

    def _renew_terms(self) -> None:
        """The configuration in force now counts from here on."""
        terms = self._door.terms
        if terms is not self._terms:
            self._terms = terms
            self._may_relay = bool(self._client) and terms.may_relay(client_address(self._client))

    def _refuse(self, refusal: Refusal, reverse_path: str, address: str, queue_id: str = "") -> bytes:
        draft = self._draft
        self._door.refused(
            self._client,
            refusal,
            reverse_path,
            address,
            queue_id or (draft.queue_id if draft is not None else ""),
        )
        return replies.encoded(refusal.reply)


def _nobody(_said: bytes) -> None:
    pass


def _nothing() -> None:
    pass
