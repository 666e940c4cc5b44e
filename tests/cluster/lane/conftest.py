"""A control plane without a node, for the session: etcd, API server, controllers, scheduler, on loopback.

Started in a few seconds as any user, stopped with the session however that
ends. Nothing runs a pod here; controllers do everything short of it.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.client import Cluster
from tests.cluster.conftest import existing
from tests.cluster.driver import binaries, controlplane, debian
from tests.cluster.driver.failure import ClusterError
from tests.cluster.driver.place import CONTEXT
from tests.cluster.lane.api import Api, proxied

CRDS = Path(__file__).parents[3] / "crds"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server that has our definitions."""
    if found := existing():
        # They stay if they were there: with a definition go all objects of its kind.
        ours = not found.kubectl("get", f"--filename={CRDS}", "--ignore-not-found", "--output=name")
        install(found)
        yield found
        if ours:
            found.kubectl("delete", f"--filename={CRDS}", "--timeout=60s")
        return
    try:
        debian.require(debian.CONTROL_PLANE)
        binaries.build(binaries.CONTROL_PLANE)
        with controlplane.running(tmp_path_factory.mktemp("control-plane")) as place:
            started = Cluster(str(binaries.where("kubectl")), place.kubeconfig, CONTEXT, place)
            install(started)
            yield started
    except ClusterError as error:
        pytest.fail(str(error), pytrace=False)


def install(cluster: Cluster) -> None:
    """crds/ as it is, by kubectl, and wait until the API server serves it."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={CRDS}")
    cluster.kubectl("wait", "--for=condition=Established", f"--filename={CRDS}", "--timeout=30s")


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> Iterator[Api]:
    """The same API server, without kubectl in between."""
    with proxied(cluster) as found:
        yield found
