"""The status of a RelayPool: conditions, listeners, pods, figures of the queue."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from waystation_operator.plan import certificates, ownership, transition
from waystation_operator.plan.conditions import Condition, judged
from waystation_operator.plan.delivering import reachable
from waystation_operator.plan.desired import Event
from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Observed
from waystation_operator.plan.planned import Planned
from waystation_operator.plan.readiness import phase, queue_healthy, ready, trouble
from waystation_operator.plan.reading import conditions, mapping, problems_text
from waystation_operator.plan.report import RelayReport
from waystation_operator.plan.scaling import Scale, report


@dataclass(frozen=True, slots=True)
class Judged:
    """``listeners`` by name, in the pool's order."""

    pool: list[Condition]
    listeners: dict[str, Condition]


def judge(observed: Observed, plan: Planned, scale: Scale, programmed: Condition) -> Judged:
    spec = plan.plan.pool.spec if plan.plan else None
    listeners = {
        listener.name: certificates.of_listener(plan, n, observed.now)
        for n, listener in enumerate(spec.listeners if spec else ())
    }
    found = [
        accepted(observed, plan),
        certificates.of_pool(list(listeners.values())),
        programmed,
        ready(observed, plan, scale),
        queue_healthy(observed),
        scale.condition,
    ]
    key = observed.pool.identity.key
    blocked = [x for x in observed.findings if x.target.host == "*" and x.target.route == key and not x.ok]
    if (reach := reachable(blocked)) is not None:
        found.append(reach)
    return Judged(found, listeners)


def accepted(observed: Observed, plan: Planned) -> Condition:
    if plan.plan is None:
        return judged("Accepted", "False", "Invalid", problems_text(observed.pool.problems))
    if foreign := ownership.foreign(observed):
        what = ", ".join(f"{kind} {name}" for kind, name in foreign)
        text = f"{what} exists already and is not the pool's; rename the pool, or delete what is in the way"
        return judged("Accepted", "False", "NameTaken", text)
    notices = [notice.text for notice in plan.plan.notices if notice.about == observed.pool.identity]
    if plan.plan.pool.spec.monitoring.pod_monitor and not observed.settings.has_pod_monitors:
        notices.append(
            "monitoring.podMonitor asks for what this cluster lacks; install the Prometheus operator"
        )
    return judged("Accepted", "True", "Accepted", "; ".join(["the pool is valid", *notices]))


def status(
    observed: Observed, plan: Planned, verdict: Judged
) -> tuple[Mapping[str, Any] | None, list[Event]]:
    """The pool's whole status, or None when it is as it should be; and the Events of what changed."""
    pool, before = observed.pool, conditions(observed.pool.status)
    uid, generation = pool.meta.uid, pool.meta.generation
    events = transition.events(verdict.pool, before, pool.identity, uid)
    reports = [found for pod in observed.pods if (found := report(observed, pod.name)) is not None]
    selector = names.active_selector(pool.identity.name)
    new = {
        "observedGeneration": generation,
        "replicas": len(observed.pods),
        "readyReplicas": sum(pod.ready and not pod.deleting for pod in observed.pods),
        "selector": ",".join(f"{key}={value}" for key, value in selector.items()),
        "queue": _queue(reports) if reports else mapping(pool.status, "queue"),
        "listeners": _listeners(observed, plan, verdict),
        "pods": _pods(observed),
        "conditions": transition.written(verdict.pool, before, generation, observed.now),
    }
    if transition.same(new, pool.status):
        return None, []
    return {key: value for key, value in new.items() if value != {}}, events


def _queue(reports: Sequence[RelayReport]) -> dict[str, Any]:
    oldest = [x.queue.oldest_arrival for x in reports if x.queue.oldest_arrival is not None]
    found: dict[str, Any] = {
        "messages": sum(x.queue.messages for x in reports),
        "held": sum(x.queue.held for x in reports),
        "sizeBytes": sum(x.queue.bytes for x in reports),
        "oldestDueSeconds": int(max(0, *(x.queue.oldest_due_seconds for x in reports))),
    }
    return found | ({"oldestArrivalTime": transition.iso(min(oldest))} if oldest else {})


def _listeners(observed: Observed, plan: Planned, verdict: Judged) -> list[dict[str, Any]]:
    """With how many routes take mail from each; an older reading's conditions give their time."""
    old = {str(x.get("name")): x for x in _mappings(observed.pool.status.get("listeners"))}
    attached = plan.plan.attachments if plan.plan else ()
    generation, now = observed.pool.meta.generation, observed.now
    return [
        {
            "name": name,
            "attachedRoutes": sum(name in found.listeners for found in attached),
            "conditions": transition.written([condition], conditions(old.get(name, {})), generation, now),
        }
        for name, condition in verdict.listeners.items()
    ]


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [x for x in value if isinstance(x, Mapping)] if isinstance(value, list) else []


_AS_IT_SHOULD_BE = ("Stopping", "Draining", "Empty")  # phases in which a pod need not be ready


def _pods(observed: Observed) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for pod in sorted(observed.pods, key=lambda one: one.ordinal):
        said, ill = report(observed, pod.name), trouble(observed, pod)
        entry: dict[str, Any] = {"ordinal": pod.ordinal, "phase": phase(observed, pod)}
        if said is not None:
            entry |= {"queued": said.queue.messages, "config": said.config.hash[:64]}
        if ill is not None and entry["phase"] not in _AS_IT_SHOULD_BE:
            entry["message"] = ill.text
        found.append(entry)
    return found
