"""Delivery status notifications (RFC 3464), read as a mail program reads them."""

import dataclasses
import email
import email.policy
from email.message import EmailMessage, Message


@dataclasses.dataclass(frozen=True, slots=True)
class Report:
    """``message`` holds the fields about the message, ``recipients`` those of each recipient in turn."""

    whole: EmailMessage
    human: str
    message: Message
    recipients: tuple[Message, ...]


def read(content: bytes) -> Report:
    """The report in ``content``; fails the test when it is none."""
    whole = email.message_from_bytes(content, policy=email.policy.SMTP)
    assert isinstance(whole, EmailMessage)
    assert whole.get_content_type() == "multipart/report", content[:2000]
    assert whole.get_param("report-type") == "delivery-status"
    human = next(part for part in whole.walk() if part.get_content_type() == "text/plain")
    status = next(part for part in whole.walk() if part.get_content_type() == "message/delivery-status")
    groups = status.get_payload()
    assert isinstance(groups, list)
    first, *others = groups
    assert isinstance(human, EmailMessage)
    return Report(whole, human.get_content(), first, tuple(others))
