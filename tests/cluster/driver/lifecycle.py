"""The whole cluster up and down, and one program of it killed and started again.

``up`` brings about what is missing, whatever happened before: nothing at all,
half a cluster after a kill -9, or a restart of the machine. ``down`` leaves
nothing behind. Only one of them runs at a time.
"""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.driver import (
    binaries,
    components,
    configuration,
    credentials,
    daemon,
    debian,
    images,
    leftovers,
    network,
    readiness,
)
from tests.cluster.driver.daemon import Daemon
from tests.cluster.driver.failure import ClusterError
from tests.cluster.driver.place import MARK, Place

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def up(place: Place) -> None:
    _require_root()
    debian.require(debian.CONTROL_PLANE, debian.NODE)
    binaries.build()
    with alone(place):
        began = time.monotonic()
        _forget_before_restart(place)
        place.root.mkdir(parents=True, exist_ok=True)
        place.root.chmod(0o755)  # volumes below are opened by users who are not root
        (place.root / MARK).touch()
        (place.root / "boot-id").write_text(_BOOT_ID.read_text(encoding="ascii"), encoding="ascii")
        leftovers.remember_settings()
        leftovers.make_cgroups(place)
        network.make(place)
        credentials.write(place)
        configuration.write(place)
        _link_programs(place)
        _start_all(place)
        print(f"==> the cluster is up ({time.monotonic() - began:.1f} s)", flush=True)


def down(place: Place) -> None:
    _require_root()
    with alone(place):
        began = time.monotonic()
        _remove(place)
        print(f"==> the cluster is gone ({time.monotonic() - began:.1f} s)", flush=True)


def kill(place: Place, name: str) -> None:
    """kill -9 of one program; what it had started stays."""
    if not daemon.kill(place, name):
        raise AssertionError(f"{name} did not run; so there was nothing to kill")


def start(place: Place, name: str) -> None:
    """Start one program again and wait until it does its work."""
    daemon.start(place, component(place, name))
    _ready(place, name)


def crash_node(place: Place) -> None:
    """What a power cut does to the node's processes: kubelet, containerd and all pods are gone at once."""
    for name in ("kubelet", "containerd", "kube-proxy"):
        daemon.kill(place, name)
    leftovers.kill_pods(place)


def restart_node(place: Place) -> None:
    for name in ("containerd", "kube-proxy", "kubelet"):
        start(place, name)


def component(place: Place, name: str) -> Daemon:
    table = {
        c.name: c for c in (components.everything(place) if place.netns else components.control_plane(place))
    }
    if name not in table:
        raise AssertionError(f"no program {name!r} here; there are {', '.join(table)}")
    return table[name]


def is_up(place: Place) -> bool:
    return all(daemon.running(place, c.name) is not None for c in components.everything(place))


def _start_all(place: Place) -> None:
    """Stage by stage, since some programs give up when what they need does not answer yet."""
    stages = (
        ("etcd", "kube-apiserver", "gate", "containerd"),
        ("kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "storage"),
    )
    _stage(place, stages[0])
    _stage(place, stages[1])
    images.import_small(place)
    _apply_objects(place)
    _stage(place, ("kubelet",))


def _stage(place: Place, names: tuple[str, ...]) -> None:
    began = time.monotonic()
    started = [name for name in names if daemon.start(place, component(place, name))]
    for name in names:
        _ready(place, name)
    news = f"started {', '.join(started)}" if started else f"{', '.join(names)} ran already"
    print(f"    {news} ({time.monotonic() - began:.1f} s)", flush=True)


def _ready(place: Place, name: str) -> None:
    waits = {
        "kube-controller-manager": readiness.service_accounts,
        "containerd": readiness.containerd,
        "kubelet": readiness.node,
        # The gate after the API server, and through it.
        ("gate" if place.netns else "kube-apiserver"): readiness.api_server,
    }
    if name in waits:
        waits[name](place)


def _apply_objects(place: Place) -> None:
    objects = {"apiVersion": "v1", "kind": "List", "items": configuration.objects()}
    kubectl = [str(binaries.where("kubectl")), f"--kubeconfig={place.kubeconfig}"]
    argv = [*kubectl, "apply", "--server-side", "--force-conflicts", "--filename=-"]
    done = subprocess.run(argv, input=json.dumps(objects), capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ClusterError(f"kubectl apply: {done.stderr}")


def _forget_before_restart(place: Place) -> None:
    """After a restart of the machine, what programs noted about processes and mounts is untrue."""
    boot_id = place.root / "boot-id"
    if boot_id.exists() and boot_id.read_text(encoding="ascii") != _BOOT_ID.read_text(encoding="ascii"):
        print("==> the machine was restarted since: the cluster begins anew", flush=True)
        _remove(place)


def _remove(place: Place) -> None:
    for component_ in reversed(components.everything(place)):
        daemon.kill(place, component_.name)
    leftovers.kill_pods(place)
    leftovers.unmount(place)
    network.remove(place)
    leftovers.remove_cgroups(place)
    leftovers.restore_settings()
    leftovers.remove_files(place)


def _link_programs(place: Place) -> None:
    """kubectl and helm in one folder, for people's PATH."""
    folder = place.root / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("kubectl", "helm"):
        (folder / name).symlink_to(binaries.where(name))


def _require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            "the cluster needs root: it makes a network namespace and mounts; use a container or a virtual "
            "machine, or an existing cluster: make test-cluster WAYSTATION_CONTEXT=NAME"
        )


@contextlib.contextmanager
def alone(place: Place) -> Iterator[None]:
    lock_file = Path("/run/lock", f"{place.netns}.lock")
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    with lock_file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("==> waiting for another cluster-up or cluster-down", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
