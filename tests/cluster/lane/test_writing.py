"""How objects are written: unknown fields, several writers of one object, and what kubectl says meanwhile."""

import json

import pytest
from tests.cluster.client import Cluster, KubectlError
from tests.cluster.lane.api import Api
from tests.cluster.lane.objects import resource


@pytest.mark.parametrize(
    ("kind", "field"),
    [
        pytest.param("RelayPool", "replica", id="misspelt"),
        pytest.param("RelayPool", "listeners[0].tls.secret_name", id="snake case"),
        pytest.param("RelayPool", "queue.sise", id="in a group"),
        pytest.param("MailRoute", "backends[0].mx.host", id="in a group without fields"),
        pytest.param("MailRoute", "match.sender", id="singular"),
    ],
)
def test_unknown_field_is_refused(api: Api, namespace: str, kind: str, field: str) -> None:
    """A misspelt field is named and nothing is stored: with strict validation, which kubectl asks for."""
    answer = api.create(resource(kind, {field: "x"}), namespace)
    assert answer.code == 400
    assert f'unknown field "spec.{field}"' in answer.body["message"]


def test_unknown_field_warns_those_who_ask_for_that(api: Api, namespace: str) -> None:
    """Clients that only warn store the object without the field, and hear of it."""
    answer = api.create(resource("RelayPool", {"replica": 5}), namespace, validation="Warn")
    assert answer.accepted
    assert answer.warnings == ('unknown field "spec.replica"',)
    assert "replica" not in answer.body["spec"]


def test_kubectl_apply_refuses_unknown_fields(cluster: Cluster, namespace: str) -> None:
    """kubectl apply, as everybody uses it, names the field."""
    text = json.dumps(resource("RelayPool", {"colour": "blue"}))
    with pytest.raises(KubectlError, match=r'unknown field "spec\.colour"'):
        cluster.kubectl("apply", f"--namespace={namespace}", "--filename=-", stdin=text)


@pytest.mark.parametrize("metadata", [{"annotations": {"a": 1}}, {"labels": ["a"]}], ids=["number", "list"])
def test_metadata_is_checked_too(api: Api, namespace: str, metadata: object) -> None:
    """Our schema leaves metadata to Kubernetes, which checks it."""
    body = resource("MailRoute")
    body["metadata"] |= metadata
    assert not api.create(body, namespace).accepted


def written_by(
    cluster: Cluster, manager: str, namespace: str, body: dict[str, object], *options: str
) -> None:
    cluster.kubectl(
        "apply",
        "--server-side",
        f"--field-manager={manager}",
        f"--namespace={namespace}",
        *options,
        "--filename=-",
        stdin=json.dumps(body),
    )


def test_two_writers_share_a_pool(cluster: Cluster, api: Api, namespace: str) -> None:
    """One team owns the pool, another adds a listener of its own: listeners are merged by name."""
    pool = resource("RelayPool", name="shared")
    written_by(cluster, "one", namespace, pool)
    other = {"name": "submission", "port": 587, "clients": {"cidrs": ["10.1.0.0/16"]}}
    addition = {key: pool[key] for key in ("apiVersion", "kind", "metadata")}
    spec = {"hostname": pool["spec"]["hostname"], "listeners": [other]}
    written_by(cluster, "two", namespace, addition | {"spec": spec})
    written_by(cluster, "one", namespace, pool)
    listeners = api.get("RelayPool", "shared", namespace)["spec"]["listeners"]
    assert {listener["name"] for listener in listeners} == {"smtp", "submission"}


def test_two_writers_of_one_field_conflict(cluster: Cluster, namespace: str) -> None:
    """Who writes another's field is told whose it is, and may insist."""
    pool = resource("RelayPool", {"replicas": 2}, "contested")
    written_by(cluster, "one", namespace, pool)
    pool["spec"]["replicas"] = 3
    with pytest.raises(KubectlError, match=r'conflict with "one".*\.spec\.replicas'):
        written_by(cluster, "two", namespace, pool)
    written_by(cluster, "two", namespace, pool, "--force-conflicts")


def test_applying_without_replicas_leaves_the_autoscaler_alone(
    cluster: Cluster, api: Api, namespace: str
) -> None:
    """A manifest without replicas, applied again and again, never undoes what an autoscaler wrote."""
    pool = resource("RelayPool", name="scaled")
    written_by(cluster, "gitops", namespace, pool)
    cluster.kubectl("scale", "relaypool/scaled", "--replicas=6", f"--namespace={namespace}")
    written_by(cluster, "gitops", namespace, pool)
    assert api.get("RelayPool", "scaled", namespace)["spec"]["replicas"] == 6


def test_conditions_are_merged_by_type(api: Api, cluster: Cluster, namespace: str) -> None:
    """Another controller may add a condition of its own; the operator's next write leaves it there."""
    pool = resource("RelayPool", name="watched")
    api.create(pool, namespace, keep=True)
    named = {key: pool[key] for key in ("apiVersion", "kind", "metadata")}
    for manager, kind in (("operator", "Ready"), ("other", "example.com/Audited"), ("operator", "Ready")):
        condition = {
            "type": kind,
            "status": "True",
            "reason": "Fine",
            "message": "",
            "lastTransitionTime": "2026-11-25T00:00:00Z",
        }
        body = named | {"status": {"conditions": [condition]}}
        written_by(cluster, manager, namespace, body, "--subresource=status")
    conditions = api.get("RelayPool", "watched", namespace)["status"]["conditions"]
    assert {found["type"] for found in conditions} == {"Ready", "example.com/Audited"}
