"""The replies of a finished exchange become one outcome for each recipient. Pure.

Whose reply decides, first that exists: the recipient's own refusal; the
refusal of MAIL; of DATA; the reply to the content (over LMTP the recipient's
own); else the cause that ended the conversation early, which is always
temporary: what was not refused and not confirmed is tried again.

Known limits
    A server that took the content and vanished before saying so gets it
    twice: at-least-once is the promise.
"""

from waystation_relay.delivery import classify
from waystation_relay.delivery.classify import At
from waystation_relay.delivery.offer import Offer
from waystation_relay.mail.outcome import Deferred, Delivered, Failed, Outcome, Reason, Remote
from waystation_relay.mail.reply import Reply, reply
from waystation_relay.wire.client import Exchange, Stage

_LATER = reply(452, "4.5.3", "the server takes no more recipients in one transaction")


def named(remote: Remote) -> str:
    return f"{remote.host} [{remote.address}]:{remote.port}"


def lost(text: str) -> Deferred:
    return Deferred(reply(451, "4.4.2", text), Reason.CONNECT)


def nonsense(said: str) -> Deferred:
    return Deferred(
        reply(451, "4.5.0", f"the server answered what makes no sense here: {said}"), Reason.PROTOCOL
    )


def moment(exchange: Exchange) -> str:
    """When something happened, to end a sentence."""
    if exchange.stage is Stage.END:
        return "after the end of data" if exchange.content_sent else "while taking the message"
    return _MOMENTS[exchange.stage]


_MOMENTS = {
    Stage.RESET: "after RSET",
    Stage.MAIL: "after MAIL",
    Stage.RCPT: "after RCPT",
    Stage.DATA: "after DATA",
    Stage.DONE: "at the end",
}


def outcomes(
    exchange: Exchange, offer: Offer, total: int, cause: Deferred | None, hop: "Hop"
) -> tuple[tuple[Outcome, ...], tuple[int, ...]]:
    """All outcomes in the transaction's order, and the places to send ``again`` (see ``Result``)."""
    if (
        total == 1
        and cause is None
        and exchange.broken is None
        and exchange.end_replies
        and exchange.is_wanted
    ):
        return (hop.outcome(exchange.end_replies[0], At.CONTENT),), ()
    found: dict[int, Outcome] = dict(offer.refused)
    crowded = list(offer.left)
    mail, ends = exchange.mail_reply, exchange.end_replies
    undecided = _undecided(exchange, cause, hop)
    position = 0  # among the accepted
    for n, place in enumerate(offer.places):
        own = exchange.rcpt_replies[n] if n < len(exchange.rcpt_replies) else None
        if mail is not None and not mail.is_positive:
            found[place] = hop.outcome(mail, At.MAIL)
        elif own is not None and not own.is_positive:
            if exchange.accepted and classify.is_too_many_recipients(own):
                crowded.append(place)
            else:
                found[place] = hop.outcome(own, At.RCPT)
        elif exchange.data_reply is not None:
            found[place] = hop.outcome(exchange.data_reply, At.CONTENT)
        elif ends and own is not None and (position < len(ends) or not hop.lmtp or not exchange.content_sent):
            found[place] = hop.outcome(ends[min(position, len(ends) - 1)], At.CONTENT)
            position += 1
        else:
            found[place] = undecided
    # Another transaction at once, if this one got somebody off the list: then it ends some time.
    some_settled = any(not isinstance(o, Deferred) for o in found.values())
    progress = some_settled and cause is None and exchange.broken is None
    for place in crowded:
        if mail is not None and not mail.is_positive:
            found[place] = hop.outcome(mail, At.MAIL)
        else:
            found[place] = Deferred(_LATER, Reason.THROTTLED, hop.remote, 0.0 if progress else None)
    again = tuple(n for n in sorted(crowded) if progress and isinstance(found[n], Deferred))
    return tuple([found[n] for n in range(total)]), again


def _undecided(exchange: Exchange, cause: Deferred | None, hop: "Hop") -> Deferred:
    if exchange.broken is not None:
        if exchange.is_nonsense:
            return hop.deferred(nonsense(str(exchange.broken)))
        explained, why = classify.explained(exchange.broken, At.CONNECT)
        return Deferred(explained, why, hop.remote)
    return hop.deferred(cause or lost("the conversation ended early"))


class Hop:
    """The server that answers, as far as outcomes need to know it.

    ``excused``: its complaint about authentication or missing encryption must
    not bounce mail. It was chosen by the operator (a smart host, an LMTP
    server), so that it is our misconfiguration; or TLS with it just failed.
    """

    __slots__ = ("dsn", "excused", "lmtp", "remote")

    def __init__(self, remote: Remote, *, lmtp: bool, dsn: bool, excused: bool) -> None:
        self.remote, self.lmtp, self.dsn, self.excused = remote, lmtp, dsn, excused

    @property
    def name(self) -> str:
        """As its troubles are told: ``mx.example [192.0.2.1]:25``."""
        return named(self.remote)

    def outcome(self, said: Reply, at: At) -> Outcome:
        if said.is_positive:
            answer = said if said.enhanced else Reply(said.code, "2.0.0", said.lines)
            return Delivered(answer, self.remote, self.lmtp, self.dsn)
        answer, why = classify.explained(said, at)
        if said.is_temporary or (why is Reason.AUTH and self.excused):
            return Deferred(answer, why, self.remote)
        if at is At.RCPT and classify.is_too_many_recipients(said):
            return Deferred(answer, Reason.THROTTLED, self.remote)
        return Failed(answer, why, self.remote)

    def deferred(self, cause: Deferred) -> Deferred:
        return Deferred(cause.reply, cause.reason, self.remote, cause.retry_after_s)
