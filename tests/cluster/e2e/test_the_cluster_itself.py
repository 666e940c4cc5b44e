"""What the tests of the product rely on: the test cluster behaves as a cluster does."""

import subprocess
from typing import Any

import pytest
from tests.cluster.client import Cluster, KubectlError
from tests.cluster.driver.images import SHELL_IMAGE

SECURE = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def container(script: str) -> dict[str, Any]:
    return {
        "name": "shell",
        "image": SHELL_IMAGE,
        "command": ["sh", "-c", script],
        "securityContext": SECURE,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }


def stateful_set(script: str, size: str = "1Gi") -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web"},
        "spec": {
            "serviceName": "web-pods",
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 1,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "fsGroup": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container(script) | {"readinessProbe": READINESS}],
                },
            },
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {
                        "accessModes": ["ReadWriteOncePod"],
                        "resources": {"requests": {"storage": size}},
                    },
                }
            ],
        },
    }


READINESS = {"httpGet": {"path": "/index.html", "port": 8080}, "periodSeconds": 1}
SERVE = "echo $$ started >>/data/index.html; echo serving; exec httpd -f -p 8080 -h /data"
SERVICES = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]} | more,
    }
    for name, more in (("web", {}), ("web-pods", {"clusterIP": "None"}))
]


@pytest.fixture(scope="module")
def web(cluster: Cluster, namespace: str) -> str:
    """A web server with a volume behind a Service, in a namespace where only restricted pods run."""
    if cluster.place is None:
        pytest.skip("another cluster (WAYSTATION_CONTEXT) need not be tested")
    cluster.apply([*SERVICES, stateful_set(SERVE)], namespace)
    cluster.wait_for_rollout("statefulset/web", namespace)
    return namespace


def page(cluster: Cluster, namespace: str) -> str:
    """What the server says through its Service's address, asked from its own pod."""
    address = (cluster.get("service", "web", namespace) or {})["spec"]["clusterIP"]
    return cluster.exec("web-0", namespace, "wget", "-q", "-O", "-", f"http://{address}:80/index.html")


def page_again(cluster: Cluster, namespace: str, *, within_s: float = 60.0) -> str:
    return cluster.wait_for(
        lambda: page(cluster, namespace), "the web server", within_s=within_s, namespace=namespace
    )


def test_pod_answers_through_its_service(cluster: Cluster, web: str) -> None:
    """Services reach pods, their own callers too; logs and exec work."""
    assert "started" in page_again(cluster, web)
    assert cluster.logs("web-0", web) == "serving\n"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("web", id="short"),
        pytest.param("web-0.web-pods.{}.svc.cluster.local", id="a pod's own"),
        pytest.param("kubernetes.default.svc.cluster.local", id="API server"),
    ],
)
def test_names_resolve(cluster: Cluster, web: str, name: str) -> None:
    """The cluster's DNS knows Services and pods behind headless ones."""
    assert "Address" in nslookup(cluster, web, name.format(web)).partition(":53")[2]


def nslookup(cluster: Cluster, namespace: str, name: str) -> str:
    return cluster.run("exec", "web-0", f"--namespace={namespace}", "--", "nslookup", name).stdout


def test_zone_of_a_test_is_served(cluster: Cluster, web: str) -> None:
    """A test's own zone answers within seconds; a name of no zone does not exist, which is said at once."""
    cluster.zone("mail.test", "@ IN MX 10 mx\nmx IN A 192.0.2.25")
    cluster.wait_for(lambda: "192.0.2.25" in nslookup(cluster, web, "mx.mail.test"), "the zone", within_s=10)
    assert "NXDOMAIN" in nslookup(cluster, web, "mx.other.test")


def test_files_outlive_their_pod(cluster: Cluster, web: str) -> None:
    """A pod that is deleted finds its volume again, and may write to it as its group."""
    before = page(cluster, web)
    cluster.delete("pod", "web-0", web)
    cluster.wait_for_rollout("statefulset/web", web)
    assert page_again(cluster, web).startswith(before)


def test_claim_grows(cluster: Cluster, web: str) -> None:
    """A claim that asks for more gets it, where the StorageClass allows growth."""
    cluster.kubectl(
        "patch",
        "pvc",
        "data-web-0",
        f"--namespace={web}",
        "--type=merge",
        '--patch={"spec":{"resources":{"requests":{"storage":"2Gi"}}}}',
    )

    def capacity() -> bool:
        return (cluster.get("pvc", "data-web-0", web) or {})["status"]["capacity"]["storage"] == "2Gi"

    cluster.wait_for(capacity, "2Gi", within_s=20, namespace=web)


def test_pod_below_the_namespace_level_is_refused(cluster: Cluster, web: str) -> None:
    """Pod Security restricted is enforced, so that a pod that starts here starts anywhere."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}}
    spec = {"containers": [{"name": "shell", "image": SHELL_IMAGE, "securityContext": {"runAsUser": 0}}]}
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        cluster.apply(pod | {"spec": spec}, web)


def test_container_killed_is_restarted(cluster: Cluster, web: str) -> None:
    """kill -9 of a pod's processes: the kubelet starts them again, with the same files."""
    before = page(cluster, web)
    cluster.kill_pod("web-0", web)
    cluster.wait_for(lambda: page(cluster, web) != before, "the page of a new process", namespace=web)


@pytest.mark.parametrize("program", ["kubelet", "containerd", "kube-apiserver", "etcd", "kube-proxy"])
def test_pods_outlive_the_program_that_is_killed(cluster: Cluster, web: str, program: str) -> None:
    """kill -9 of a part of Kubernetes stops no pod, and it works on when it is started again."""
    before = page(cluster, web)
    address = (cluster.get("pod", "web-0", web) or {})["status"]["podIP"]
    cluster.kill(program)
    try:
        from_node = cluster.enter(
            "/bin/busybox", "wget", "-q", "-O", "-", f"http://{address}:8080/index.html"
        )
        meanwhile = subprocess.run(from_node, capture_output=True, text=True, timeout=10, check=True).stdout
    finally:
        cluster.start(program)
    assert meanwhile == before
    assert page_again(cluster, web) == before


def test_node_comes_back_after_a_crash(cluster: Cluster, web: str) -> None:
    """All processes of the node killed at once: its pods start again, with their files."""
    before = page(cluster, web)
    cluster.crash_node()
    cluster.restart_node()
    cluster.wait_for(
        lambda: page(cluster, web) != before, "the page of a new process", within_s=120, namespace=web
    )
    assert page(cluster, web).startswith(before)


def test_volume_goes_with_its_claim(cluster: Cluster, web: str) -> None:
    """A deleted claim's folder is deleted: the reclaim policy is Delete."""
    folder = cluster.volume_of("data-web-0", web)
    assert folder.is_dir()
    cluster.delete("statefulset", "web", web)
    cluster.delete("pvc", "data-web-0", web)
    cluster.wait_for(lambda: not folder.exists(), f"{folder} to go", within_s=30, namespace=web)
