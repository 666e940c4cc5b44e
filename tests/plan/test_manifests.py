"""The objects of a pool: what every pod has whatever the pool asks for, and what changes must not do."""

from pathlib import Path
from typing import Any

import pytest
from tests.api import apiserver
from tests.api.specs import schema
from tests.plan import golden
from tests.plan.scenario import UID, observed, read

from waystation_operator.plan.desired import Desired
from waystation_operator.plan.manifests import names
from waystation_operator.plan.reconcile import reconcile

Body = dict[str, Any]
SCENARIOS = [pytest.param(golden.WORLDS / f"{name}.yaml", id=name) for name in golden.SCENARIOS]


def pool(**spec: Any) -> Body:
    listeners = [{"name": "smtp", "port": 25, "clients": {"cidrs": ["10.0.0.0/8"]}}]
    return {
        "apiVersion": "waystation.dev/v1alpha1",
        "kind": "RelayPool",
        "metadata": {"name": "outbound", "namespace": "mail", "generation": 1},
        "spec": {"hostname": "relay.example.com", "listeners": listeners, **spec},
    }


def made(wishes: Desired, kind: str, name: str = "outbound") -> Body:
    (found,) = [x for x in wishes.objects if (x["kind"], x["metadata"]["name"]) == (kind, name)]
    return found


@pytest.mark.parametrize("path", SCENARIOS)
def test_everything_is_labelled_and_owned(path: Path) -> None:
    """Whatever is made goes with its pool, and says whose it is; claims, which hold mail, are not made."""
    for body in reconcile(read(path)).objects:
        metadata = body["metadata"]
        assert names.labels(metadata["labels"][names.POOL_LABEL]).items() <= metadata["labels"].items()
        assert [owner["uid"] for owner in metadata["ownerReferences"] if owner["controller"]] == [UID]
        assert body["kind"] != "PersistentVolumeClaim"


@pytest.mark.parametrize("path", SCENARIOS)
def test_pods_pass_the_restricted_standard(path: Path) -> None:
    """Pod Security Standard `restricted`, a root that cannot be written, and no token of the API server."""
    for body in reconcile(read(path)).objects:
        if body["kind"] != "StatefulSet":
            continue
        spec = body["spec"]["template"]["spec"]
        assert spec["automountServiceAccountToken"] is False
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= {
            "secret",
            "emptyDir",
        }
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"hostname": "other.example.com"}, id="hostname"),
        pytest.param({"retry": {"first": "5m"}}, id="retry"),
        pytest.param(
            {"listeners": [{"name": "new", "port": 2526, "clients": {"cidrs": ["10.0.0.0/8"]}}]},
            id="listeners",
        ),
        pytest.param({"queue": {"size": "20Gi"}}, id="queue size"),
        pytest.param({"scaleDown": {"drainTimeout": "1m"}}, id="scale-down"),
        pytest.param({"service": {"type": "LoadBalancer"}}, id="service"),
    ],
)
def test_configuration_restarts_nobody(change: Body) -> None:
    """What relays take up while they run leaves the pod template as it is."""
    before, after = reconcile(observed([pool()])), reconcile(observed([pool(**change)]))
    templates = [made(wishes, "StatefulSet")["spec"]["template"] for wishes in (before, after)]
    assert templates[0] == templates[1]


def test_what_cannot_be_changed_is_kept() -> None:
    """A StatefulSet's claim template, selector, Service and order stay as made; claims themselves grow."""
    world = read(golden.WORLDS / "shrinking.yaml")
    existing = world.children["StatefulSet", "outbound"]["spec"]
    wishes = reconcile(world)
    spec = made(wishes, "StatefulSet")["spec"]
    for field in ("volumeClaimTemplates", "selector", "serviceName", "podManagementPolicy"):
        assert spec[field] == existing[field]
    assert [(x.name, x.size) for x in wishes.claim_sizes] == [("queue-outbound-0", "20Gi")]


def test_people_cannot_take_labels_that_choose_pods() -> None:
    """Labels of the template go beside ours: the Service would lose pods whose labels were replaced."""
    wishes = reconcile(read(golden.WORLDS / "everything.yaml"))
    labels = made(wishes, "StatefulSet", "edge")["spec"]["template"]["metadata"]["labels"]
    assert names.active_selector("edge").items() <= labels.items()
    assert labels["team"] == "post"


@pytest.mark.parametrize("kind", ["NetworkPolicy", "PodMonitor"])
def test_what_is_switched_off_is_deleted(kind: str) -> None:
    """An optional object that the pool no longer asks for is taken away; somebody else's is not."""
    labels = {"app.kubernetes.io/managed-by": names.MANAGED_BY, names.POOL_LABEL: "outbound"}
    ours = {"kind": kind, "metadata": {"name": "outbound", "namespace": "mail", "uid": "u", "labels": labels}}
    gone = reconcile(observed([pool(), ours])).deletions
    assert [(x.kind, x.name, x.uid) for x in gone] == [(kind, "outbound", "u")]
    theirs = {"kind": kind, "metadata": {"name": "outbound", "namespace": "mail", "uid": "u"}}
    assert reconcile(observed([pool(), theirs])).deletions == ()


def test_the_admin_port_is_for_few() -> None:
    """With a NetworkPolicy anybody reaches SMTP, and the queue's own port only those who look after it."""
    smtp, admin = made(reconcile(read(golden.WORLDS / "everything.yaml")), "NetworkPolicy", "edge")["spec"][
        "ingress"
    ]
    assert [x["port"] for x in smtp["ports"]] == [2965, 2526]
    assert "from" not in smtp
    assert [x["port"] for x in admin["ports"]] == [names.ADMIN_PORT]
    assert all("podSelector" in x or "namespaceSelector" in x for x in admin["from"])


@pytest.mark.parametrize("path", SCENARIOS)
def test_statuses_are_what_the_definitions_allow(path: Path) -> None:
    """What is written as status passes the schema of the resource definitions."""
    wishes = reconcile(read(path))
    statuses = [("MailRoute", x.status) for x in wishes.route_statuses.values()]
    assert wishes.pool_status is not None
    for kind, status in [("RelayPool", wishes.pool_status), *statuses]:
        below = schema(kind)["properties"]["status"]
        assert list(apiserver.shape_errors(_plain(status), below, "status")) == []


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def test_a_configuration_too_large_for_a_secret_is_said() -> None:
    """The API server would refuse it; the pods keep what they have, and the pool says why."""
    patterns = [f"{n:060}@{'x' * 60}.example" for n in range(1000)]
    routes = [
        {
            "apiVersion": "waystation.dev/v1alpha1",
            "kind": "MailRoute",
            "metadata": {"name": f"r{n}", "namespace": "mail"},
            "spec": {
                "parentRefs": [{"name": "outbound"}],
                "match": {"recipients": [f"{n}{p}"[1:] for p in patterns]},
                "backends": [{"mx": {}}],
            },
        }
        for n in range(10)
    ]
    wishes = reconcile(observed([pool(), *routes]))
    assert wishes.pool_status is not None
    (programmed,) = [c for c in wishes.pool_status["conditions"] if c["type"] == "Programmed"]
    assert (programmed["status"], programmed["reason"]) == ("False", "TooLarge")
    assert {x["kind"] for x in wishes.objects} == {
        "ServiceAccount",
        "Secret",
        "Service",
        "PodDisruptionBudget",
    }
    assert [x["metadata"]["name"] for x in wishes.objects if x["kind"] == "Secret"] == ["outbound-admin"]
