"""``ResolvedRefs`` of a pool and each of its listeners: are the certificates there, usable and in time?"""

import math

from waystation_operator.api.listener import Listener
from waystation_operator.plan import certificate
from waystation_operator.plan.conditions import ROWS, Condition, judged
from waystation_operator.plan.diagnosis import EXPIRES_SOON_DAYS
from waystation_operator.plan.planned import Planned
from waystation_operator.plan.reasons import Status
from waystation_operator.plan.relayconfig import Plan
from waystation_operator.plan.transition import iso

_DAY_S = 86_400


def of_listener(plan: Planned, n: int, now: float) -> Condition:
    """Of the ``n``-th listener. Trouble with its Secret comes before the certificate's time."""
    assert plan.plan is not None  # a pool that is not valid has no listeners to judge
    pool = plan.plan.pool
    listener = pool.spec.listeners[n]
    for problem in plan.plan.problems:
        if problem.resource == pool.identity and problem.path[:3] == ("spec", "listeners", n):
            kept = "; its last good version stays in use" if plan.plan.document is not None else ""
            return judged("ResolvedRefs", "False", problem.reason, f"{problem.below}{kept}")
    return _in_time(plan.plan, listener, now)


def of_pool(listeners: list[Condition]) -> Condition:
    """The gravest of its listeners: false before a warning before all being well."""
    order = sorted(listeners, key=lambda one: (one.status == "True", one.reason == "ResolvedRefs"))
    return order[0] if order else judged("ResolvedRefs", "True", "ResolvedRefs")


def _in_time(plan: Plan, listener: Listener, now: float) -> Condition:
    period = certificate.validity(_chain(plan, listener))
    begins, ends = period or (now, math.inf)
    about = f"listener {listener.name}: the certificate in Secret {listener.tls.secret_name}"
    if now < begins:
        return _late("False", "CertificateNotYetValid", f"{about} is not valid before {iso(begins)}")
    if now >= ends:
        return _late("False", "CertificateExpired", f"{about} has expired on {iso(ends)}")
    if ends - now < EXPIRES_SOON_DAYS * _DAY_S:
        return _late("True", "CertificateExpiresSoon", f"{about} expires on {iso(ends)}")
    return judged("ResolvedRefs", "True", "ResolvedRefs")


def _late(status: Status, reason: str, text: str) -> Condition:
    remedy = ROWS["ResolvedRefs", status, reason].remedy
    return judged("ResolvedRefs", status, reason, f"{text}; {remedy}")


def _chain(plan: Plan, listener: Listener) -> bytes:
    """The certificates that the listener serves; none without TLS."""
    listeners = plan.document.listeners if plan.document else ()
    name = next((planned.certificate for planned in listeners if planned.name == listener.name), None)
    return plan.files.get(f"{name}.crt", b"")
