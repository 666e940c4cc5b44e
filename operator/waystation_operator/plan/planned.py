"""The configuration that a pool's pods are to have, and whether they have it.

What is planned is what ``relayconfig`` makes of the pool, its routes and
their Secrets. When nothing can be planned, pods keep what they have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from waystation_contract import codec
from waystation_operator.api.objects import RelayPool
from waystation_operator.plan.conditions import Condition, judged
from waystation_operator.plan.manifests import names, secrets
from waystation_operator.plan.observed import Observed, ObservedPod
from waystation_operator.plan.reading import named_pools, problems_text
from waystation_operator.plan.relayconfig import Plan, plan_pool
from waystation_operator.plan.scaling import Scale, report

_SHOWN = 8  # characters of a hash in messages


@dataclass(frozen=True, slots=True)
class Planned:
    """``obstacle`` says why there is no ``secret``; ``plan`` is None only for a pool that is not valid."""

    plan: Plan | None
    hash: str = ""
    secret: Mapping[str, Any] | None = field(default=None, repr=False)
    obstacle: Condition | None = None


def planned(observed: Observed) -> Planned:
    pool = observed.pool.pool
    if pool is None:
        return Planned(None, obstacle=judged("Programmed", "False", "NotAccepted"))
    plan = _plan(observed, pool)
    if not may_write_secrets(observed):
        namespace = pool.identity.namespace
        text = (
            f"the operator may not read and write Secrets in namespace {namespace}, where the pool's are; "
            f"let it by a RoleBinding in {namespace}, as docs/conditions.md shows"
        )
        return Planned(plan, obstacle=judged("Programmed", "False", "SecretForbidden", text))
    if plan.document is None:
        own = [problem for problem in plan.problems if problem.resource == pool.identity]
        text = f"{pool.identity}: {problems_text(own)}"
        return Planned(plan, obstacle=judged("Programmed", "False", "NotResolved", text))
    size = secrets.size_bytes(plan.document, plan.files)
    if size > secrets.MOST_BYTES:
        text = (
            f"routes and credentials are {size} bytes, and a Secret takes {secrets.MOST_BYTES}; "
            "spread the routes over several pools; pods keep what they have"
        )
        return Planned(plan, obstacle=judged("Programmed", "False", "TooLarge", text))
    secret = secrets.config(pool.identity, observed.pool.meta.uid, plan.document, plan.files)
    return Planned(plan, codec.digest(plan.document, plan.files), secret)


def may_write_secrets(observed: Observed) -> bool:
    """Whether the pool's own Secrets are within reach of the operator."""
    pool = observed.pool.identity
    own = {f"{pool.namespace}/{name(pool.name)}" for name in (names.config_secret, names.admin_secret)}
    return not own & observed.forbidden


def _plan(observed: Observed, pool: RelayPool) -> Plan:
    routes = [
        found.route
        for found in observed.routes
        if found.route is not None and pool.identity.key in named_pools(found)
    ]
    existing = observed.children.get(("Secret", names.config_secret(pool.identity.name)))
    return plan_pool(
        pool,
        routes,
        observed.namespaces,
        observed.secrets,
        forbidden=observed.forbidden,
        kept=secrets.decoded(existing),
    )


def behind(observed: Observed, plan: Planned) -> list[ObservedPod]:
    """Pods that say that they run another configuration."""
    if not plan.hash:
        return []
    return [
        pod
        for pod in observed.pods
        if not pod.deleting
        and (said := report(observed, pod.name)) is not None
        and said.config.hash != plan.hash
    ]


def programmed(observed: Observed, plan: Planned, scale: Scale) -> Condition:
    """Whether every pod that takes mail runs what is planned.

    A pod that does not run yet is not waited for: it will start with it.
    """
    if plan.obstacle is not None:
        return plan.obstacle
    if scale.wanted == 0:
        text = "the pool is being deleted" if observed.pool.meta.deleting else ""
        return judged("Programmed", "False", "NoPods", text)
    counted = [
        pod
        for pod in observed.pods
        if 0 <= pod.ordinal < scale.wanted
        and not pod.deleting
        and (pod.ready or report(observed, pod.name) is not None)
    ]
    silent = [pod.name for pod in counted if report(observed, pod.name) is None]
    said = {pod.name: found for pod in counted if (found := report(observed, pod.name)) is not None}
    late = [name for name, found in said.items() if found.config.hash != plan.hash]
    run = f"{len(counted) - len(silent) - len(late)} of {len(counted)} pods run {plan.hash[:_SHOWN]}"
    refused = [f"{name}: {said[name].config.error}" for name in late if said[name].config.error]
    if refused:
        text = f"{run}; {'; '.join(refused)}; use a relay image of the operator's version"
        return judged("Programmed", "False", "Refused", text)
    if silent:
        why = "; ".join(f"{name}: {observed.relays.get(name) or 'not asked yet'}" for name in silent)
        text = f"{run}; {why}; let the operator reach port {names.ADMIN_PORT} of the pods"
        return judged("Programmed", "False", "Unreachable", text)
    if late or not counted:
        text = f"{run}; waiting for {', '.join(late)}" if late else "no pod runs yet; see Ready"
        return judged("Programmed", "False", "Pending", text)
    return judged("Programmed", "True", "Programmed", run)
