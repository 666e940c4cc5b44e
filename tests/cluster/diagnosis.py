"""What somebody who looks for the cause of a failure in a namespace would look at, in one text."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # client imports this module
    from tests.cluster.client import Cluster

_KINDS = "pods,statefulsets,deployments,jobs,services,pvc,relaypools,mailroutes"
_KINDS_WITHOUT_OURS = "pods,statefulsets,deployments,jobs,services,pvc"
_LINES = 60


def namespace(cluster: "Cluster", name: str) -> str:
    """Objects, our resources in full, events, pods that are not well, and the end of each container's log."""
    there = f"--namespace={name}"
    parts = [
        _said(cluster, "get", _KINDS, there, "--output=wide", instead=("get", _KINDS_WITHOUT_OURS, there)),
        _said(cluster, "get", "relaypools,mailroutes", there, "--output=yaml", instead=()),
        _said(cluster, "get", "events", there, "--sort-by=.lastTimestamp"),
    ]
    pods = cluster.run("get", "pods", there, "--output=name").stdout.split()
    for pod in pods:
        parts.append(_said(cluster, "describe", pod, there))
        log = ("logs", pod, there, "--all-containers", "--prefix", f"--tail={_LINES}")
        parts.append(_said(cluster, *log))
        parts.append(_said(cluster, *log, "--previous", instead=()))
    return "\n".join(filter(None, parts))


def _said(cluster: "Cluster", *argv: str, instead: tuple[str, ...] | None = None) -> str:
    """A heading and what kubectl says; where that fails, what it says to ``instead``, or nothing."""
    done = cluster.run(*argv)
    if done.returncode and instead is not None:
        return _said(cluster, *instead) if instead else ""
    return f"--- kubectl {' '.join(argv)}\n{(done.stdout + done.stderr).rstrip()}"
