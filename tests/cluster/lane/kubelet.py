"""Plays the kubelet for one pod of a pool: mounts its Secrets, runs the real relay, reports its state.

As the real one, it looks at a pod's Secrets again when the pod is marked, and
otherwise after a minute. The relay listens on a loopback address of its own,
since the operator calls every relay at the same port.
"""

import base64
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.client import Body, Cluster
from tests.support.mounted import MountedSecret

from waystation_operator.plan.manifests import names

REFRESH_S = 60.0
_LOOK_S = 0.1


class Kubelet:
    def __init__(self, cluster: Cluster, namespace: str, pool: str, address: str, folder: Path) -> None:
        self._cluster, self._namespace, self._pool = cluster, namespace, pool
        self.address, self.pod, self._folder = address, f"{pool}-0", folder
        self._mounts = {
            name: MountedSecret(folder / name)
            for name in (names.config_secret(pool), names.admin_secret(pool))
        }
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Waits for the pod; afterwards the relay runs and the pod counts as ready."""
        pod = self._cluster.wait_for(
            lambda: self._cluster.get("pod", self.pod, self._namespace), f"pod {self.pod}"
        )
        for name in self._mounts:
            self._mount(name)
        argv = [sys.executable, "-m", "waystation", "relay", "--pod", self.pod]
        argv += ["--config", str(self._folder / names.config_secret(self._pool) / names.DOCUMENT)]
        argv += ["--data", str(self._folder / "data"), "--bind", self.address]
        argv += ["--admin", f"{self.address}:{names.ADMIN_PORT}"]
        argv += ["--admin-token-file", str(self._folder / names.admin_secret(self._pool) / names.TOKEN)]
        with (self._folder / "relay.log").open("ab") as out:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        self._marks = self._marks_of(pod)
        self._report()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(10)
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def _run(self) -> None:
        mounted = time.monotonic()
        while not self._stop.wait(_LOOK_S):
            with contextlib.suppress(Exception):
                pod = self._cluster.get("pod", self.pod, self._namespace) or {}
                marks = self._marks_of(pod)
                if marks != self._marks or time.monotonic() - mounted > REFRESH_S:
                    self._marks, mounted = marks, time.monotonic()
                    self._mount(names.config_secret(self._pool))

    def _marks_of(self, pod: Body) -> object:
        return pod.get("metadata", {}).get("annotations")

    def _mount(self, name: str) -> None:
        body = self._cluster.wait_for(
            lambda: self._cluster.get("secret", name, self._namespace), f"secret {name}"
        )
        self._mounts[name].put({key: base64.b64decode(value) for key, value in body["data"].items()})

    def _report(self) -> None:
        status = {
            "phase": "Running",
            "podIP": self.address,
            "podIPs": [{"ip": self.address}],
            "conditions": [{"type": kind, "status": "True"} for kind in ("Ready", "PodScheduled")],
        }
        self._cluster.kubectl(
            "patch",
            "pod",
            self.pod,
            f"--namespace={self._namespace}",
            "--subresource=status",
            "--type=merge",
            f"--patch={json.dumps({'status': status})}",
        )


@contextlib.contextmanager
def running(cluster: Cluster, namespace: str, pool: str, address: str, folder: Path) -> Iterator[Kubelet]:
    kubelet = Kubelet(cluster, namespace, pool, address, folder)
    try:
        kubelet.start()
        yield kubelet
    finally:
        kubelet.stop()
