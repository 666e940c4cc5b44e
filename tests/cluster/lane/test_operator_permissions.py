"""The operator with the documented permissions and no others, on a real API server with RBAC."""

import json
from pathlib import Path

from tests.cluster.client import Body, Cluster
from tests.cluster.lane.operators import condition, pool, route, running

from waystation_operator.cluster import permissions

SOON_S = 15.0
READER = "waystation-secret-reader"


def account(cluster: Cluster, namespace: str, name: str, folder: Path) -> Path:
    """A ServiceAccount that may do nothing yet; returns a kubeconfig that is it."""
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
    )
    token = cluster.kubectl("create", "token", name, f"--namespace={namespace}").strip()
    shown = json.loads(cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "--output=json"))
    shown["users"] = [{"name": name, "user": {"token": token}}]
    shown["contexts"][0]["context"]["user"] = name
    file = folder / f"{name}.kubeconfig"
    file.write_text(json.dumps(shown), encoding="utf-8")
    return file


def bound(role: Body, namespace: str, subject: tuple[str, str]) -> list[Body]:
    """A role, and its binding: of the whole cluster when ``namespace`` is empty."""
    kind = "RoleBinding" if namespace else "ClusterRoleBinding"
    metadata = {"name": role["metadata"]["name"]} | ({"namespace": namespace} if namespace else {})
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": role["kind"],
            "name": role["metadata"]["name"],
        },
        "subjects": [{"kind": "ServiceAccount", "namespace": subject[0], "name": subject[1]}],
    }
    return [role, binding]


def test_in_one_namespace_a_role_there_is_enough(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """With --watch-namespace nothing outside of that namespace is asked for, and all works."""
    me = (namespace, "narrow")
    kubeconfig = account(cluster, namespace, "narrow", tmp_path)
    rules = (
        *permissions.WATCHED,
        *permissions.NAMESPACED,
        *permissions.POOL_SECRETS,
        *permissions.lease("narrow"),
    )
    cluster.apply(bound(permissions.role("narrow", rules, namespace), namespace, me))
    options = (f"--watch-namespace={namespace}", f"--lease-namespace={namespace}", "--lease-name=narrow")
    with running(cluster, tmp_path, *options, kubeconfig=kubeconfig) as operator:
        operator.wait_for("watch.began")
        labels = {
            "allowedRoutes": {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"m": "y"}}}}
        }
        listener = {"name": "smtp", "port": 25, "clients": {"cidrs": ["10.0.0.0/8"]}, **labels}
        cluster.apply([pool("out", namespace, listeners=[listener]), route("all", namespace, "out")])
        cluster.wait_for(lambda: cluster.get("statefulset", "out", namespace), "pods", within_s=SOON_S)
        cluster.wait_for(
            lambda: (
                (condition(cluster.get("mailroute", "all", namespace), "Accepted") or {}).get("status")
                == "False"
            ),
            "the route refused: its namespace lacks the label",
            within_s=SOON_S,
        )
        assert operator.metric("api_requests_total", result="403") == 0
        assert operator.metric("events_total") > 0
        assert operator.stop() == 0


def test_in_the_whole_cluster_secrets_are_read_only_where_granted(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """Cluster scope: no Secret is anybody's until its namespace binds a role; then it works by itself."""
    me = (namespace, "wide")
    kubeconfig = account(cluster, namespace, "wide", tmp_path)
    rules = (*permissions.WATCHED, *permissions.CLUSTER)
    lease = permissions.role("wide-lease", permissions.lease("wide"), namespace)
    cluster.apply(
        [
            *bound(permissions.role("wide", rules), "", me),
            *bound(lease, namespace, me),
            permissions.role("waystation-pool-secrets", permissions.POOL_SECRETS),
            permissions.role(READER, permissions.SECRET_READER),
        ]
    )
    with (
        cluster.namespace(f"{namespace}-shop") as shop,
        running(
            cluster,
            tmp_path,
            f"--lease-namespace={namespace}",
            "--lease-name=wide",
            kubeconfig=kubeconfig,
        ) as operator,
    ):
        operator.wait_for("watch.began")
        listener = {
            "name": "smtp",
            "port": 25,
            "clients": {"cidrs": ["10.0.0.0/8"]},
            "allowedRoutes": {"namespaces": {"from": "All"}},
        }
        host = {"smartHost": {"host": "127.0.0.9", "port": 587, "tls": "Required", "authSecretName": "login"}}
        login = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "login", "namespace": shop},
            "stringData": {"username": "u", "password": "p"},
        }
        refs = [{"name": "granted", "namespace": namespace}]
        cluster.apply(
            [
                pool("granted", namespace, listeners=[listener]),
                login,
                route("shop", shop, "granted", parentRefs=refs, backends=[host]),
            ]
        )
        refused = cluster.wait_for_condition(
            "relaypool", "granted", namespace, "Programmed", "False", within_s=SOON_S
        )
        assert refused["reason"] == "SecretForbidden"
        assert cluster.get("secret", "granted-admin", namespace) is None

        role = permissions.role("waystation-pool-secrets", permissions.POOL_SECRETS)
        cluster.apply(bound(role, namespace, me)[1:])
        cluster.wait_for(
            lambda: cluster.get("statefulset", "granted", namespace),
            "the pool, once its namespace lets the operator at its Secrets",
            within_s=65,
        )
        cluster.wait_for(
            lambda: (
                (condition(cluster.get("mailroute", "shop", shop), "ResolvedRefs") or {}).get("status")
                == "False"
            ),
            "the route to say that its Secret may not be read",
            within_s=65,
        )
        cluster.apply(bound(permissions.role(READER, permissions.SECRET_READER), shop, me)[1:])
        cluster.wait_for(
            lambda: (
                (condition(cluster.get("mailroute", "shop", shop), "ResolvedRefs") or {}).get("status")
                == "True"
            ),
            "the route's Secret read",
            within_s=65,
        )
        # Of ours only: in a namespace of another test that is going away, everything is forbidden.
        told = [(line["event"], json.dumps(line)) for line in operator.lines()]
        denied = {event for event, text in told if "forbidden" in text and namespace in text}
        assert denied <= {"pool.failed", "object.refused"}
        assert operator.metric("api_requests_total", result="403", verb="list") == 0


def test_what_is_missing_is_said(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """Without its roles the operator waits, names what it may not do, and begins once it may."""
    me = (namespace, "poor")
    kubeconfig = account(cluster, namespace, "poor", tmp_path)
    options = (f"--watch-namespace={namespace}", "--no-leader-election")
    with running(cluster, tmp_path, *options, kubeconfig=kubeconfig) as operator:
        problem = operator.wait_for("start.waiting")["problem"]
        assert f"relaypools in namespace {namespace} cannot be listed" in problem
        assert "docs/operator.md" in problem
        assert operator.get("/livez")[0] == 200
        assert operator.get("/readyz")[0] == 503
        rules = (*permissions.WATCHED, *permissions.NAMESPACED, *permissions.POOL_SECRETS)
        cluster.apply(bound(permissions.role("poor", rules, namespace), namespace, me))
        operator.wait_for("start.synced", within_s=35)
        assert len(operator.lines("start.waiting")) == 1
