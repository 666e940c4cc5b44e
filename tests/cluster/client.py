"""A Kubernetes cluster as tests see it: kubectl, waiting that ends, and kill -9 of what it runs on.

``Cluster`` is any cluster a kubeconfig leads to. One that this folder's driver
started has a ``place`` too, and with it programs that can be killed; in any
other cluster a test that needs that is skipped, and says so.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from ruamel.yaml import YAML
from tests.cluster import diagnosis
from tests.cluster.driver import daemon, leftovers, lifecycle
from tests.cluster.driver.place import Place

T = TypeVar("T")
Body = dict[str, Any]
_ALIASES = {
    "apiserver": "kube-apiserver",
    "api": "kube-apiserver",
    "controllers": "kube-controller-manager",
    "scheduler": "kube-scheduler",
    "proxy": "kube-proxy",
}


class KubectlError(AssertionError):
    """kubectl ended with an error; ``stderr`` is what it said."""

    def __init__(self, argv: tuple[str, ...], stderr: str) -> None:
        super().__init__(f"kubectl {' '.join(argv)}: {stderr.strip()}")
        self.stderr = stderr


@dataclass(frozen=True, slots=True)
class Cluster:
    kubectl_path: str = field(repr=False)
    kubeconfig: Path
    context: str
    place: Place | None = field(default=None, repr=False)

    # Asking and telling

    def kubectl(self, *argv: str, stdin: str | None = None, within_s: float = 60.0) -> str:
        """What it prints; KubectlError when it fails."""
        done = self.run(*argv, stdin=stdin, within_s=within_s)
        if done.returncode:
            raise KubectlError(argv, done.stderr)
        return done.stdout

    def run(
        self, *argv: str, stdin: str | None = None, within_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """kubectl, whatever comes of it."""
        return subprocess.run(
            self.command(*argv), input=stdin, capture_output=True, text=True, timeout=within_s
        )

    def command(self, *argv: str) -> list[str]:
        """kubectl's command line, for what goes on beside the test."""
        options = (f"--kubeconfig={self.kubeconfig}", f"--context={self.context}")
        return [self.kubectl_path, *argv[:1], *options, *argv[1:]]

    def environment(self) -> dict[str, str]:
        """For programs that find the cluster by KUBECONFIG: helm, the operator."""
        return os.environ | {"KUBECONFIG": str(self.kubeconfig)}

    def apply(self, manifest: str | Body | list[Body], namespace: str = "") -> None:
        """Server-side apply of YAML text, one object or several."""
        self.kubectl(
            "apply",
            "--server-side",
            "--force-conflicts",
            *_in(namespace),
            "--filename=-",
            stdin=_text(manifest),
        )

    def get(self, kind: str, name: str, namespace: str = "") -> Body | None:
        """The object, or ``None`` when there is none of this name."""
        text = self.kubectl("get", kind, name, *_in(namespace), "--output=json", "--ignore-not-found")
        return json.loads(text) if text else None

    def items(self, kind: str, namespace: str = "", selector: str = "") -> list[Body]:
        """All objects of a kind: in a namespace, or everywhere."""
        where = _in(namespace) or ("--all-namespaces",)
        text = self.kubectl("get", kind, *where, f"--selector={selector}", "--output=json")
        found: list[Body] = json.loads(text)["items"]
        return found

    def delete(self, kind: str, name: str, namespace: str = "", *, wait: bool = True) -> None:
        self.kubectl(
            "delete", kind, name, *_in(namespace), f"--wait={str(wait).lower()}", "--ignore-not-found"
        )

    def exec(self, pod: str, namespace: str, *argv: str, container: str = "", within_s: float = 60.0) -> str:
        where = (*_in(namespace), *((f"--container={container}",) if container else ()))
        return self.kubectl("exec", pod, *where, "--", *argv, within_s=within_s)

    def logs(self, pod: str, namespace: str, *options: str) -> str:
        return self.kubectl("logs", pod, *_in(namespace), *options)

    # Waiting

    def wait_for(
        self,
        look: Callable[[], T],
        what: str,
        *,
        within_s: float = 60.0,
        namespace: str = "",
        every_s: float = 0.25,
    ) -> T:
        """What ``look`` returns once that is truthy. The failure names ``what``, the value or error seen
        last, and, for a namespace, its objects, events and logs. A failing kubectl is looked at again."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                seen: Any = look()
            except (KubectlError, subprocess.TimeoutExpired) as error:
                seen, last = None, str(error)
            else:
                last = repr(seen)
            if seen:
                return seen
            if time.monotonic() > deadline:
                shown = f"\n{diagnosis.namespace(self, namespace)}" if namespace else ""
                raise AssertionError(f"waited {within_s:g} s for {what}; last seen: {last}{shown}")
            time.sleep(every_s)

    def wait_for_condition(
        self,
        kind: str,
        name: str,
        namespace: str,
        condition: str,
        status: str = "True",
        *,
        within_s: float = 60.0,
    ) -> Body:
        """The condition of ``status.conditions`` once it has this status for the object's own generation."""

        def look() -> Body | None:
            body = self.get(kind, name, namespace) or {}
            for found in body.get("status", {}).get("conditions", ()):
                current = found.get("observedGeneration", body["metadata"].get("generation", 0))
                if (found["type"], found["status"]) == (condition, status) and current == body[
                    "metadata"
                ].get("generation", 0):
                    return found
            return None

        what = f"{condition}={status} of {kind} {namespace}/{name}"
        return self.wait_for(look, what, within_s=within_s, namespace=namespace) or {}

    def wait_for_rollout(self, workload: str, namespace: str, *, within_s: float = 120.0) -> None:
        """Until every replica of ``statefulset/NAME`` or ``deployment/NAME`` is new and ready."""

        def look() -> bool:
            self.kubectl("rollout", "status", workload, *_in(namespace), "--timeout=2s")
            return True

        self.wait_for(look, f"rollout of {workload}", within_s=within_s, namespace=namespace)

    # Namespaces

    @contextmanager
    def namespace(self, name: str, *, pod_security: str = "restricted") -> Iterator[str]:
        """A namespace in which only pods of this security level run; deleted with all that is in it.
        ``WAYSTATION_KEEP=1`` keeps it to be looked at."""
        level = {"pod-security.kubernetes.io/enforce": pod_security}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": level}})
        try:
            yield name
        finally:
            if not os.environ.get("WAYSTATION_KEEP"):
                self.delete("namespace", name, wait=False)

    # The cluster's own programs

    def kill(self, program: str) -> None:
        """kill -9 of kubelet, containerd, kube-apiserver (or apiserver), etcd…; pods stay."""
        lifecycle.kill(self._ours(), _ALIASES.get(program, program))

    def start(self, program: str) -> None:
        """Start it again, and wait until it works."""
        lifecycle.start(self._ours(), _ALIASES.get(program, program))

    def crash_node(self) -> None:
        """kill -9 of kubelet, containerd and every process of every pod: a node that loses power."""
        lifecycle.crash_node(self._ours())

    def restart_node(self) -> None:
        lifecycle.restart_node(self._ours())

    def kill_pod(self, name: str, namespace: str) -> None:
        """kill -9 of all processes in a pod's containers; the kubelet will notice."""
        place = self._ours()
        uid = (self.get("pod", name, namespace) or {})["metadata"]["uid"]
        leftovers.kill_pod(place, uid)

    def enter(self, *argv: str) -> tuple[str, ...]:
        """The command, run on the node: there Services, pods and the cluster's DNS are reachable."""
        return self._ours().enter(*argv)

    def zone(self, origin: str, records: str) -> None:
        """Serve a DNS zone to all pods: its records as in a zone file, SOA and NS aside. Names of no zone
        do not exist."""
        place = self._ours()
        serial = time.time_ns() // 10**9 % 2**32
        head = f"$ORIGIN {origin}.\n$TTL 1\n@ IN SOA ns. nobody. {serial} 60 60 60 1\n@ IN NS ns.\n"
        file = place.zones / f"db.{origin}"
        half = place.zones / f".{origin}"
        half.write_text(f"{head}{records}\n", encoding="utf-8")
        half.rename(file)

    def volume_of(self, claim: str, namespace: str) -> Path:
        """The folder behind a claim."""
        body = self.get("pvc", claim, namespace) or {}
        return self._ours().volumes / body["spec"]["volumeName"]

    def log_of(self, program: str) -> Path:
        return daemon.log(self._ours(), _ALIASES.get(program, program))

    def _ours(self) -> Place:
        if self.place is None:
            pytest.skip(
                "the cluster is not the test cluster's own (WAYSTATION_CONTEXT): its node is out of reach"
            )
        return self.place


def _in(namespace: str) -> tuple[str, ...]:
    return (f"--namespace={namespace}",) if namespace else ()


def _text(manifest: str | Body | list[Body]) -> str:
    if isinstance(manifest, str):
        return manifest
    items = manifest if isinstance(manifest, list) else [manifest]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def documents(text: str) -> list[Body]:
    """The objects in YAML text."""
    return [body for body in YAML(typ="safe", pure=True).load_all(text) if body]
