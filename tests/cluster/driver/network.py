"""The cluster's network namespace: a node's address on a bridge of its own, and no way out of it."""

import subprocess
from pathlib import Path

from tests.cluster.driver.place import NODE_IP, Place


def make(place: Place) -> bool:
    """Make what is missing; whether the namespace is new."""
    new = not _exists(place)
    if new:
        _run("ip", "netns", "add", place.netns)
    inside = ("ip", "-n", place.netns)
    _run(*inside, "link", "set", "lo", "up")
    if "node0" not in _run(*inside, "-br", "link"):
        _run(*inside, "link", "add", "node0", "type", "bridge")
    _run(*inside, "addr", "replace", f"{NODE_IP}/32", "dev", "node0")
    _run(*inside, "link", "set", "node0", "up")
    _run(*inside, "route", "replace", "default", "dev", "node0")
    _run(*place.enter("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"))
    return new


def remove(place: Place) -> None:
    if _exists(place):
        _run("ip", "netns", "delete", place.netns)


def _exists(place: Place) -> bool:
    return Path("/run/netns", place.netns).exists()


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
