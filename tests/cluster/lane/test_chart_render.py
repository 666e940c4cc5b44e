"""The chart as real Helm renders it: every combination keeps the rules, and refuses what cannot be meant."""

import itertools
import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.cluster.driver.failure import ClusterError
from tests.cluster.lane import helm as charts
from tests.cluster.lane.helm import CHART, GOLDEN, GOLDENS, NAMESPACE, VERSION, Body, Helm, HelmError

from waystation_operator.cluster import permissions

SCOPES: dict[str, Any] = {
    "cluster": {},
    "granted": {"poolNamespaces": ["mail"], "secretNamespaces": ["shop", "blog"]},
    "namespaced": {"watchNamespaces": ["mail", "shop"]},
}
IMAGES: dict[str, Any] = {
    "plain": {},
    "registry": {"imageRegistry": "registry.example.com:5000/mail/", "imagePullSecrets": [{"name": "login"}]},
    "tags": {"relay": {"image": {"tag": "2.0.0"}}, "operator": {"image": {"tag": "1.0.0"}}},
    "digests": {
        "relay": {"image": {"digest": f"sha256:{'a' * 64}"}},
        "operator": {"image": {"repository": "ghcr.io/x/o", "digest": f"sha256:{'b' * 64}"}},
    },
}
TOGGLES: dict[str, Any] = {
    "off": {},
    "on": {
        "crds": {"keep": False},
        "monitoring": {
            "service": {"enabled": True},
            "podMonitor": {"enabled": True},
            "prometheusRule": {"enabled": True},
            "dashboards": {"enabled": True},
        },
        "operator": {"networkPolicy": {"enabled": True}, "replicas": 2, "runAsUser": None},
        "commonLabels": {"app.kubernetes.io/part-of": "mail", "team": "x"},
    },
    "bare": {
        "crds": {"enabled": False},
        "rbac": {"create": False, "aggregate": False},
        "operator": {
            "serviceAccount": {"create": False, "name": "mine"},
            "leaderElection": {"enabled": False},
        },
        "test": {"pool": "outbound"},
    },
}
RELEASES = {"waystation": "waystation", "long": "release".ljust(53, "x")}  # the longest that Helm takes


def merged(*parts: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            inside = isinstance(value, dict) and isinstance(whole.get(key), dict)
            whole[key] = merged(whole[key], value) if inside else value
    return whole


COMBINATIONS = [
    pytest.param(
        RELEASES[release],
        merged(SCOPES[scope], IMAGES[image], TOGGLES[toggle]),
        id=f"{release} {scope} {image} {toggle}",
    )
    for release, scope, image, toggle in itertools.product(RELEASES, SCOPES, IMAGES, TOGGLES)
    if not (scope == "granted" and toggle == "bare")  # refused: nothing would be granted
]


@pytest.fixture(scope="session")
def helm() -> Helm:
    try:
        return charts.found()
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)


def pods(objects: list[Body]) -> Iterator[Body]:
    """Everything that a kubelet would be given."""
    for body in objects:
        if body["kind"] == "Pod":
            yield body
        elif body["kind"] == "Deployment":
            yield body["spec"]["template"]


def test_lint(helm: Helm) -> None:
    """`helm lint --strict` has nothing to say."""
    helm("lint", "--strict", str(CHART), f"--kube-version={VERSION}")


@pytest.mark.parametrize("name", GOLDENS)
def test_it_is_what_it_was(helm: Helm, name: str) -> None:
    """A change of a template shows in what it renders; `python -m tests.cluster.lane.helm` writes it anew."""
    assert helm.text(GOLDENS[name]) == (GOLDEN / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(("release", "values"), COMBINATIONS)
def test_every_combination(helm: Helm, release: str, values: dict[str, Any]) -> None:
    """Names and labels are valid and consistent; pods pass `restricted`; no image floats; nothing may read
    all Secrets."""
    objects = helm.render(values, release=release)
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(keys) == len(set(keys))
    for body in objects:
        check_names(body, release, values)
    for pod in pods(objects):
        check_pod(pod["spec"])
    roles = [o for o in objects if o["kind"] in ("Role", "ClusterRole")]
    for role in roles:
        check_role(role)
    check_bindings(objects, {(o["kind"], o["metadata"]["name"]) for o in roles})


def check_names(body: Body, release: str, values: dict[str, Any]) -> None:
    metadata = body["metadata"]
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", metadata["name"]), metadata["name"]
    labels = metadata["labels"]
    assert labels["app.kubernetes.io/instance"] == release
    assert labels["app.kubernetes.io/managed-by"] == "Helm"
    assert labels["app.kubernetes.io/name"]
    assert all(len(value) <= 63 for value in labels.values())
    if body["kind"] != "Pod":  # the test's own, which nothing else must select
        assert set(values.get("commonLabels", {}).items()) <= set(labels.items())
    if "helm.sh/hook" in metadata.get("annotations", {}):
        assert metadata["annotations"]["helm.sh/hook"] == "test"


def check_pod(spec: Body) -> None:
    """The level `restricted` of the Pod Security Standards, and a root file system that stays as it is."""
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert all(set(volume) - {"name"} == {"emptyDir"} for volume in spec.get("volumes", ()))
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        image = container["image"]
        assert re.search(r"(@sha256:[0-9a-f]{64}|:[A-Za-z0-9_.-]+)\Z", image)
        assert not image.endswith(":latest")
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])


def check_role(role: Body) -> None:
    for rule in role["rules"]:
        assert "*" not in rule["resources"] + rule["verbs"] + rule["apiGroups"]
        if "secrets" in rule["resources"]:
            assert not {"list", "watch"} & set(rule["verbs"])


def check_bindings(objects: list[Body], roles: set[tuple[str, str]]) -> None:
    """They bind roles of the chart to the operator's account; Secrets in one namespace at a time."""
    for body in objects:
        if body["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            ref = body["roleRef"]
            assert (ref["kind"], ref["name"]) in roles
            assert [subject["namespace"] for subject in body["subjects"]] == [NAMESPACE]
            assert body["kind"] == "RoleBinding" or not re.search("secret", ref["name"])


def rules_of(objects: list[Body], kind: str, name: str, namespace: str | None = None) -> list[Body]:
    (found,) = [
        o["rules"]
        for o in objects
        if (o["kind"], o["metadata"]["name"], o["metadata"].get("namespace")) == (kind, name, namespace)
    ]
    assert isinstance(found, list)
    return found


def manifests(*tables: tuple[permissions.Rule, ...]) -> list[Body]:
    return [rule.manifest() for table in tables for rule in table]


def test_roles_are_what_the_operator_needs(helm: Helm) -> None:
    """No more and no less than the operator's own table, in each scope."""
    objects = helm.render({})
    cluster = manifests(permissions.WATCHED, permissions.CLUSTER)
    assert rules_of(objects, "ClusterRole", "waystation-operator") == cluster
    assert rules_of(objects, "ClusterRole", "waystation-pool-secrets") == manifests(permissions.POOL_SECRETS)
    assert rules_of(objects, "ClusterRole", "waystation-secret-reader") == manifests(
        permissions.SECRET_READER
    )
    lease = rules_of(objects, "Role", "waystation-operator-lease", NAMESPACE)
    assert lease == manifests(permissions.lease("waystation-operator"))

    objects = helm.render({"watchNamespaces": ["mail", "shop"]})
    named = manifests(permissions.WATCHED, permissions.POOL_SECRETS, permissions.NAMESPACED)
    for namespace in ("mail", "shop"):
        assert rules_of(objects, "Role", "waystation-operator", namespace) == named
    assert {o["metadata"]["name"] for o in objects if o["kind"] == "ClusterRole"} == {
        "waystation-view",
        "waystation-edit",
    }
    assert [o for o in objects if o["kind"] == "ClusterRoleBinding"] == []


def test_each_grant_is_in_its_namespace(helm: Helm) -> None:
    """poolNamespaces may be written to, secretNamespaces read; nothing is bound anywhere else."""
    objects = helm.render({"poolNamespaces": ["mail", NAMESPACE], "secretNamespaces": ["shop"]})
    bound = {
        (o["metadata"]["namespace"], o["roleRef"]["name"])
        for o in objects
        if o["kind"] == "RoleBinding" and o["roleRef"]["kind"] == "ClusterRole"
    }
    assert bound == {
        ("mail", "waystation-pool-secrets"),
        (NAMESPACE, "waystation-pool-secrets"),
        ("shop", "waystation-secret-reader"),
    }


@pytest.mark.parametrize(
    ("values", "namespace", "pool"),
    [
        ({"poolNamespaces": ["mail", "shop"]}, "mail", "waystation-test"),
        ({"poolNamespaces": ["mail", NAMESPACE]}, NAMESPACE, "waystation-test"),
        ({"watchNamespaces": ["mail", "shop"]}, "mail", "waystation-test"),
        ({"watchNamespaces": ["mail", NAMESPACE]}, NAMESPACE, "waystation-test"),
        ({"test": {"namespace": "mail", "pool": "outbound"}}, "mail", "outbound"),
    ],
)
def test_the_test_is_where_it_can_work(helm: Helm, values: Body, namespace: str, pool: str) -> None:
    """All of `helm test` is in one namespace, where the operator may make pools; one that exists is used."""
    hooks = [o for o in helm.render(values) if "helm.sh/hook" in o["metadata"].get("annotations", {})]
    assert {o["metadata"]["namespace"] for o in hooks} == {namespace}
    assert [o["metadata"]["name"] for o in hooks if o["kind"] == "RelayPool"] == [pool] * (pool != "outbound")
    (route,) = [o for o in hooks if o["kind"] == "MailRoute"]
    assert route["spec"]["parentRefs"] == [{"name": pool}]
    (sender,) = [
        c for o in hooks if o["kind"] == "Pod" for c in o["spec"]["containers"] if c["name"] == "sender"
    ]
    assert f"--server={pool}.{namespace}.svc:25" in sender["args"]


def test_without_a_namespace_for_it_there_is_no_test(helm: Helm) -> None:
    """The test grants nothing by itself, so where nothing is granted it could only fail."""
    assert [o for o in helm.render({}) if o["metadata"].get("annotations")] == [
        o for o in helm.render({}) if o["kind"] == "CustomResourceDefinition"
    ]


@pytest.mark.parametrize("digest", ["", f"sha256:{'c' * 64}"], ids=["loaded", "pushed"])
def test_what_skaffold_sets_is_taken(helm: Helm, digest: str) -> None:
    """skaffold.yaml's values, as it would expand them for images it pushed or only loaded into a cluster."""
    (release,) = charts.documents((charts.ROOT / "skaffold.yaml").read_text(encoding="utf-8"))[0]["deploy"][
        "helm"
    ]["releases"]
    built = {"REPO": "reg.test/dev", "TAG": "d" * 64, "DIGEST": digest}
    templates = {
        key: re.sub(r"\{\{\.IMAGE_([A-Z]+)_(\w+)\}\}", lambda found: built[found[1]], template)
        for key, template in release["setValueTemplates"].items()
    }
    settings = [f"--set={key}={value}" for key, value in {**release["setValues"], **templates}.items()]
    where = (f"--namespace={release['namespace']}", f"--kube-version={VERSION}")
    objects = charts.documents(helm("template", release["name"], str(CHART), *where, *settings))
    wanted = f"reg.test/dev@{digest}" if digest else f"reg.test/dev:{'d' * 64}"
    (operator,) = [
        o["spec"]["template"]["spec"]["containers"][0] for o in objects if o["kind"] == "Deployment"
    ]
    assert operator["image"] == wanted
    assert f"--relay-image={wanted}" in operator["args"]
    assert {o["metadata"]["namespace"] for o in objects if o["kind"] == "RelayPool"} == {release["namespace"]}


@pytest.mark.parametrize("keep", [True, False])
def test_definitions_are_added_to_and_not_changed(helm: Helm, keep: bool) -> None:
    """What Helm installs is crds/ with labels and, where they are to stay, an annotation."""
    rendered = {
        o["metadata"]["name"]: o
        for o in helm.render({"crds": {"keep": keep}})
        if o["kind"] == "CustomResourceDefinition"
    }
    assert len(rendered) == 2
    for file in (charts.ROOT / "crds").iterdir():
        (definition,) = charts.documents(file.read_text(encoding="utf-8"))
        found = rendered[definition["metadata"]["name"]]
        annotations = found["metadata"].pop("annotations", {})
        assert annotations == ({"helm.sh/resource-policy": "keep"} if keep else {})
        assert found["metadata"].pop("labels")
        assert found == definition


REFUSED = [
    ({"operator": {"replica": 2}}, "additional properties 'replica' not allowed"),
    ({"operator": {"replicas": "2"}}, "/operator/replicas': got string, want integer"),
    ({"operator": {"logLevel": "loud"}}, "must be one of 'debug', 'info', 'warning', 'error'"),
    ({"operator": {"podLabels": {"a": 1}}}, "/operator/podLabels/a': got number, want string"),
    ({"operator": {"runAsUser": 0}}, "/operator/runAsUser': minimum: got 0, want 1"),
    ({"operator": {"replicas": 2, "leaderElection": {"enabled": False}}}, "operator.replicas: more than one"),
    ({"operator": {"image": {"digest": "sha256:12"}}}, "/operator/image/digest'"),
    ({"relay": {"image": {"tag": "latest"}}}, "relay.image.tag: latest is another image tomorrow"),
    ({"watchNamespaces": ["Mail"]}, "/watchNamespaces/0': 'Mail' does not match"),
    ({"watchNamespaces": ["a", "a"]}, "/watchNamespaces': items at 0 and 1 are equal"),
    ({"watchNamespaces": ["a"], "poolNamespaces": ["a"]}, "leave them empty with watchNamespaces"),
    ({"poolNamespaces": ["a"], "rbac": {"create": False}}, "with rbac.create false nothing is granted"),
    ({"watchNamespaces": ["a"], "test": {"namespace": "b"}}, "the operator does not watch b"),
    (
        {"monitoring": {"prometheusRule": {"disabled": ["WaystationMailLate"]}}},
        "must be one of 'WaystationMailIsLate'",
    ),
    ({"test": {"clients": []}}, "/test/clients': minItems: got 0, want 1"),
]


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_what_cannot_be_meant_is_refused(helm: Helm, values: Body, said: str) -> None:
    """Nothing is installed, and the message names the value."""
    with pytest.raises(HelmError) as refused:
        helm.render(values)
    assert said in refused.value.said
