"""``python -m tests.cluster COMMAND``: the test cluster's commands, as the Makefile calls them."""

import sys

from tests.cluster import suite
from tests.cluster.driver import binaries, components, daemon, debian, gate, lifecycle, place, storage
from tests.cluster.driver.failure import ClusterError


def up() -> None:
    here = place.whole()
    lifecycle.up(here)
    print(
        f"""
    export KUBECONFIG={here.kubeconfig}
    export PATH={here.root}/bin:$PATH        # kubectl and helm of the cluster's version
    kubectl get pods --all-namespaces

The product's images: .venv/bin/python -m tests.cluster images
Tests: make test-cluster TESTS=tests/cluster/e2e
Logs: {here.root}/logs. StorageClass: standard. Stop it with: make cluster-down"""
    )


def down() -> None:
    lifecycle.down(place.whole())


def status() -> None:
    """One line a program; fails unless all run."""
    here = place.whole()
    for component in components.everything(here):
        pid = daemon.running(here, component.name)
        print(f"    {component.name:24} {f'pid {pid}' if pid else 'not running'}")
    if not lifecycle.is_up(here):
        raise ClusterError("the cluster is not up; start it with: make cluster-up")


def build() -> None:
    debian.require(debian.CONTROL_PLANE)
    binaries.build()
    for name in binaries.ALL:
        print(f"    {binaries.where(name)}")


COMMANDS = {
    "up": up,
    "down": down,
    "status": status,
    "build": build,
    "images": lambda: suite.import_images(place.whole()),
    "test": suite.test,
    "test-lane": suite.lane,
    # What the cluster itself runs.
    "storage": lambda: storage.serve(place.whole()),
    "gate": lambda: gate.serve(place.whole()),
}


def main(argv: list[str]) -> int:
    if len(argv) != 1 or argv[0] not in COMMANDS:
        print(f"usage: python -m tests.cluster {{{','.join(COMMANDS)}}}", file=sys.stderr)
        return 2
    try:
        COMMANDS[argv[0]]()
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run it again to go on, or make cluster-down", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
