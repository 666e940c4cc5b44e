"""``status.parents`` of the routes of one pool.

Each parentRef that names the pool gets an entry of ours. Entries of other
pools and of other controllers stay as they are; ours for a parentRef that is
gone are taken out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from waystation_operator.api.mailroute import ParentRef
from waystation_operator.api.problem import Identity, Problem
from waystation_operator.plan import transition
from waystation_operator.plan.conditions import Condition, judged
from waystation_operator.plan.delivering import delivering, reachable, together
from waystation_operator.plan.desired import Event, RouteStatus
from waystation_operator.plan.findings import Finding
from waystation_operator.plan.manifests.names import CONTROLLER
from waystation_operator.plan.observed import Observed, ObservedRoute
from waystation_operator.plan.planned import Planned
from waystation_operator.plan.precedence import Conflict, conflicts
from waystation_operator.plan.reading import conditions, mapping, problems_text, ref_key, text
from waystation_operator.plan.scaling import report

_SECRET_REASONS = ("SecretNotFound", "SecretForbidden", "InvalidCredential")


def judge(
    observed: Observed, plan: Planned, programmed: Condition, route: ObservedRoute
) -> dict[int, list[Condition]]:
    """The conditions of each parentRef of ``route`` that names the pool, by its place."""
    found: dict[int, list[Condition]] = {}
    for n in places(route, observed.pool.identity):
        accepted = _accepted(plan, route, n)
        resolved = _resolved(plan, route)
        found[n] = [accepted, resolved, _programmed(plan, route, programmed, accepted)]
        found[n] += _traffic(observed, plan, route)
    return found


def places(route: ObservedRoute, pool: Identity) -> list[int]:
    """Which of the route's parentRefs name the pool."""
    key = pool.key
    refs = enumerate(route.parent_refs)
    return [n for n, ref in refs if ref_key(ref.name, ref.namespace, route.identity) == key]


def _accepted(plan: Planned, route: ObservedRoute, n: int) -> Condition:
    if route.route is None:
        return judged("Accepted", "False", "Invalid", problems_text(route.problems))
    if plan.plan is None:
        return judged("Accepted", "False", "ParentInvalid")
    for problem in _problems(plan, route):
        if problem.path[:3] == ("spec", "parentRefs", n) or problem.reason == "InvalidRetry":
            return judged("Accepted", "False", problem.reason, problem.below)
    document = plan.plan.document
    conflict = conflicts(document.routes if document else ()).get(route.identity.key)
    if conflict is not None and conflict.whole:
        return judged("Accepted", "False", "Conflicted", _conflicted(conflict))
    notices = [notice.text for notice in plan.plan.notices if notice.about == route.identity]
    return judged("Accepted", "True", "Accepted", "; ".join(["the route is attached", *notices]))


def _conflicted(conflict: Conflict) -> str:
    others = ", ".join(conflict.earlier)
    return (
        f"MailRoute {others} matches the same mail and comes first; change the match, or delete one of them"
    )


def _problems(plan: Planned, route: ObservedRoute) -> Iterator[Problem]:
    """Those about the route; its namespace and name tell, as all of them name MailRoutes."""
    for problem in plan.plan.problems if plan.plan else ():
        if problem.resource == route.identity:
            yield problem


def _resolved(plan: Planned, route: ObservedRoute) -> Condition:
    found = [problem for problem in _problems(plan, route) if problem.reason in _SECRET_REASONS]
    if not found:
        return judged("ResolvedRefs", "True", "ResolvedRefs")
    kept = "; the last good version stays in use" if _is_planned(plan, route) else ""
    return judged("ResolvedRefs", "False", found[0].reason, problems_text(found) + kept)


def _is_planned(plan: Planned, route: ObservedRoute) -> bool:
    document = plan.plan.document if plan.plan else None
    return document is not None and any(x.name == route.identity.key for x in document.routes)


def _programmed(plan: Planned, route: ObservedRoute, pool: Condition, accepted: Condition) -> Condition:
    """As the pool is, if the route is part of what is planned for it."""
    if accepted.status != "True" and accepted.reason != "Conflicted":
        return judged("Programmed", "False", "NotAccepted", f"not accepted: {accepted.message}")
    if plan.obstacle is None and not _is_planned(plan, route):
        return judged("Programmed", "False", "NotResolved")
    return pool


def _traffic(observed: Observed, plan: Planned, route: ObservedRoute) -> Iterator[Condition]:
    if route.route is None:
        return
    findings = tuple(_findings(observed, route))
    if (reach := reachable(findings)) is not None:
        yield reach
    said = [found for pod in observed.pods if (found := report(observed, pod.name)) is not None]
    key = route.identity.key
    whole = together(one.routes[key] for one in said if key in one.routes)
    yield delivering(
        route.route.spec, whole, findings, asked=bool(said) or not _is_planned(plan, route), now=observed.now
    )


def _findings(observed: Observed, route: ObservedRoute) -> Iterator[Finding]:
    """Those about the route itself; of the pool's own, that port 25 is blocked, if it sends to MX hosts."""
    direct = route.route is not None and any(backend.mx for backend in route.route.spec.backends)
    for finding in observed.findings:
        if finding.target.host == "*":
            if direct and finding.target.route == observed.pool.identity.key:
                yield finding
        elif finding.target.kind != "certificate" and finding.target.route == route.identity.key:
            yield finding


def status(
    pool: Identity, route: ObservedRoute, judgements: Mapping[int, Sequence[Condition]], now: float
) -> tuple[RouteStatus | None, list[Event]]:
    """The route's whole status, or None when it is as it should be; and the Events of what changed."""
    before = [x for x in _entries(route.status) if isinstance(x, Mapping)]
    ours = {_ref(x): x for x in before if _is_ours(x, pool, route)}
    entries = [x for x in before if not _is_ours(x, pool, route)]
    events: list[Event] = []
    for n, found in judgements.items():
        ref = route.parent_refs[n]
        old = conditions(ours.get(_key(ref), {}))
        entries.append(_entry(ref, transition.written(found, old, route.meta.generation, now)))
        events += transition.events(found, old, route.identity, route.meta.uid, f"RelayPool {pool.key}: ")
    order = {_key(ref): n for n, ref in enumerate(route.parent_refs)}
    entries.sort(key=lambda entry: order.get(_ref(entry), len(order)))
    new = {"observedGeneration": route.meta.generation, "parents": entries}
    if transition.same(new, route.status):
        return None, []
    return RouteStatus(route.meta.resource_version, new), list(dict.fromkeys(events))


def _entries(status: Mapping[str, Any]) -> list[Any]:
    found = status.get("parents")
    return found if isinstance(found, list) else []


def _is_ours(entry: Mapping[str, Any], pool: Identity, route: ObservedRoute) -> bool:
    name, namespace, _ = _ref(entry)
    return entry.get("controllerName") == CONTROLLER and ref_key(name, namespace, route.identity) == pool.key


def _ref(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    ref = mapping(entry, "parentRef")
    return text(ref, "name"), text(ref, "namespace"), text(ref, "sectionName")


def _key(ref: ParentRef) -> tuple[str, str, str]:
    return ref.name, ref.namespace, ref.section_name


def _entry(ref: ParentRef, written: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "parentRef": ref.model_dump(by_alias=True),
        "controllerName": CONTROLLER,
        "conditions": written,
    }
