"""What the tests of trouble act on: a pool that mail flows through, its pods and their processes."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.client import Body, Cluster, KubectlError
from tests.cluster.driver.place import NODE_IP
from tests.cluster.e2e import resources
from tests.cluster.e2e.release import Release
from tests.cluster.e2e.trouble.traffic import Flow, Traffic

LEASE = "waystation-operator"
_ASK = ["--admin=http://127.0.0.1:8025", "--token-file=/etc/waystation/admin/token", "-o", "json"]


@dataclass(frozen=True, slots=True)
class Stage:
    """``namespace`` is the pools'."""

    cluster: Cluster
    namespace: str
    release: Release = field(repr=False)
    traffic: Traffic = field(repr=False)

    # Pools

    def make_pool(self, name: str, **spec: Any) -> None:
        """A pool whose mail goes to the sink; returns when it takes mail."""
        sink = resources.smarthost(NODE_IP, self.traffic.port, tls="None")
        pool = resources.pool(name, **spec)
        self.cluster.apply([pool, resources.route(name, sink, to=name)], self.namespace)
        self.wait_until_well(name)

    def change(self, kind: str, name: str, spec: Body) -> None:
        """Fields of the object's spec."""
        self.cluster.kubectl(
            "patch", kind, name, f"--namespace={self.namespace}", "--type=merge",
            f"--patch={json.dumps({'spec': spec})}",
        )  # fmt: skip

    def wait_until_well(self, pool: str, *, within_s: float = 150.0) -> None:
        """All of the pool's pods run what is planned, take mail, and have done so for a while."""
        for condition in ("Programmed", "Ready"):
            self.cluster.wait_for_condition("relaypool", pool, self.namespace, condition, within_s=within_s)

        def look() -> bool:
            body = self.cluster.get("statefulset", pool, self.namespace) or {}
            status, replicas = body["status"], body["spec"]["replicas"]
            updated = status.get("currentRevision") == status.get("updateRevision")
            return updated and status.get("availableReplicas") == replicas

        what = f"all pods of {pool} to be available"
        self.cluster.wait_for(look, what, within_s=within_s, namespace=self.namespace)

    def wait_for_reason(self, pool: str, condition: str, reason: str, *, within_s: float = 90.0) -> Body:
        """The pool's condition, once it has this reason."""

        def look() -> Body | None:
            status = (self.cluster.get("relaypool", pool, self.namespace) or {}).get("status", {})
            return next(
                (x for x in status.get("conditions", ()) if (x["type"], x["reason"]) == (condition, reason)),
                None,
            )

        what = f"{condition} {reason} of relaypool {pool}"
        return self.cluster.wait_for(look, what, within_s=within_s, namespace=self.namespace) or {}

    def pods(self, pool: str) -> dict[str, Body]:
        found = self.cluster.items("pods", self.namespace, f"waystation.dev/pool={pool}")
        return {pod["metadata"]["name"]: pod for pod in found}

    def restarts(self, pod: str) -> int:
        body = self.cluster.get("pod", pod, self.namespace) or {}
        return restarts(body)

    def wait_until_ready(self, pod: str, but_not: str = "", *, within_s: float = 120.0) -> Body:
        """The pod, once it is ready; with ``but_not``, a uid, once another pod of that name is."""

        def look() -> Body | None:
            body = self.cluster.get("pod", pod, self.namespace)
            return body if body and body["metadata"]["uid"] != but_not and is_ready(body) else None

        found = self.cluster.wait_for(
            look, f"pod {pod} to be ready", within_s=within_s, namespace=self.namespace
        )
        return found or {}

    # Mail

    @contextmanager
    def mail(self, name: str, pool: str, **how: Any) -> Iterator[Flow]:
        """Mail flows through the pool's Service while the block runs; see ``Traffic.flow``."""
        service = self.cluster.get("service", pool, self.namespace) or {}
        address = service["spec"]["clusterIP"]
        queued = how.pop("queued", lambda: self.queued(pool))
        with self.traffic.flow(name, address, queued=queued, **how) as flow:
            yield flow

    def queued(self, pool: str) -> set[str]:
        """The senders of all that the relays of a pool have in their queues."""
        found: set[str] = set()
        for pod in self.pods(pool):
            with contextlib.suppress(KubectlError, subprocess.TimeoutExpired):
                listed = self.cluster.exec(pod, self.namespace, "waystation", "queue", "list", *_ASK)
                found |= {message["sender"] for message in json.loads(listed)}
        return found

    # Violence

    def kill_process(self, pod: str, namespace: str = "") -> None:
        """kill -9 of what runs in the pod's containers, not of the pod's sandbox."""
        body = self.cluster.get("pod", pod, namespace or self.namespace) or {}
        pids = list(_processes(body["metadata"]["uid"]))
        assert pids, f"no process of pod {pod} runs here"
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def wait_for_restart(self, pod: str, before: int, *, within_s: float = 120.0) -> None:
        """The pod's container was started again, and is ready."""
        self.cluster.wait_for(
            lambda: self.restarts(pod) > before, f"{pod} to be started again", within_s=within_s,
            namespace=self.namespace,
        )  # fmt: skip
        self.wait_until_ready(pod, within_s=within_s)

    # The operator

    def operators(self) -> dict[str, Body]:
        found = self.cluster.items("pods", self.release.namespace, "app.kubernetes.io/component=operator")
        return {pod["metadata"]["name"]: pod for pod in found}

    def leader(self) -> str:
        """The name of the pod that holds the lease; empty when none does."""
        lease = self.cluster.get("lease", LEASE, self.release.namespace) or {}
        holder: str = lease.get("spec", {}).get("holderIdentity") or ""
        return next((name for name in self.operators() if holder.startswith(name)), "")

    def scale_operator(self, replicas: int) -> None:
        self.cluster.kubectl(
            "scale", "deployment/waystation-operator", f"--namespace={self.release.namespace}",
            f"--replicas={replicas}",
        )  # fmt: skip
        self.cluster.wait_for(
            lambda: len(self.operators()) == replicas and all(map(is_ready, self.operators().values())),
            f"{replicas} operators", within_s=120,
        )  # fmt: skip


def restarts(pod: Body) -> int:
    return sum(found["restartCount"] for found in pod.get("status", {}).get("containerStatuses", ()))


def is_ready(pod: Body) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any((found["type"], found["status"]) == ("Ready", "True") for found in conditions)


def identities(objects: Mapping[str, Body]) -> dict[str, str]:
    """Name → uid: the same again means that nothing was made anew."""
    return {name: body["metadata"]["uid"] for name, body in objects.items()}


def _processes(uid: str) -> Iterator[int]:
    """Those of a pod's containers; the one that holds its sandbox is /pause."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"pod{uid}" in (folder / "cgroup").read_text(encoding="utf-8"):
                argv = (folder / "cmdline").read_bytes()
                if argv and not argv.startswith(b"/pause"):
                    yield int(folder.name)


@contextmanager
def exit_codes(cluster: Cluster, namespace: str) -> Iterator[Callable[[], dict[str, set[str]]]]:
    """Watches the pods of a namespace; the function says with what their containers have ended, by pod."""
    shown = '{.metadata.name} {.status.containerStatuses[*].state.terminated.exitCode}{"\\n"}'
    argv = [cluster.kubectl_path, "get", "pods", "--watch", f"--kubeconfig={cluster.kubeconfig}"]
    argv += [f"--context={cluster.context}", f"--namespace={namespace}", f"--output=jsonpath={shown}"]
    told: dict[str, set[str]] = {}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    rest = b""

    def look() -> dict[str, set[str]]:
        nonlocal rest
        assert process.stdout is not None
        *lines, rest = (rest + (process.stdout.read() or b"")).split(b"\n")
        for line in lines:
            name, *codes = line.decode().split()
            told.setdefault(name, set()).update(codes)
        return told

    try:
        yield look
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
