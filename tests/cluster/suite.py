"""``make cluster-lane`` and ``make test-cluster``: what is built, started, tested and stopped, in this order.

A cluster that was up before stays up; one that was started here is stopped,
whatever the tests say, unless ``WAYSTATION_KEEP`` is set. What is tested after
``make test-cluster TESTS=…`` is pytest's arguments.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster.driver import binaries, debian, lifecycle
from tests.cluster.driver.failure import ClusterError
from tests.cluster.driver.place import Place, whole

ROOT = Path(__file__).parents[2]
LANE = "tests/cluster/lane"
WHOLE = f"{LANE} tests/cluster/images tests/cluster/e2e"


def lane() -> None:
    """The tests that need no node."""
    if not os.environ.get("WAYSTATION_CONTEXT"):
        debian.require(debian.CONTROL_PLANE)
        binaries.build(binaries.LANE)
    _pytest(LANE)


def test() -> None:
    """Everything, on a cluster of our own or on the one that is named."""
    tests = os.environ.get("TESTS") or WHOLE
    if context := os.environ.get("WAYSTATION_CONTEXT"):
        print(f"==> testing on {context}; its nodes must have the images already", flush=True)
        _pytest(tests)
        return
    debian.require(debian.CONTROL_PLANE, debian.NODE, debian.IMAGES)
    here = whole()
    was_up = lifecycle.is_up(here)
    _step("cluster", lambda: lifecycle.up(here))
    try:
        _step("images", lambda: import_images(here))
        _step("tests", lambda: _pytest(tests))
    finally:
        if was_up or os.environ.get("WAYSTATION_KEEP"):
            print(f"==> the cluster stays up: export KUBECONFIG={here.kubeconfig}", flush=True)
        else:
            lifecycle.down(here)


def import_images(place: Place) -> None:
    """Build the product's images, those that are missing, and give them to the node."""
    _run(sys.executable, "-m", "tests.cluster.images", "import", "--address", str(place.containerd_socket))


def _step(name: str, do: Callable[[], None]) -> None:
    print(f"==> {name}", flush=True)
    began = time.monotonic()
    do()
    print(f"    {name}: {time.monotonic() - began:.0f} s", flush=True)


def _pytest(tests: str) -> None:
    _run(sys.executable, "-m", "pytest", "-q", "--no-header", "--durations=5", *shlex.split(tests))


def _run(*argv: str) -> None:
    code = subprocess.run(argv, cwd=ROOT).returncode
    if code:
        raise ClusterError(f"failed with {code}: {shlex.join(argv[1:])}")
