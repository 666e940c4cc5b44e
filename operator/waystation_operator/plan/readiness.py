"""Whether a pool takes mail, and whether its queues are healthy: what each pod is at, and the verdict.

``Ready`` asks what clients ask: does somebody take my mail? One pod that does
is enough; the others are named. The kubelet's own words for what stops a pod
are passed on.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from waystation_operator.api import units
from waystation_operator.api.pooloptions import Autoscaling
from waystation_operator.plan import children, rounding
from waystation_operator.plan.conditions import ROWS, Condition, judged
from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Observed, ObservedPod
from waystation_operator.plan.planned import Planned
from waystation_operator.plan.report import RelayReport
from waystation_operator.plan.scaling import Scale, report

STARTS_WITHIN_S = 120.0
BINDS_WITHIN_S = 30.0  # a new claim is pending at first, wherever volumes are made on demand

# The kubelet's and the scheduler's words → ours.
_TROUBLES = {
    "ErrImagePull": "ImagePullFailed",
    "ImagePullBackOff": "ImagePullFailed",
    "InvalidImageName": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "CrashLoopBackOff": "CrashLooping",
    "Error": "CrashLooping",
    "OOMKilled": "CrashLooping",
    "Unschedulable": "Unschedulable",
}
_RELAY_REASONS = {"full": "QueueFull", "read-only": "StorageFailing", "failing": "StorageFailing"}
_GRAVEST_FIRST = (
    "StorageFailing",
    "QueueFull",
    "CrashLooping",
    "ImagePullFailed",
    "ClaimPending",
    "Unschedulable",
    "PodFailing",
    "NotReady",
    "Starting",
)
_PHASES = {"QueueFull": "Full", "Starting": "Starting", "NotReady": "NotReady"}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod takes no mail: a reason of ``Ready`` and the words that came with it."""

    reason: str
    text: str


def trouble(observed: Observed, pod: ObservedPod) -> Trouble | None:
    if pod.ready:
        return None
    if pod.trouble:
        reason = _TROUBLES.get(pod.trouble, "PodFailing")
        if reason == "Unschedulable" and _claim_is_pending(observed, pod):
            is_being_made = observed.now - pod.created < BINDS_WITHIN_S
            reason = "Starting" if is_being_made else "ClaimPending"
        return Trouble(reason, f"{pod.trouble}: {pod.trouble_message}".rstrip(": "))
    said = observed.relays.get(pod.name)
    if isinstance(said, RelayReport):
        for word in said.reasons:
            if word in _RELAY_REASONS:
                return Trouble(_RELAY_REASONS[word], word)
        if said.reasons:
            return Trouble("Starting" if "starting" in said.reasons else "NotReady", ", ".join(said.reasons))
    is_new = observed.now - pod.created < STARTS_WITHIN_S
    if isinstance(said, RelayReport):
        return Trouble("Starting" if is_new else "NotReady", "it is ready, and the kubelet does not know yet")
    if is_new:
        return Trouble("Starting", "starting")
    return Trouble("NotReady", said or "not ready")


def _claim_is_pending(observed: Observed, pod: ObservedPod) -> bool:
    claim = names.claim(observed.pool.identity.name, pod.ordinal)
    return any(found.name == claim and found.phase == "Pending" for found in observed.claims) or (
        "PersistentVolumeClaim" in pod.trouble_message
    )


def phase(observed: Observed, pod: ObservedPod) -> str:
    """In one word, for ``status.pods``."""
    if pod.deleting:
        return "Stopping"
    said = report(observed, pod.name)
    if said is not None and said.drain.state != "active":
        return said.drain.state.capitalize()
    found = trouble(observed, pod)
    if found is not None:
        return _PHASES.get(found.reason, "Failing")
    return "Active" if said is not None else "Unreachable"


def ready(observed: Observed, plan: Planned, scale: Scale) -> Condition:
    if observed.pool.meta.deleting:
        return judged("Ready", "False", "Deleting")
    if scale.wanted == 0 and plan.plan is not None:
        return judged("Ready", "False", "NoPods")
    staying = [pod for pod in observed.pods if 0 <= pod.ordinal < scale.wanted and not pod.deleting]
    troubles = {pod.name: found for pod in staying if (found := trouble(observed, pod)) is not None}
    count = len(staying) - len(troubles)
    named = [f"{name}: {found.text}" for name, found in sorted(troubles.items())]
    text = "; ".join([f"{count} of {scale.wanted} pods take mail", *named])
    if plan.obstacle is not None and not staying:
        return judged("Ready", "False", "NotProgrammed", f"{text}; {plan.obstacle.message}")
    if count == scale.wanted:
        return judged("Ready", "True", "Ready", text)
    gravest = _gravest(troubles.values())
    if count:
        is_calm = gravest == "Starting"
        return judged("Ready", "True", "Ready" if is_calm else "Degraded", text)
    row = ROWS["Ready", "False", gravest]
    return judged("Ready", "False", gravest, text if row.quiet else f"{text}; {row.remedy}")


def _gravest(troubles: Iterable[Trouble]) -> str:
    reasons = {found.reason for found in troubles}
    return next((reason for reason in _GRAVEST_FIRST if reason in reasons), "Starting")


# reason, the relay's words for it, ours
_UNHEALTHY = (
    ("StorageFailing", ("read-only", "failing"), "the volume cannot be written"),
    ("Full", ("full",), "the queue has reached fullAtPercent and takes no mail"),
)


def _ungrown(observed: Observed) -> Iterator[str]:
    """What keeps claims smaller than the pool's queue is to be; not those that are still growing."""
    pool = observed.pool.pool
    wanted = pool.spec.queue.size_bytes if pool else 0
    for claim in children.bound_claims(observed):
        if 0 < claim.size_bytes < wanted and claim.name in observed.ungrown:
            yield f"{claim.name} cannot grow to {units.quantity(wanted)}: {observed.ungrown[claim.name]}"
        elif 0 < claim.capacity_bytes < wanted and claim.trouble:
            yield f"{claim.name} has not grown to {units.quantity(wanted)}: {claim.trouble}"


def queue_healthy(observed: Observed) -> Condition:
    said = {pod.name: found for pod in observed.pods if (found := report(observed, pod.name)) is not None}
    stuck = list(_ungrown(observed))
    if not said and not stuck:
        return judged("QueueHealthy", "Unknown", "Unreported")
    for reason, words, text in _UNHEALTHY:
        which = [name for name, found in said.items() if any(word in found.reasons for word in words)]
        if which:
            remedy = ROWS["QueueHealthy", "False", reason].remedy
            return judged("QueueHealthy", "False", reason, f"{', '.join(which)}: {text}; {remedy}")
    if stuck:
        remedy = ROWS["QueueHealthy", "False", "ClaimNotGrown"].remedy
        return judged("QueueHealthy", "False", "ClaimNotGrown", f"{'; '.join(stuck)}; {remedy}")
    pool = observed.pool.pool
    target_s = (pool.spec.autoscaling if pool else Autoscaling()).target_lateness_s
    late_s = max(found.queue.oldest_due_seconds for found in said.values())
    if late_s > target_s:
        row = ROWS["QueueHealthy", "False", "Late"]
        text = f"due mail has waited for more than {rounding.longer_than(late_s)}; {row.remedy}"
        return judged("QueueHealthy", "False", "Late", text)
    if unrouted := sum(found.unrouted.waiting for found in said.values()):
        waiting = rounding.counted(unrouted, "recipient", "wait")
        text = f"{waiting} without a route that takes them; add a MailRoute that matches them"
        return judged("QueueHealthy", "False", "Unrouted", text)
    return judged("QueueHealthy", "True", "Healthy")
