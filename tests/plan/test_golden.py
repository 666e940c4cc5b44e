"""Whole examples, to the byte: what relays are told and what is done in a cluster about a few YAML files."""

import json
from typing import Any

import msgspec
import pytest
from tests.plan import golden

from waystation_contract import codec
from waystation_contract.model import Document
from waystation_operator.api.objects import RelayPool
from waystation_operator.api.relaypool import container_port
from waystation_operator.local.load import load
from waystation_operator.local.place import place
from waystation_operator.local.topology import document_of
from waystation_operator.plan.manifests import names
from waystation_operator.plan.manifests.secrets import decoded
from waystation_operator.plan.observed import Meta, Observed, ObservedPool, ObservedRoute, Settings
from waystation_operator.plan.reconcile import reconcile
from waystation_operator.plan.world import World, plan_world


@pytest.mark.parametrize("case", golden.CASES)
def test_plan_is_what_it_was(case: str) -> None:
    """The plan of golden/CASE.yaml is golden/CASE.json; `python -m tests.plan.golden` writes it anew."""
    assert golden.planned(case) == golden.expectation(case).read_text(encoding="utf-8")


@pytest.mark.parametrize("scenario", golden.SCENARIOS)
def test_what_is_done_about_a_pool_is_what_it_was(scenario: str) -> None:
    """All that is desired in the world of reconcile/SCENARIO.yaml is reconcile/SCENARIO.json."""
    assert golden.desired(scenario) == golden.expected(scenario).read_text(encoding="utf-8")


def test_every_expectation_has_its_yaml() -> None:
    """No expectation is left of an example that is gone."""
    assert sorted(path.stem for path in golden.FOLDER.glob("*.json")) == golden.CASES
    assert sorted(path.stem for path in golden.WORLDS.glob("*.json")) == golden.SCENARIOS


@pytest.mark.parametrize("case", golden.CASES)
def test_cluster_and_local_mode_have_one_plan(case: str) -> None:
    """A pool's pods in a cluster and its processes on one machine are told the same, but for the ports."""
    loaded = load([str(golden.FOLDER / f"{case}.yaml")])
    world = loaded.world
    plans, _ = plan_world(world, lambda port: 2500 + port)
    placement = place(plans, 2500, sink=False)
    pods = {pod.plan.pool.identity.key: pod for pod in placement.pods}
    assert sorted(pods) == sorted(pool.identity.key for pool in world.pools)
    for pool in world.pools:
        document, files = document_of(pods[pool.identity.key], placement, ())
        in_cluster = decoded(_config_secret(pool, world))
        told = codec.decode(in_cluster.pop(names.DOCUMENT))[0]
        assert {x.service_port: x.port for x in told.listeners} == {
            x.port: container_port(x.port) for x in pool.spec.listeners
        }
        assert _without_ports(told) == _without_ports(document)
        assert in_cluster == files


def _config_secret(pool: RelayPool, world: World) -> dict[str, Any]:
    observed = Observed(
        pool=ObservedPool(pool.identity, Meta(uid="u"), pool),
        settings=Settings(relay_image="relay"),
        now=0.0,
        admin_token="token",
        routes=tuple(
            ObservedRoute(x.identity, Meta(), x, parent_refs=x.spec.parent_refs) for x in world.routes
        ),
        namespaces=world.namespaces,
        secrets=world.secrets,
    )
    wanted = names.config_secret(pool.identity.name)
    (secret,) = [x for x in reconcile(observed).objects if x["metadata"]["name"] == wanted]
    return secret


def _without_ports(document: Document) -> Document:
    listeners = tuple(msgspec.structs.replace(x, port=1) for x in document.listeners)
    return msgspec.structs.replace(document, listeners=listeners)


@pytest.mark.parametrize("case", golden.CASES)
def test_relays_accept_what_is_planned(case: str) -> None:
    """What is planned passes the relay's strict reading."""
    for planned in json.loads(golden.planned(case))["pools"]:
        codec.decode(json.dumps(planned["document"]).encode())
