"""May this content be kept? Asked at its end, of what ``wire.content`` found while it passed."""

from waystation_relay.mail.reply import reply
from waystation_relay.policy.verdict import Refusal, Why

MOST_HOPS = 100  # RFC 5321 §6.3: Received fields, at least as many as this

LINE_ENDINGS = Refusal(
    reply(550, "5.6.0", "Message holds a bare CR or LF; lines must end in CR LF (RFC 5321 section 2.3.8)"),
    Why.LINE_ENDINGS,
)
NUL = Refusal(reply(550, "5.6.0", "Message holds a NUL byte (RFC 5321 section 4.5.2)"), Why.NUL)
LOOP = Refusal(reply(554, "5.4.6", "Too many hops, this looks like a mail loop"), Why.LOOP)


def judge(*, bare: bool, nul: bool, hops: int) -> Refusal | None:
    """The first objection to the bytes; size is watched while they come in."""
    if bare:
        return LINE_ENDINGS
    if nul:
        return NUL
    return LOOP if hops > MOST_HOPS else None
