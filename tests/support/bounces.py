"""Messages and outcomes for the tests of reports."""

from waystation_relay.mail.envelope import Envelope, Notify, Origin, Recipient
from waystation_relay.mail.message import Message, Progress
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Reason, Remote
from waystation_relay.mail.reply import reply

ARRIVAL = 1_800_000_000.0  # Fri, 15 Jan 2027 08:00:00 UTC
NOW = ARRIVAL + 7_200.0
MX = Remote("mx.next.test", "192.0.2.25", 25)
REFUSED = Failed(reply(550, "5.1.1", "no such mailbox"), Reason.ADDRESS, MX)
FULL = Failed(reply(552, "5.2.2", "mailbox full"), Reason.MAILBOX_FULL, MX)
LATER = Deferred(reply(451, "4.4.1", "connection timed out"), Reason.CONNECT, MX)
RELAYED = Delivered(reply(250, "2.0.0", "queued"), MX)
DELIVERED = Delivered(reply(250, "2.1.5", "stored"), MX, final=True)


def recipient(address: str, notify: Notify = Notify.DEFAULT, orcpt: str | None = None) -> Recipient:
    return Recipient(address, notify, orcpt)


def message(
    *recipients: Recipient, sender: str = "ann@shop.test", size_bytes: int = 0, **envelope: object
) -> Message:
    people = recipients or (recipient("bob@next.test"),)
    return Message(
        id=7,
        queue_id="4XyZ7",
        envelope=Envelope(sender, people, **envelope),  # type: ignore[arg-type]
        origin=Origin("smtp", "ESMTP", "192.0.2.1", "client.test"),
        arrival=ARRIVAL,
        size_bytes=size_bytes,
        pending=tuple(Progress(number) for number in range(len(people))),
    )
