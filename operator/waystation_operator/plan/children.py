"""Which objects a pool has, in the order in which they are needed, and which it no longer has."""

from collections.abc import Iterator
from typing import Any

from waystation_operator.api import units
from waystation_operator.plan import ownership
from waystation_operator.plan.desired import ClaimSize, Reference
from waystation_operator.plan.manifests import disruption, names, networkpolicy, podmonitor, secrets, services
from waystation_operator.plan.manifests.serviceaccount import service_account
from waystation_operator.plan.manifests.statefulset import resized, stateful_set
from waystation_operator.plan.observed import Observed, ObservedClaim
from waystation_operator.plan.planned import Planned, may_write_secrets
from waystation_operator.plan.reading import mapping, text
from waystation_operator.plan.scaling import Scale

_OPTIONAL = {"NetworkPolicy": "networking.k8s.io/v1", "PodMonitor": "monitoring.coreos.com/v1"}


def objects(observed: Observed, plan: Planned, scale: Scale) -> Iterator[dict[str, Any]]:
    """What pods mount comes before them. Without a configuration no pod is started; those there are stay."""
    pool, uid = observed.pool.pool, observed.pool.meta.uid
    name = observed.pool.identity.name
    existing = observed.children.get(("StatefulSet", name))
    if pool is None:
        if existing is not None and observed.pool.meta.deleting:
            yield resized(existing, scale.replicas)
        return
    yield service_account(pool.identity, uid)
    if may_write_secrets(observed):
        yield secrets.admin(pool.identity, uid, observed.admin_token)
    if plan.secret is not None:
        yield dict(plan.secret)
    yield services.headless(pool, uid)
    yield services.smtp(pool, uid)
    yield disruption.disruption_budget(pool.identity, uid)
    if pool.spec.network_policy.enabled:
        yield networkpolicy.network_policy(pool, uid, observed.settings)
    if pool.spec.monitoring.pod_monitor and observed.settings.has_pod_monitors:
        yield podmonitor.pod_monitor(pool, uid)
    if plan.secret is not None or existing is not None:
        yield stateful_set(pool, uid, observed.settings, scale.replicas, existing)


def deletions(observed: Observed) -> Iterator[Reference]:
    """What the pool may have and has, but does not ask for any more."""
    pool = observed.pool.pool
    if pool is None:
        return
    asked = {
        "NetworkPolicy": pool.spec.network_policy.enabled,
        "PodMonitor": pool.spec.monitoring.pod_monitor,
    }
    theirs = ownership.foreign(observed)
    for kind, api_version in _OPTIONAL.items():
        found = observed.children.get((kind, pool.identity.name))
        if found is not None and not asked[kind] and (kind, pool.identity.name) not in theirs:
            uid = text(mapping(found, "metadata"), "uid")
            yield Reference(api_version, kind, pool.identity.namespace, pool.identity.name, uid)


def bound_claims(observed: Observed) -> Iterator[ObservedClaim]:
    """Those that a pod of the pool has, or had."""
    prefix = f"{names.CLAIM_TEMPLATE}-{observed.pool.identity.name}-"
    for claim in observed.claims:
        if claim.name.startswith(prefix) and claim.phase == "Bound" and not claim.deleting:
            yield claim


def claim_sizes(observed: Observed) -> Iterator[ClaimSize]:
    """Claims grow with the pool's queue; the template they were made from cannot be changed."""
    if observed.pool.pool is not None:
        size = observed.pool.pool.spec.queue.size_bytes
        for claim in bound_claims(observed):
            if 0 < claim.size_bytes < size:
                yield ClaimSize(claim.name, units.quantity(size))
