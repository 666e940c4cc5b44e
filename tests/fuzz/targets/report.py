"""Reports about messages of any content, with replies and addresses of any text.

Invariant tested: a report has only CR LF line ends and no line above 998 bytes,
unless it returns a message that has; it is 7-bit unless the message came as
8-bit; the standard library reads it as multipart/report with the header
fields that every report has and no others, one group of status fields a
recipient, and the parts whole.

The first byte chooses the kind of report and how the message came; the first
line behind it is what the server said, the rest is the message.
"""

import email
import email.policy
import re
from email.message import Message as Parsed

from tests.fuzz.target import Feed
from tests.support.bounces import MX, NOW, message

from waystation_relay.bounce import report
from waystation_relay.bounce.notices import Kind, Notice, Settled
from waystation_relay.mail.envelope import BodyType, Recipient, Ret
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason
from waystation_relay.wire.response import Responses

TOKENS = (
    b"550 5.1.1 no such mailbox\r\n", b"\r\n", b"\n", b"\r", b"\0", b"From: ann@shop.test\r\n",
    b"Message-ID: <a@b>\r\n", b"\r\n\r\n", b"Subject: =?utf-8?q?x?=\r\n", "Grüße\r\n".encode(), b"\xff\xfe",
    b"--=_4XyZ8.0", b"--=_4XyZ8.0--\r\n", b"Content-Type: multipart/mixed; boundary==_4XyZ8.0\r\n",
    b"x" * 1100, b" \t", "\u2028".encode(), b"\x85", b"\x1b[2J", b"Content-Transfer-Encoding: base64\r\n",
    b"rfc822;a+2Bb", b"+0D+0ABcc: x",
)  # fmt: skip
FIELDS = {"Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"}
ANSWERING = {"In-Reply-To", "References"}
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


def run(data: bytes) -> None:
    feed = Feed(data)
    kind = tuple(Kind)[feed.below(len(Kind))]
    smtputf8, eight_bit = feed.flag(), feed.flag()
    ret = (None, Ret.FULL, Ret.HEADERS)[feed.below(3)]
    said, _, original = feed.rest().partition(b"\n")
    line = said.decode("utf-8", "replace")
    replies = Responses().receive(b"550 " + said.replace(b"\r", b"") + b"\r\n")
    if not replies:
        return  # a line too long for a reply
    outcome: Outcome = {
        Kind.DELAY: Deferred(replies[0], Reason.OTHER, MX),
        Kind.SUCCESS: Delivered(replies[0], MX),
    }.get(kind, Failed(replies[0], Reason.OTHER, MX))
    people = (
        Recipient("böb@next.test", orcpt=f"utf-8;{line[:300]}"),
        Recipient("eve@next.test", orcpt=f"rfc822;{line[:300]}"),
    )
    about = message(
        *people,
        size_bytes=len(original),
        smtputf8=smtputf8,
        body=BodyType.EIGHT_BIT if eight_bit else BodyType.SEVEN_BIT,
        ret=ret,
        envid=line[:100] or None,
    )
    notice = Notice(kind, "ann@shop.test", (Settled(0, outcome, NOW), Settled(1, outcome, NOW)))
    built = report.build(notice, about, original, hostname="relay.test", now=NOW, tag="4XyZ8")
    judged(built.content, original, allowed=smtputf8 or eight_bit)


def judged(content: bytes, original: bytes, *, allowed: bool) -> None:
    assert allowed or content.isascii()
    assert not BARE.search(content)
    assert b"\0" not in content
    longest = max(map(len, original.split(b"\r\n")))
    assert max(map(len, content.split(b"\r\n"))) <= max(998, longest)
    parsed = email.message_from_bytes(content, policy=email.policy.compat32)
    assert FIELDS <= set(parsed.keys()) <= FIELDS | ANSWERING
    assert len(parsed.keys()) == len(set(parsed.keys()))
    assert parsed.get_content_type() == "multipart/report"
    parts = parsed.get_payload()
    assert isinstance(parts, list)
    assert len(parts) == (3 if original else 2)
    assert not parsed.defects
    text, status = parts[0], parts[1]
    assert isinstance(text, Parsed)
    assert text.get_content_type() == "text/plain"
    assert isinstance(status, Parsed)
    fields = status.as_bytes().partition(b"\n\n")[2]
    assert fields.count(b"\nFinal-Recipient: ") == 2, fields
    assert fields.count(b"\nAction: ") == 2
    assert not re.search(rb"^[^ \t\r\n:]*$", fields.strip(b"\n").replace(b"\n\n", b"\n"), re.MULTILINE)
