"""The chart on a real API server: installed, upgraded, uninstalled; what it grants, and what stays."""

import json
import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.cluster.client import Body, Cluster
from tests.cluster.driver import binaries, controlplane, debian
from tests.cluster.driver.failure import ClusterError
from tests.cluster.driver.place import CONTEXT
from tests.cluster.lane import helm as charts
from tests.cluster.lane.helm import CHART, GOLDENS, Helm, HelmError
from tests.cluster.lane.objects import resource

RELEASE, PLATFORM, MAIL, SHOP = "waystation", "platform", "mail", "shop"
OPERATOR = f"system:serviceaccount:{PLATFORM}:waystation-operator"
PROMETHEUS = {"PodMonitor", "PrometheusRule"}  # kinds that this API server does not have


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster of the module's own, since what is tested is also how definitions come and go."""

    cluster: Cluster
    helm: Helm

    def install(self, **values: Any) -> str:
        return self.helm("install", RELEASE, str(CHART), f"--namespace={PLATFORM}", values=values)

    def upgrade(self, **values: Any) -> str:
        return self.helm("upgrade", RELEASE, str(CHART), f"--namespace={PLATFORM}", values=values)

    def uninstall(self) -> None:
        self.helm("uninstall", RELEASE, f"--namespace={PLATFORM}", "--wait", "--ignore-not-found")

    def may(self, who: str, *what: str, groups: tuple[str, ...] = ()) -> bool:
        """Whether the API server lets ``who`` do ``what``."""
        as_group = [f"--as-group={group}" for group in groups]
        return self.cluster.run("auth", "can-i", *what, f"--as={who}", *as_group, "--quiet").returncode == 0


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    if os.environ.get("WAYSTATION_CONTEXT"):
        pytest.skip("these tests remove definitions, and every pool with them: never from somebody's cluster")
    folder = tmp_path_factory.mktemp("chart")
    try:
        debian.require(debian.CONTROL_PLANE)
        binaries.build([*binaries.CONTROL_PLANE, "helm"])
        with controlplane.running(folder / "control-plane") as place:
            cluster = Cluster(str(binaries.where("kubectl")), place.kubeconfig, CONTEXT, place)
            for name in (PLATFORM, MAIL, SHOP):
                level = {"pod-security.kubernetes.io/enforce": "restricted"}
                cluster.apply(
                    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": level}}
                )
                cluster.wait_for(
                    lambda name=name: cluster.get("serviceaccount", "default", name), f"namespace {name}"
                )
            yield Site(cluster, charts.for_cluster(cluster, folder))
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def clean(site: Site) -> Iterator[Site]:
    """Nothing is installed, before and after."""
    yield site
    site.uninstall()
    remove_definitions(site)


def remove_definitions(site: Site) -> None:
    site.cluster.kubectl("delete", *DEFINITIONS, "--ignore-not-found", "--wait")


DEFINITIONS = tuple(
    f"customresourcedefinition/{name}.waystation.dev" for name in ("relaypools", "mailroutes")
)


def established(site: Site) -> None:
    site.cluster.kubectl("wait", "--for=condition=Established", *DEFINITIONS, "--timeout=30s")


def pool(site: Site, name: str = "outbound") -> None:
    established(site)
    site.cluster.apply(resource("RelayPool", name=name), MAIL)


def claim(site: Site, pool_name: str) -> str:
    """As a StatefulSet makes it for the pool's first pod."""
    name = f"queue-{pool_name}-0"
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": name, "labels": {"waystation.dev/pool": pool_name}}
    site.cluster.apply(
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}, MAIL
    )
    return name


@pytest.mark.parametrize("name", GOLDENS)
def test_the_api_server_takes_every_object(clean: Site, name: str) -> None:
    """No field is unknown or of the wrong type; what runs passes the admission of `restricted` pods."""
    definitions = clean.helm.render({}, namespace=PLATFORM)
    clean.cluster.apply([body for body in definitions if body["kind"] == "CustomResourceDefinition"])
    established(clean)
    objects = [
        body
        for body in clean.helm.render(GOLDENS[name], namespace=PLATFORM)
        if body["kind"] not in PROMETHEUS
    ]
    objects += [as_pod(body) for body in objects if body["kind"] == "Deployment"]
    for body in objects:
        clean.cluster.kubectl(
            "create", "--dry-run=server", "--validate=strict", "--filename=-", stdin=json.dumps(body)
        )


def as_pod(deployment: Body) -> Body:
    """Admission refuses pods, not the Deployments that would make them."""
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": "as-pod", "namespace": PLATFORM}
    spec = {key: value for key, value in template["spec"].items() if key != "serviceAccountName"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_a_release_comes_changes_and_goes(clean: Site) -> None:
    """Values changed by an upgrade are in force; after the release is gone, definitions, pools and queues are
    still there, and the next release takes them over."""
    clean.install(poolNamespaces=[MAIL])
    pool(clean)
    queue = claim(clean, "outbound")
    deployment = clean.cluster.get("deployment", "waystation-operator", PLATFORM) or {}
    assert deployment["spec"]["replicas"] == 1
    before = clean.cluster.get("relaypool", "outbound", MAIL) or {}

    clean.upgrade(secretNamespaces=[SHOP], operator={"replicas": 2, "logLevel": "debug"})
    deployment = clean.cluster.get("deployment", "waystation-operator", PLATFORM) or {}
    assert deployment["spec"]["replicas"] == 2
    assert "--log-level=debug" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert clean.cluster.get("rolebinding", "waystation-pool-secrets", MAIL) is None
    assert clean.cluster.get("rolebinding", "waystation-secret-reader", SHOP) is not None
    assert clean.cluster.get("relaypool", "outbound", MAIL) == before

    clean.uninstall()
    assert clean.cluster.get("deployment", "waystation-operator", PLATFORM) is None
    assert clean.cluster.items("clusterroles", selector="app.kubernetes.io/instance=waystation") == []
    assert clean.cluster.get("relaypool", "outbound", MAIL) == before
    assert clean.cluster.get("pvc", queue, MAIL) is not None

    clean.install(poolNamespaces=[MAIL])
    assert clean.cluster.get("relaypool", "outbound", MAIL) == before
    clean.cluster.delete("pvc", queue, MAIL, wait=False)


def test_definitions_go_where_that_is_asked_for(clean: Site) -> None:
    """With crds.keep false, uninstalling removes the definitions, and every pool with them."""
    clean.install(crds={"keep": False})
    pool(clean)
    clean.uninstall()
    assert clean.cluster.get("crd", "relaypools.waystation.dev") is None


def test_definitions_can_come_from_elsewhere(clean: Site) -> None:
    """Definitions that kubectl applied are not fought over: crds.enabled false leaves them alone, and
    --take-ownership makes them the release's."""
    clean.cluster.kubectl("apply", "--server-side", f"--filename={charts.ROOT / 'crds'}")
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        clean.install()
    clean.install(crds={"enabled": False})
    found = clean.cluster.get("crd", "relaypools.waystation.dev") or {}
    assert "labels" not in found["metadata"]
    clean.helm(
        "upgrade", RELEASE, str(CHART), f"--namespace={PLATFORM}", "--take-ownership", "--reset-values"
    )
    found = clean.cluster.get("crd", "relaypools.waystation.dev") or {}
    assert found["metadata"]["labels"]["app.kubernetes.io/instance"] == RELEASE


ANYWHERE = (
    ("patch", "statefulsets.apps"),
    ("watch", "mailroutes.waystation.dev"),
    ("patch", "relaypools.waystation.dev", "--subresource=status"),
    ("create", "events.events.k8s.io"),
)
SECRETS = ("create", "get", "patch")


def test_what_the_operator_may_in_a_whole_cluster(clean: Site) -> None:
    """It works in every namespace; Secrets it may use by name, where that is granted, and list nowhere."""
    clean.install(poolNamespaces=[MAIL], secretNamespaces=[SHOP])
    for what in ANYWHERE:
        assert clean.may(OPERATOR, *what, "--all-namespaces"), what
    may = {
        (namespace, verb): clean.may(OPERATOR, verb, "secrets", f"--namespace={namespace}")
        for namespace in (MAIL, SHOP, PLATFORM, "kube-system")
        for verb in (*SECRETS, "list", "watch", "delete")
    }
    allowed = {key for key, yes in may.items() if yes}
    assert allowed == {(MAIL, verb) for verb in SECRETS} | {(SHOP, "get")}
    lease = ("leases.coordination.k8s.io/waystation-operator", f"--namespace={PLATFORM}")
    assert clean.may(OPERATOR, "update", *lease)
    assert not clean.may(OPERATOR, "update", "leases.coordination.k8s.io/other", f"--namespace={PLATFORM}")
    assert not clean.may(OPERATOR, "create", "pods", f"--namespace={MAIL}")
    assert not clean.may(OPERATOR, "create", "clusterroles")


def test_what_the_operator_may_in_a_few_namespaces(clean: Site) -> None:
    """In those it may do everything it needs, and read their labels; in others it may do nothing at all."""
    clean.install(watchNamespaces=[MAIL, SHOP])
    for what in (*ANYWHERE, *((verb, "secrets") for verb in SECRETS)):
        for namespace, expected in ((MAIL, True), (SHOP, True), (PLATFORM, False), ("default", False)):
            assert clean.may(OPERATOR, *what, f"--namespace={namespace}") is expected, (what, namespace)
        assert not clean.may(OPERATOR, *what, "--all-namespaces")
    read = ["get", "namespace", MAIL, f"--as={OPERATOR}"]
    assert clean.cluster.run(*read).returncode == 0
    assert clean.cluster.run(*read[:2], "default", read[3]).returncode != 0


def test_what_people_may(clean: Site) -> None:
    """With `view` one sees the pools and routes of a namespace; with `edit` and `admin` one makes and scales
    them."""
    clean.install()
    where = f"--namespace={MAIL}"
    for role in ("view", "edit", "admin"):
        clean.cluster.kubectl("delete", "rolebinding", role, f"--namespace={MAIL}", "--ignore-not-found")
        clean.cluster.kubectl(
            "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}", f"--namespace={MAIL}"
        )
        writes = role != "view"
        # The controller that aggregates roles takes a moment.
        clean.cluster.wait_for(
            lambda role=role: clean.may(role, "list", "mailroutes.waystation.dev", where),
            f"{role} to see routes",
        )
        for what in (
            ("create", "relaypools.waystation.dev"),
            ("delete", "mailroutes.waystation.dev"),
            ("patch", "relaypools.waystation.dev", "--subresource=scale"),
        ):
            assert clean.may(role, *what, where) is writes, (role, what)
        assert clean.may(role, "get", "relaypools.waystation.dev", "--subresource=status", where)
        assert not clean.may(role, "patch", "relaypools.waystation.dev", "--subresource=status", where)
        assert not clean.may(role, "list", "mailroutes.waystation.dev", f"--namespace={SHOP}")


def test_helm_test_makes_what_it_needs(clean: Site) -> None:
    """The API server takes all of it, the pod last, which cannot run without a node: the test ends by its
    deadline. Only that pod is left then, and the next test begins anew."""
    clean.install(poolNamespaces=[MAIL])
    pods = []
    for _ in range(2):
        with pytest.raises(HelmError, match="timed out"):
            clean.helm("test", RELEASE, f"--namespace={PLATFORM}", "--timeout=3s")
        pods.append((clean.cluster.get("pod", "waystation-test", MAIL) or {})["metadata"]["uid"])
        for kind, name in (
            ("relaypool", "waystation-test"),
            ("mailroute", "waystation-test"),
            ("service", "waystation-test-mailbox"),
        ):
            assert clean.cluster.get(kind, name, MAIL) is None, kind
    assert pods[0] != pods[1]
    clean.cluster.delete("pod", "waystation-test", MAIL)


@pytest.mark.parametrize(
    ("values", "has", "lacks"),
    [
        (
            {},
            ("kubectl create rolebinding waystation -n mail", "2. Make a pool", "once poolNamespaces"),
            ("1. Make", "helm test waystation"),
        ),
        (
            {"poolNamespaces": [SHOP]},
            ("1. Make a pool", "namespace: shop", f"helm test {RELEASE} -n {PLATFORM}"),
            ("rolebinding",),
        ),
        ({"watchNamespaces": [MAIL, SHOP]}, ("works in mail, shop", "namespace: mail"), ("rolebinding",)),
        ({"crds": {"enabled": False}}, ("have to be there already",), ()),
    ],
    ids=["nothing granted", "granted", "namespaced", "no definitions"],
)
def test_notes_say_what_to_do_next(
    clean: Site, values: Body, has: tuple[str, ...], lacks: tuple[str, ...]
) -> None:
    """From an installed operator to a pool that takes mail: the commands that are needed, and no others."""
    said = clean.install(**values).partition("NOTES:\n")[2]
    assert [text for text in has if text not in said] == []
    assert [text for text in lacks if text in said] == []
    manifest = said.partition("<<'END'\n")[2].partition("     END\n")[0]
    if "crds" not in values:
        established(clean)
        clean.cluster.kubectl(
            "create", "--dry-run=server", "--validate=strict", "--filename=-", stdin=textwrap.dedent(manifest)
        )
