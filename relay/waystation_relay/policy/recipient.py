"""May this recipient be taken? Asked at RCPT.

The order is the policy: who may not relay learns nothing about routes.
"""

from collections.abc import Callable

import msgspec

from waystation_contract.model import Reject, Route
from waystation_relay.mail.reply import Reply, reply
from waystation_relay.policy.verdict import Refusal, Why


class RcptFacts(msgspec.Struct, frozen=True, gc=False):
    """``taken``: recipients of this message so far; ``route``: what would take this one."""

    may_relay: bool
    taken: int
    max_recipients: int
    route: Route | None


RELAY_DENIED = Refusal(reply(550, "5.7.1", "Relaying denied"), Why.RELAY_DENIED)
# RFC 5321 §4.5.3.1.10: the client sends the rest in another transaction.
RECIPIENTS = Refusal(reply(452, "4.5.3", "Too many recipients"), Why.RECIPIENTS)
# Temporary: a route may be on its way, and a sender that waits loses nothing. Who wants a final no
# says so by a route with a reject backend.
NO_ROUTE = Refusal(reply(451, "4.4.4", "No route for this recipient now"), Why.NO_ROUTE)


def _relaying(facts: RcptFacts) -> Refusal | None:
    return None if facts.may_relay else RELAY_DENIED


def _number(facts: RcptFacts) -> Refusal | None:
    return RECIPIENTS if facts.taken >= facts.max_recipients else None


def _route(facts: RcptFacts) -> Refusal | None:
    route = facts.route
    if route is None:
        return NO_ROUTE
    verdict = route.backends[0]
    if isinstance(verdict, Reject):
        return Refusal(Reply(verdict.code, verdict.enhanced, (verdict.message,)), Why.REJECTED)
    return None


CHECKS: tuple[Callable[[RcptFacts], Refusal | None], ...] = (_relaying, _number, _route)


def judge(facts: RcptFacts) -> Refusal | None:
    """The first objection."""
    for check in CHECKS:
        refusal = check(facts)
        if refusal is not None:
            return refusal
    return None
