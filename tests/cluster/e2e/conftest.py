"""What tests with a node have in common: the product installed, and mail servers around it.

``release`` is installed once for all modules, cluster-wide; a module that
uninstalls or changes it leaves it installed as it was. ``mail`` is the test
module's namespace, with permission for the operator. ``peers`` is a namespace of
mail servers, one for all modules: use subjects of your own.
"""

import os
import secrets
from collections.abc import Iterator

import pytest
from tests.cluster.client import Cluster
from tests.cluster.e2e.peers import Peers, running
from tests.cluster.e2e.release import Release
from tests.cluster.lane import helm as lane_helm
from tests.cluster.lane.helm import Helm


@pytest.fixture(scope="session")
def helm(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Real Helm, which keeps its own files out of the way."""
    home = str(tmp_path_factory.mktemp("helm"))
    return Helm(
        lane_helm.found().path, cluster.environment() | {"HELM_KUBECONTEXT": cluster.context, "HOME": home}
    )


@pytest.fixture(scope="session")
def release(cluster: Cluster, helm: Helm, images: dict[str, str]) -> Iterator[Release]:
    """The chart, installed. In a cluster of our own nothing of it is left, definitions included."""
    release = Release(helm, cluster, images)
    release.install()
    yield release
    if cluster.place is not None and not os.environ.get("WAYSTATION_KEEP"):
        release.remove()


@pytest.fixture(scope="module")
def mail(release: Release, namespace: str) -> Iterator[str]:
    """The module's namespace, in which the operator may work; its pools go with the module."""
    with release.granted(namespace):
        yield namespace


@pytest.fixture(scope="session")
def peers(
    cluster: Cluster, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Peers]:
    """A smart host, a mailbox server and a client."""
    name = f"peers-{secrets.token_hex(2)}"
    with (
        cluster.namespace(name, pod_security="baseline"),
        running(cluster, name, images["waystation-peers"], tmp_path_factory.mktemp("peers")) as peers,
    ):
        yield peers
