"""One target examined: looked up, connected to, greeted, secured, logged in to; how far that got.

The addresses of a host are tried in turn until one does all that is asked, as
the relay does; a login is tried at one of them only.

Invariants
    No mail is offered. A password is sent once at most, and is in no finding.
    Every step has a deadline, and so has the whole.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from waystation_operator.plan import diagnosis
from waystation_operator.plan.diagnosis import Case
from waystation_operator.plan.findings import Finding, Target
from waystation_operator.plan.probing import Credential
from waystation_operator.probe import conversation
from waystation_operator.probe.connection import Settings
from waystation_operator.probe.conversation import Answered
from waystation_operator.probe.trouble import TroubleError, words

MOST_ADDRESSES = 4
WHOLE_WITHIN_S = 60.0

# Which of several troubles to tell: an answer before silence.
_DULL = {Case.UNREACHABLE: 2, Case.TIMED_OUT: 1, Case.TIMED_OUT_25: 1, Case.REFUSED: 1}


class Names(Protocol):
    """What is asked of DNS (``resolve.Resolver``)."""

    async def addresses(self, host: str) -> tuple[str, ...]: ...

    async def mail_hosts(self, domain: str) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Examined:
    """``login``: a login was tried and answered, whatever the answer."""

    finding: Finding
    login: bool = False


async def examine(
    target: Target,
    credential: Credential | None,
    resolver: Names,
    now: Callable[[], float],
    settings: Settings,
) -> Examined:
    """``now`` is in Unix seconds."""
    try:
        async with asyncio.timeout(WHOLE_WITHIN_S):
            return await _examine(target, credential, resolver, now, settings)
    except TroubleError as trouble:
        return _told(target, trouble, now())
    except TimeoutError:
        why = f"{WHOLE_WITHIN_S:g} s"
        return Examined(diagnosis.finding(Case.NO_ANSWER, target, now(), said="all that was asked", why=why))


async def _examine(
    target: Target,
    credential: Credential | None,
    resolver: Names,
    now: Callable[[], float],
    settings: Settings,
) -> Examined:
    if target.kind == "mx":
        hosts = await resolver.mail_hosts(target.host)
        why = ", ".join(hosts[:MOST_ADDRESSES])
        return Examined(diagnosis.finding(Case.HAS_MAIL_HOSTS, target, now(), why=why))
    telling: Examined | None = None
    rank = len(_DULL)
    for address in (await resolver.addresses(target.host))[:MOST_ADDRESSES]:
        where = _where(target, address)
        try:
            answered = await _asked(target, address, credential, now(), settings)
        except TroubleError as trouble:
            told = _told(target, trouble, now(), where)
            if trouble.login:
                return told
            if _DULL.get(trouble.case, 0) < rank:
                telling, rank = told, _DULL.get(trouble.case, 0)
        else:
            finding = diagnosis.finding(answered.case, target, now(), where=where, why=answered.why)
            return Examined(finding, answered.login)
    assert telling is not None  # a name that is found has an address
    return telling


async def _asked(
    target: Target, address: str, credential: Credential | None, now: float, settings: Settings
) -> Answered:
    if target.kind == "lmtp":
        return await conversation.lmtp(target, address, settings)
    assert target.kind == "smartHost", target.kind
    return await conversation.smart_host(target, address, credential, now, settings)


def _told(target: Target, trouble: TroubleError, at: float, where: str = "") -> Examined:
    why = words(trouble.why)
    finding = diagnosis.finding(trouble.case, target, at, where=where, why=why, said=trouble.said)
    return Examined(finding, trouble.login)


def _where(target: Target, address: str) -> str:
    if target.host == address:
        return f"[{address}]:{target.port}" if ":" in address else f"{address}:{target.port}"
    return f"{target.host} [{address}]:{target.port}"
