"""A pool's world written as YAML, and what happens when the plan's wishes come true.

A scenario file has the objects as the API server would give them, and besides:

    kind: Relay       what a pod's relay answers: ``metadata.name`` the pod, ``report`` or ``error``;
                      ``hash: PLANNED`` is the hash of what is planned
    kind: Finding     of a probe: ``target``, ``ok``, ``reason``, ``message``
    kind: Forbidden   ``secrets``: namespace/name of those that the operator may not read
    kind: Ungrown     ``claims``: name → why the API server refused to let it grow
    kind: Settings    what the operator was started with
"""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML

from waystation_operator.api.parse import parse
from waystation_operator.plan import reading, report
from waystation_operator.plan.desired import Desired, Finalizer
from waystation_operator.plan.findings import Finding, Target
from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Observed, Settings
from waystation_operator.plan.reconcile import reconcile

NOW = 1_900_000_000.0  # 2030-03-17T17:46:40Z
IMAGE = "registry.example/waystation-relay:1"
TOKEN = "the-token"
UID = "00000000-0000-4000-8000-000000000001"
Body = dict[str, Any]

CHILDREN = (
    "StatefulSet",
    "Service",
    "Secret",
    "ServiceAccount",
    "PodDisruptionBudget",
    "NetworkPolicy",
    "PodMonitor",
)


def read(path: Path) -> Observed:
    yaml = YAML(typ="safe", pure=True)
    documents = [json.loads(json.dumps(x, default=str)) for x in yaml.load_all(path.read_text("utf-8")) if x]
    return _with_hash(observed(documents))


def _with_hash(world: Observed) -> Observed:
    """``hash: PLANNED`` stands for whatever the plan's hash is."""
    planned = reconcile(world).config_hash
    relays = {
        pod: msgspec.structs.replace(said, config=msgspec.structs.replace(said.config, hash=planned))
        if isinstance(said, report.RelayReport) and said.config.hash == "PLANNED"
        else said
        for pod, said in world.relays.items()
    }
    return dataclasses.replace(world, relays=relays)


def observed(bodies: list[Body], now: float = NOW) -> Observed:
    """The world of the one pool among the bodies."""
    by_kind: dict[str, list[Body]] = {}
    for body in bodies:
        by_kind.setdefault(body["kind"], []).append(body)
    (pool,) = by_kind["RelayPool"]
    pool["metadata"].setdefault("uid", UID)
    name = pool["metadata"]["name"]
    own = {names.config_secret(name), names.admin_secret(name)}
    secrets = {x["metadata"]["name"]: x for x in by_kind.get("Secret", [])}
    parsed = [parse(x)[0] for x in by_kind.get("Secret", []) if x["metadata"]["name"] not in own]
    children = [
        x
        for kind in CHILDREN
        for x in by_kind.get(kind, [])
        if kind != "Secret" or x["metadata"]["name"] in own
    ]
    return Observed(
        pool=reading.pool(pool),
        settings=_settings(by_kind.get("Settings", [])),
        now=now,
        admin_token=TOKEN,
        routes=tuple(reading.route(x) for x in by_kind.get("MailRoute", [])),
        namespaces={
            x["metadata"]["name"]: x["metadata"].get("labels", {}) for x in by_kind.get("Namespace", [])
        },
        secrets={x.identity.key: x for x in parsed if x is not None} if secrets else {},
        forbidden=frozenset(s for x in by_kind.get("Forbidden", []) for s in x["secrets"]),
        children={(x["kind"], x["metadata"]["name"]): x for x in children},
        pods=tuple(reading.pod(x) for x in by_kind.get("Pod", [])),
        claims=tuple(reading.claim(x) for x in by_kind.get("PersistentVolumeClaim", [])),
        ungrown={name: why for x in by_kind.get("Ungrown", []) for name, why in x["claims"].items()},
        relays={x["metadata"]["name"]: _relay(x) for x in by_kind.get("Relay", [])},
        findings=tuple(
            Finding(Target(**x["target"]), x["ok"], x["reason"], x["message"], now - 30)
            for x in by_kind.get("Finding", [])
        ),
    )


def _relay(body: Body) -> report.RelayReport | str:
    return body["error"] if "error" in body else report.read(json.dumps(body["report"]).encode())


def _settings(bodies: list[Body]) -> Settings:
    given = bodies[0]["settings"] if bodies else {}
    return Settings(**{"relay_image": IMAGE, "operator_namespace": "waystation-system", **given})


def applied(world: Observed, wishes: Desired) -> Observed:
    """The world after everything that was desired has been done and the API server has filled nothing in."""
    children = dict(world.children)
    for body in wishes.objects:
        made = copy.deepcopy(body)
        made["metadata"].setdefault("uid", f"uid of {body['kind']} {body['metadata']['name']}")
        children[body["kind"], body["metadata"]["name"]] = made
    for gone in wishes.deletions:
        children.pop((gone.kind, gone.name))
    meta = world.pool.meta
    if wishes.finalizer is Finalizer.ADD:
        meta = dataclasses.replace(meta, finalizers=(*meta.finalizers, names.FINALIZER))
    if wishes.finalizer is Finalizer.REMOVE:
        meta = dataclasses.replace(meta, finalizers=tuple(x for x in meta.finalizers if x != names.FINALIZER))
    status = world.pool.status if wishes.pool_status is None else wishes.pool_status
    patches = {patch.name: patch for patch in wishes.pod_patches}
    sizes = {claim.name: reading.size_or_zero(claim.size) for claim in wishes.claim_sizes}
    return dataclasses.replace(
        world,
        pool=dataclasses.replace(world.pool, meta=meta, status=copy.deepcopy(dict(status))),
        children=children,
        pods=tuple(
            dataclasses.replace(
                pod,
                labels={**pod.labels, **patches[pod.name].labels},
                annotations={**pod.annotations, **patches[pod.name].annotations},
            )
            if pod.name in patches
            else pod
            for pod in world.pods
        ),
        claims=tuple(
            dataclasses.replace(claim, size_bytes=sizes.get(claim.name, claim.size_bytes))
            for claim in world.claims
        ),
        routes=tuple(
            dataclasses.replace(route, status=copy.deepcopy(dict(written.status)))
            if (written := wishes.route_statuses.get(route.identity.key))
            else route
            for route in world.routes
        ),
    )


def shown(wishes: Desired) -> Body:
    """Everything that is desired, as plain data; the contract document in place of its base64."""
    whole = dataclasses.asdict(wishes)
    whole["finalizer"] = wishes.finalizer.value
    whole["objects"] = [_legible(body) for body in wishes.objects]
    return {key: value for key, value in whole.items() if value not in (None, (), {}, [], "")}


def _legible(body: Body) -> Body:
    if body["kind"] != "Secret":
        return body
    sizes = {key: f"{len(value)} characters of base64" for key, value in body["data"].items()}
    return {**body, "data": sizes}
