"""``reconcile``: one pool's world as it was found → everything that is to be done about it.

Pure, and total: a world that is odd in any way gives conditions that say so,
never an exception. Doing what it says and asking again with the result
changes nothing more.
"""

import dataclasses
from collections.abc import Sequence

from waystation_operator.api.objects import timestamp
from waystation_operator.api.problem import Identity
from waystation_operator.plan import children, ownership, poolstatus, routestatus
from waystation_operator.plan.conditions import Condition, judged
from waystation_operator.plan.desired import Desired, Event, Finalizer, PodPatch, RouteStatus
from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Observed, ObservedPod, ObservedRoute
from waystation_operator.plan.planned import Planned, behind, planned, programmed
from waystation_operator.plan.reading import conditions
from waystation_operator.plan.routeverdict import Court, places
from waystation_operator.plan.scaling import Scale, current, scale

RESYNC_S = 60.0
PROGRAMMING_S = 1.0  # a changed route is to be live in seconds
CHANGING_S = 5.0
TROUBLED_S = 15.0
STUCK_AFTER_S = 60.0


def reconcile(observed: Observed) -> Desired:
    """What is to be done about a pool that exists."""
    observed = _of_the_set(observed)
    pool = observed.pool
    if pool.meta.deleting and _may_go(observed):
        return Desired(finalizer=_removal(observed), requeue_after_s=RESYNC_S)
    plan, sizes = planned(observed), scale(observed)
    foreign = ownership.foreign(observed)
    if held := bool(foreign) and not ownership.has_pods(observed):
        obstacle = judged("Programmed", "False", "NotAccepted")
        plan = dataclasses.replace(plan, hash="", secret=None, obstacle=obstacle)
    verdict = programmed(observed, plan, sizes)
    judgements = poolstatus.judge(observed, plan, sizes, verdict)
    status, events = poolstatus.status(observed, plan, judgements)
    routes, route_events = _routes(observed, plan, verdict)
    found = Desired(
        pool_status=status,
        pool_version=pool.meta.resource_version,
        route_statuses=routes,
        events=(*events, *route_events),
        config_hash=plan.hash,
        requeue_after_s=_requeue_s(observed, judgements.pool),
    )
    if held:  # nothing of the pool was made yet, and nothing is begun that cannot be finished
        return found
    late = behind(observed, plan)
    return dataclasses.replace(
        found,
        finalizer=_finalizer(observed),
        objects=tuple(
            body
            for body in children.objects(observed, plan, sizes)
            if (body["kind"], body["metadata"]["name"]) not in foreign
        ),
        deletions=tuple(children.deletions(observed)),
        claim_sizes=tuple(children.claim_sizes(observed)),
        pod_patches=_patches(sizes, late, plan),
        pokes=tuple(pod.name for pod in late),
        drains=sizes.drains,
        undrains=sizes.undrains,
    )


def _of_the_set(observed: Observed) -> Observed:
    """Without pods that bear the pool's label but are not its StatefulSet's, such as a copy for debugging."""
    pool = observed.pool.identity.name
    own = tuple(x for x in observed.pods if x.ordinal >= 0 and x.name == names.pod(pool, x.ordinal))
    return dataclasses.replace(observed, pods=own)


def absent(pool: Identity, routes: Sequence[ObservedRoute], now: float) -> Desired:
    """What is to be done about routes that name a pool which does not exist: only their statuses."""
    statuses: dict[str, RouteStatus] = {}
    events: list[Event] = []
    remedy = f"there is no RelayPool {pool.key}; create it, or correct parentRefs"
    verdict = [
        judged("Accepted", "False", "NoMatchingParent", remedy),
        judged("ResolvedRefs", "True", "ResolvedRefs"),
        judged("Programmed", "False", "NotAccepted", remedy),
        judged("Delivering", "Unknown", "NotProgrammed", remedy),
    ]
    for route in routes:
        named = dict.fromkeys(places(route, pool), verdict)
        status, told = routestatus.status(pool, route, named, now)
        if status is not None and not route.meta.deleting:
            statuses[route.identity.key] = status
            events += told
    return Desired(route_statuses=statuses, events=tuple(events), requeue_after_s=RESYNC_S)


def _may_go(observed: Observed) -> bool:
    """A pool goes once no pod of it is left, or at once when somebody forces it: claims stay either way."""
    if observed.pool.meta.annotations.get(names.FORCE_DELETE) == "true":
        return True
    found = observed.children.get(("StatefulSet", observed.pool.identity.name))
    if found is None or not ownership.has_pods(observed):
        return True
    return current(found) == 0 and not observed.pods


def _removal(observed: Observed) -> Finalizer:
    return Finalizer.REMOVE if names.FINALIZER in observed.pool.meta.finalizers else Finalizer.KEEP


def _finalizer(observed: Observed) -> Finalizer:
    meta = observed.pool.meta
    wanted = not meta.deleting and names.FINALIZER not in meta.finalizers
    return Finalizer.ADD if wanted and observed.pool.pool is not None else Finalizer.KEEP


def _routes(
    observed: Observed, plan: Planned, verdict: Condition
) -> tuple[dict[str, RouteStatus], list[Event]]:
    statuses: dict[str, RouteStatus] = {}
    events: list[Event] = []
    court = Court.of(observed, plan, verdict)
    for route in observed.routes:
        if route.meta.deleting:
            continue
        found = court.judge(route)
        status, told = routestatus.status(observed.pool.identity, route, found, observed.now)
        if status is not None:
            statuses[route.identity.key] = status
            events += told
    return statuses, events


def _patches(sizes: Scale, late: list[ObservedPod], plan: Planned) -> tuple[PodPatch, ...]:
    """Roles; and for pods that are behind the hash, which has the kubelet refresh their Secret now."""
    told = {
        pod.name: {names.CONFIG_ANNOTATION: plan.hash}
        for pod in late
        if pod.annotations.get(names.CONFIG_ANNOTATION) != plan.hash
    }
    return tuple(
        PodPatch(
            pod,
            {names.ROLE_LABEL: sizes.roles[pod]} if pod in sizes.roles else {},
            told.get(pod, {}),
        )
        for pod in sorted({*told, *sizes.roles})
    )


def _requeue_s(observed: Observed, judgements: list[Condition]) -> float:
    """Soon while something is under way; a wait that has become long is asked after less often."""
    reasons = {condition.type: condition.reason for condition in judgements}
    under_way = reasons["Programmed"] in ("Pending", "Unreachable")
    if under_way and reasons["Ready"] in ("Ready", "Degraded"):
        return PROGRAMMING_S if _since_s(observed, "Programmed", "False") < STUCK_AFTER_S else CHANGING_S
    if under_way or reasons["ScalingDown"] != "Settled":
        return CHANGING_S
    return RESYNC_S if reasons["Ready"] == "Ready" else TROUBLED_S


def _since_s(observed: Observed, type_: str, status: str) -> float:
    for condition in conditions(observed.pool.status):
        if condition.get("type") == type_ and condition.get("status") == status:
            return observed.now - timestamp(str(condition.get("lastTransitionTime")))
    return 0.0
