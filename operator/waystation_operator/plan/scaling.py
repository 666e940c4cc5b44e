"""How many pods there are to be now, and which of them are to be emptied first.

The number rises at once. It falls by one at a time, and only when the pod
with the highest ordinal, the one that Kubernetes would remove, says that its
queue is empty: time alone never removes one.

Known limits
    One reading of an empty queue is enough. Claims of removed pods are kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from waystation_operator.api.objects import timestamp
from waystation_operator.api.pooloptions import ScaleDown
from waystation_operator.plan.conditions import Condition, judged
from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Object, Observed, ObservedPod
from waystation_operator.plan.reading import conditions, mapping
from waystation_operator.plan.report import RelayReport


@dataclass(frozen=True, slots=True)
class Scale:
    """``wanted`` is what the spec asks for, ``replicas`` what the StatefulSet gets now; ``roles`` are labels
    of pods that are to change."""

    wanted: int
    replicas: int
    condition: Condition
    drains: tuple[str, ...] = ()
    undrains: tuple[str, ...] = ()
    roles: Mapping[str, str] = field(default_factory=dict)


def current(stateful_set: Object | None) -> int | None:
    """How many pods the StatefulSet is to have as it stands; None when there is none."""
    if stateful_set is None:
        return None
    replicas = mapping(stateful_set, "spec").get("replicas")
    return replicas if isinstance(replicas, int) else 1  # the API server's default


def scale(observed: Observed) -> Scale:
    name = observed.pool.identity.name
    found = current(observed.children.get(("StatefulSet", name)))
    wanted = _wanted(observed, found)
    have = wanted if found is None else found
    pods = {pod.ordinal: pod for pod in observed.pods}
    leaving = [pods[n] for n in range(wanted, have) if n in pods]
    staying = [pod for pod in observed.pods if 0 <= pod.ordinal < wanted and not pod.deleting]
    last_is_empty = have > wanted and _is_proven_empty(observed, have - 1)
    return Scale(
        wanted=wanted,
        replicas=have - 1 if last_is_empty else max(have, wanted),
        condition=_condition(observed, wanted, have),
        drains=tuple(pod.name for pod in leaving if _state(observed, pod) == "active"),
        undrains=tuple(pod.name for pod in staying if _is_ours(pod) and _state(observed, pod) != "active"),
        roles=_roles(observed, leaving, staying),
    )


def _wanted(observed: Observed, found: int | None) -> int:
    if observed.pool.meta.deleting:
        return 0
    if observed.pool.pool is None:
        return found or 0
    return observed.pool.pool.spec.replicas


def report(observed: Observed, pod: str) -> RelayReport | None:
    found = observed.relays.get(pod)
    return found if isinstance(found, RelayReport) else None


def _state(observed: Observed, pod: ObservedPod) -> str:
    found = report(observed, pod.name)
    return found.drain.state if found else ""


def _is_ours(pod: ObservedPod) -> bool:
    """Whether we drain it: what a person drains by hand is theirs to end."""
    return pod.labels.get(names.ROLE_LABEL) == names.DRAINING


def _roles(observed: Observed, leaving: list[ObservedPod], staying: list[ObservedPod]) -> dict[str, str]:
    """Roles to change: out of the Service before anything, back into it once sessions are taken again."""
    out = {pod.name: names.DRAINING for pod in leaving if not _is_ours(pod)}
    back = {pod.name: names.ACTIVE for pod in staying if _is_ours(pod) and _state(observed, pod) == "active"}
    return {**out, **back}


def _is_proven_empty(observed: Observed, ordinal: int) -> bool:
    """By the pod's own word; or because neither it nor a volume of it was ever there."""
    name = names.pod(observed.pool.identity.name, ordinal)
    pod = next((pod for pod in observed.pods if pod.name == name), None)
    if pod is not None:
        said = report(observed, name)
        return said is not None and said.drain.state == "empty" and said.queue.messages == 0
    claim = names.claim(observed.pool.identity.name, ordinal)
    return all(found.phase == "Pending" for found in observed.claims if found.name == claim)


def _condition(observed: Observed, wanted: int, have: int) -> Condition:
    if have <= wanted:
        return judged("ScalingDown", "False", "Settled")
    left = [_left(observed, n) for n in range(wanted, have)]
    target = f"from {have} to {wanted} pods: {', '.join(left)}"
    last = names.pod(observed.pool.identity.name, have - 1)
    if report(observed, last) is None and not _is_proven_empty(observed, have - 1):
        why = observed.relays.get(last) or "it does not run"
        text = (
            f"{target}; {last} does not say that its queue is empty ({why}): bring it back, its mail is kept"
        )
        return judged("ScalingDown", "True", "Unproven", text)
    if _since_s(observed) > _timeout_s(observed):
        text = (
            f"{target}; it takes longer than scaleDown.drainTimeout, and no mail is dropped: see what waits"
        )
        return judged("ScalingDown", "True", "Stalled", text)
    return judged("ScalingDown", "True", "Draining", target)


def _left(observed: Observed, ordinal: int) -> str:
    pod = names.pod(observed.pool.identity.name, ordinal)
    said = report(observed, pod)
    if said is None:
        return f"{pod} does not answer"
    left = said.queue.messages
    return f"{pod} has {left} message{'' if left == 1 else 's'} left"


def _since_s(observed: Observed) -> float:
    for condition in conditions(observed.pool.status):
        if condition.get("type") == "ScalingDown" and condition.get("status") == "True":
            return observed.now - timestamp(str(condition.get("lastTransitionTime")))
    return 0.0


def _timeout_s(observed: Observed) -> float:
    pool = observed.pool.pool
    return (pool.spec.scale_down if pool else ScaleDown()).drain_timeout_s
