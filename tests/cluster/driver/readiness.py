"""Waiting until the cluster's programs do what they are for, and giving up early when one has died."""

import json
import subprocess
import time
from collections.abc import Callable

from tests.cluster.driver import binaries, daemon
from tests.cluster.driver.failure import ClusterError
from tests.cluster.driver.place import NODE, Place


def api_server(place: Place, *, within_s: float = 60.0) -> float:
    """Seconds until its /readyz says ok, roles and all."""
    return _until(place, "kube-apiserver", lambda: kubectl(place, "get", "--raw=/readyz") == "ok", within_s)


def service_accounts(place: Place, *, within_s: float = 30.0) -> float:
    """Until the controllers work: without its account no pod is let into a namespace."""
    account = ("get", "serviceaccount", "default", "--namespace=default", "--output=name")
    return _until(place, "kube-controller-manager", lambda: bool(kubectl(place, *account)), within_s)


def containerd(place: Place, *, within_s: float = 30.0) -> float:
    def answers() -> bool:
        argv = place.enter("ctr", f"--address={place.containerd_socket}", "version")
        return subprocess.run(argv, capture_output=True, timeout=10).returncode == 0

    return _until(place, "containerd", answers, within_s)


def node(place: Place, *, within_s: float = 60.0) -> float:
    """Until the node is Ready and its kubelet knows the pods that are there: just started again, it says
    for a while that none exists."""
    ready = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}"
    everywhere = ("get", "pods", "--all-namespaces", "--output=json")

    def knows_its_pods() -> bool:
        if kubectl(place, "get", "node", NODE, ready) != "True":
            return False
        there = _running_pods(kubectl(place, *everywhere))
        known = _pods(kubectl(place, "get", f"--raw=/api/v1/nodes/{NODE}/proxy/pods"))
        return there is not None and known is not None and set(there) <= set(known)

    return _until(place, "kubelet", knows_its_pods, within_s)


def _pods(text: str) -> dict[str, str] | None:
    """UID → phase."""
    if not text:
        return None
    return {pod["metadata"]["uid"]: pod["status"].get("phase", "") for pod in json.loads(text)["items"] or ()}


def _running_pods(text: str) -> list[str] | None:
    pods = _pods(text)
    return None if pods is None else [uid for uid, phase in pods.items() if phase == "Running"]


def kubectl(place: Place, *argv: str) -> str:
    """What it prints, or nothing when it fails."""
    command = [str(binaries.where("kubectl")), f"--kubeconfig={place.kubeconfig}", "--request-timeout=5s"]
    done = subprocess.run([*command, *argv], capture_output=True, text=True, timeout=30)
    return done.stdout if done.returncode == 0 else ""


def _until(place: Place, name: str, look: Callable[[], bool], within_s: float) -> float:
    began = time.monotonic()
    while not look():
        took = time.monotonic() - began
        if daemon.running(place, name) is None:
            raise ClusterError(f"{name} has ended; the end of {_end_of_log(place, name)}")
        if took > within_s:
            raise ClusterError(
                f"{name} is not ready after {within_s:.0f} s; the end of {_end_of_log(place, name)}"
            )
        time.sleep(0.1)
    return time.monotonic() - began


def _end_of_log(place: Place, name: str) -> str:
    log = daemon.log(place, name)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:] if log.exists() else []
    return f"{log}:\n" + "\n".join(f"    {line[:300]}" for line in lines)
