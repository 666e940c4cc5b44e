"""What is judged of each route of one pool, for each of its parentRefs that name the pool.

A :class:`Court` is made once a pass: pools have thousands of routes, and each
asks for a little of the same facts.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from waystation_contract.model import Route, Unavailable
from waystation_operator.api.problem import Identity, Problem
from waystation_operator.plan.conditions import Condition, judged
from waystation_operator.plan.delivering import delivering, reachable, together
from waystation_operator.plan.findings import Finding
from waystation_operator.plan.observed import Observed, ObservedRoute
from waystation_operator.plan.planned import Planned
from waystation_operator.plan.precedence import Conflict, conflicts
from waystation_operator.plan.reading import problems_text, ref_key
from waystation_operator.plan.relayconfig import unavailable
from waystation_operator.plan.report import RelayReport
from waystation_operator.plan.scaling import report

_SECRET_REASONS = ("SecretNotFound", "SecretForbidden", "InvalidCredential")

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Court:
    """``programmed`` is the pool's own judgement; the rest is by route, as its name says."""

    pool: Identity
    plan: Planned
    programmed: Condition
    now: float
    planned: Mapping[str, Route]
    conflicts: Mapping[str, Conflict]
    problems: Mapping[Identity, Sequence[Problem]]
    notices: Mapping[Identity, Sequence[str]]
    findings: Mapping[str, Sequence[Finding]]
    blocked: Sequence[Finding]  # of the pool: that port 25 is
    reports: Sequence[RelayReport]

    @classmethod
    def of(cls, observed: Observed, plan: Planned, programmed: Condition) -> "Court":
        pool, whole = observed.pool.identity, plan.plan
        routes = whole.document.routes if whole and whole.document else ()
        of_pool = [x for x in observed.findings if x.target.host == "*" and x.target.route == pool.key]
        of_routes = [x for x in observed.findings if x.target.host != "*" and x.target.kind != "certificate"]
        problems = [(x.resource, x) for x in (whole.problems if whole else ()) if x.resource is not None]
        said = (report(observed, pod.name) for pod in observed.pods)
        return cls(
            pool=pool,
            plan=plan,
            programmed=programmed,
            now=observed.now,
            planned={route.name: route for route in routes},
            conflicts=conflicts(routes),
            problems=_grouped(problems),
            notices=_grouped((x.about, x.text) for x in (whole.notices if whole else ())),
            findings=_grouped((x.target.route, x) for x in of_routes),
            blocked=of_pool,
            reports=[found for found in said if found is not None],
        )

    def judge(self, route: ObservedRoute) -> dict[int, list[Condition]]:
        """The conditions of each parentRef of ``route`` that names the pool, by its place."""
        refs = places(route, self.pool)
        common = [self._resolved(route), *self._traffic(route)] if refs else []
        found: dict[int, list[Condition]] = {}
        for n in refs:
            accepted = self._accepted(route, n)
            traffic = [_explained(condition, accepted, common[0]) for condition in common[1:]]
            found[n] = [accepted, common[0], self._programmed(route, accepted), *traffic]
        return found

    def _accepted(self, route: ObservedRoute, n: int) -> Condition:
        if route.route is None:
            return judged("Accepted", "False", "Invalid", problems_text(route.problems))
        if self.plan.plan is None:
            return judged("Accepted", "False", "ParentInvalid")
        for problem in self.problems.get(route.identity, ()):
            if problem.path[:3] == ("spec", "parentRefs", n) or problem.reason == "InvalidRetry":
                return judged("Accepted", "False", problem.reason, problem.below)
        conflict = self.conflicts.get(route.identity.key)
        if conflict is not None and conflict.whole:
            others = ", ".join(conflict.earlier)
            text = f"MailRoute {others} matches the same mail and comes first; change it, or delete one"
            return judged("Accepted", "False", "Conflicted", text)
        notices = self.notices.get(route.identity, ())
        return judged("Accepted", "True", "Accepted", "; ".join(["the route is attached", *notices]))

    def _resolved(self, route: ObservedRoute) -> Condition:
        found = [x for x in self.problems.get(route.identity, ()) if x.reason in _SECRET_REASONS]
        if not found:
            return judged("ResolvedRefs", "True", "ResolvedRefs")
        return judged("ResolvedRefs", "False", found[0].reason, problems_text(found) + self._meanwhile(route))

    def _meanwhile(self, route: ObservedRoute) -> str:
        """What becomes of the mail until it is mended."""
        planned = self.planned.get(route.identity.key)
        if planned is None:
            return ""
        if unavailable(planned):
            return "; its mail waits"
        if any(isinstance(backend, Unavailable) for backend in planned.backends):
            return "; its mail takes the other backends"
        return "; the last good version stays in use"

    def _programmed(self, route: ObservedRoute, accepted: Condition) -> Condition:
        """As the pool is, if any of the route is what is planned for it."""
        if accepted.status != "True" and accepted.reason != "Conflicted":
            return judged("Programmed", "False", "NotAccepted", f"not accepted: {accepted.message}")
        if self.plan.obstacle is None and not self._is_planned(route.identity.key):
            return judged("Programmed", "False", "NotResolved")
        return self.programmed

    def _is_planned(self, key: str) -> bool:
        """Whether any of its mail goes as the route says."""
        found = self.planned.get(key)
        return found is not None and not unavailable(found)

    def _traffic(self, route: ObservedRoute) -> Iterator[Condition]:
        if route.route is None:
            return
        key, spec = route.identity.key, route.route.spec
        is_direct = any(backend.mx for backend in spec.backends)
        findings = [*self.findings.get(key, ()), *(self.blocked if is_direct else ())]
        if (reach := reachable(findings)) is not None:
            yield reach
        whole = together(one.routes[key] for one in self.reports if key in one.routes)
        asked = bool(self.reports) or not self._is_planned(key)
        yield delivering(spec, whole, findings, asked=asked, now=self.now)


_SAYS_LITTLE = {"NotProgrammed": "no pod has the route", "NoMailYet": "no mail yet"}


def _explained(condition: Condition, *causes: Condition) -> Condition:
    """A route that gets no mail says why at once: it is the message that ``kubectl get -o wide`` shows."""
    cause = next((cause for cause in causes if cause.status == "False"), None)
    if condition.reason not in _SAYS_LITTLE or cause is None:
        return condition
    text = f"{_SAYS_LITTLE[condition.reason]}; {cause.message}"
    return judged(condition.type, condition.status, condition.reason, text)


def places(route: ObservedRoute, pool: Identity) -> list[int]:
    """Which of the route's parentRefs name the pool."""
    key = pool.key
    refs = enumerate(route.parent_refs)
    return [n for n, ref in refs if ref_key(ref.name, ref.namespace, route.identity) == key]


def _grouped(pairs: Iterable[tuple[Key, Item]]) -> dict[Key, list[Item]]:
    found: dict[Key, list[Item]] = {}
    for key, item in pairs:
        found.setdefault(key, []).append(item)
    return found
