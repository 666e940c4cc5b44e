"""/scale and /status: what autoscalers and the operator write, each without touching the other's part."""

import json
from typing import Any

import pytest
from tests.cluster.client import Cluster
from tests.cluster.lane.api import Api
from tests.cluster.lane.objects import resource

SELECTOR = "waystation.dev/pool=outbound,waystation.dev/role=active"


@pytest.fixture
def pool(api: Api, namespace: str) -> str:
    """A pool of one relay that the operator has written a status for."""
    body = resource("RelayPool")
    name: str = body["metadata"]["name"]
    assert api.create(body, namespace, keep=True).accepted
    status = {"status": {"replicas": 3, "readyReplicas": 2, "selector": SELECTOR}}
    assert api.merge("RelayPool", name, namespace, status, subresource="status").accepted
    return name


def test_scale_tells_wanted_actual_and_selector(api: Api, namespace: str, pool: str) -> None:
    """An autoscaler reads how many relays are wanted, how many there are, and which pods to look at."""
    scale = api.get("RelayPool", pool, namespace, "scale")
    assert scale["kind"] == "Scale"
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 3, "selector": SELECTOR}


def test_scale_of_a_new_pool_can_be_read(api: Api, namespace: str) -> None:
    """Before the operator has said anything: the default is there, and no selector that would match all."""
    body = resource("RelayPool")
    api.create(body, namespace, keep=True)
    scale = api.get("RelayPool", body["metadata"]["name"], namespace, "scale")
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"] == {"replicas": 0}


def test_scale_is_written_to_the_spec(api: Api, namespace: str, pool: str) -> None:
    """What an autoscaler writes is spec.replicas, and nothing else of the pool changes."""
    before = api.get("RelayPool", pool, namespace)
    scale = api.get("RelayPool", pool, namespace, "scale")
    answer = api.replace(scale | {"spec": {"replicas": 5}}, namespace, subresource="scale")
    assert answer.accepted, answer.body
    after = api.get("RelayPool", pool, namespace)
    assert after["spec"] == before["spec"] | {"replicas": 5}
    assert after["status"] == before["status"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1


@pytest.mark.parametrize("replicas", [-1, 1001])
def test_scale_obeys_the_limits(api: Api, namespace: str, pool: str, replicas: int) -> None:
    """No way around the schema leads through /scale."""
    answer = api.merge("RelayPool", pool, namespace, {"spec": {"replicas": replicas}}, subresource="scale")
    assert answer.code == 422
    assert api.get("RelayPool", pool, namespace)["spec"]["replicas"] == 1


def test_scale_of_an_old_version_is_refused(api: Api, namespace: str, pool: str) -> None:
    """Two autoscalers that read the same pool do not overwrite each other."""
    scale = api.get("RelayPool", pool, namespace, "scale")
    assert api.replace(scale | {"spec": {"replicas": 2}}, namespace, subresource="scale").accepted
    assert api.replace(scale | {"spec": {"replicas": 9}}, namespace, subresource="scale").code == 409


def test_kubectl_scale_works(cluster: Cluster, api: Api, namespace: str, pool: str) -> None:
    """People scale a pool as they scale anything else."""
    cluster.kubectl("scale", f"relaypool/{pool}", "--replicas=4", f"--namespace={namespace}")
    assert api.get("RelayPool", pool, namespace)["spec"]["replicas"] == 4


def test_autoscaler_finds_what_it_needs(cluster: Cluster, namespace: str, pool: str) -> None:
    """The HPA controller reads the pool's scale: it can scale, and complains of metrics alone, if at all."""
    if cluster.place is None:
        pytest.skip("another cluster (WAYSTATION_CONTEXT) may have no HPA controller that answers in time")
    cluster.kubectl(
        "autoscale", f"relaypool/{pool}", "--max=5", "--cpu=50%", f"--namespace={namespace}", f"--name={pool}"
    )

    def able() -> bool:
        body = cluster.get("hpa", pool, namespace) or {}
        conditions = {c["type"]: c for c in body.get("status", {}).get("conditions", ())}
        return conditions.get("AbleToScale", {}).get("reason") == "SucceededGetScale"

    cluster.wait_for(able, "SucceededGetScale of the HPA", within_s=60, namespace=namespace)


def test_status_is_written_through_status_alone(api: Api, namespace: str, pool: str) -> None:
    """Who may write pools cannot fake their status, and the operator's writes leave the spec alone."""
    before = api.get("RelayPool", pool, namespace)
    both: dict[str, Any] = {"spec": {"replicas": 7}, "status": {"readyReplicas": 99}}
    assert api.merge("RelayPool", pool, namespace, both).accepted
    body = api.get("RelayPool", pool, namespace)
    assert (body["spec"]["replicas"], body["status"]["readyReplicas"]) == (7, 2)
    assert api.merge(
        "RelayPool", pool, namespace, both | {"spec": {"replicas": 8}}, subresource="status"
    ).accepted
    body = api.get("RelayPool", pool, namespace)
    assert (body["spec"]["replicas"], body["status"]["readyReplicas"]) == (7, 99)
    assert body["metadata"]["generation"] == before["metadata"]["generation"] + 1


def test_status_of_a_new_object_is_dropped(api: Api, namespace: str) -> None:
    """A status in a manifest, such as one of a backup, is not taken over."""
    route = resource("MailRoute") | {"status": {"observedGeneration": 9}}
    api.create(route, namespace, keep=True)
    assert "status" not in api.get("MailRoute", route["metadata"]["name"], namespace)


@pytest.mark.parametrize(
    ("status", "says"),
    [
        pytest.param({"readyReplicas": -1}, "greater than or equal to 0", id="negative figure"),
        pytest.param(
            {"conditions": [{"type": "Ready", "status": "Yes"}]}, "Unsupported value", id="judgement"
        ),
        pytest.param({"conditions": [{"type": "Ready"}]}, "Required value", id="half a condition"),
        pytest.param({"pods": [{"ordinal": 1}, {"ordinal": 1}]}, "Duplicate value", id="one pod twice"),
        pytest.param({"queue": {"oldestArrivalTime": "yesterday"}}, "date-time", id="a time that is none"),
    ],
)
def test_status_has_a_form_too(api: Api, namespace: str, pool: str, status: Any, says: str) -> None:
    """A bug in the operator cannot store what nobody can read."""
    answer = api.merge("RelayPool", pool, namespace, {"status": status}, subresource="status")
    assert answer.code == 422
    assert says in json.dumps(answer.body)
