"""Fixtures of every test that runs on a Kubernetes cluster.

``cluster`` is the cluster of ``make cluster-up``, or with ``WAYSTATION_CONTEXT``
a context of KUBECONFIG; below ``lane/`` it is a control plane of the session's
own. ``namespace`` is a fresh one for each test module; a failed test that used
it shows what is in it. A module sets ``POD_SECURITY`` to another level than
``restricted`` if its own helpers need that.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import diagnosis
from tests.cluster.client import Cluster
from tests.cluster.driver import binaries, lifecycle, place
from tests.cluster.driver.place import CONTEXT
from tests.cluster.images import build, load


def existing() -> Cluster | None:
    """The cluster that ``WAYSTATION_CONTEXT`` names."""
    context = os.environ.get("WAYSTATION_CONTEXT")
    if not context:
        return None
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.fail("WAYSTATION_CONTEXT needs kubectl in PATH", pytrace=False)
    files = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return Cluster(kubectl, Path(files), context)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A running cluster with a node."""
    if found := existing():
        return found
    here = place.whole()
    if not lifecycle.is_up(here):
        pytest.fail("the test cluster is not up: make cluster-up (or make test-cluster)", pytrace=False)
    return Cluster(str(binaries.where("kubectl")), here.kubeconfig, CONTEXT, here)


@pytest.fixture(scope="session")
def images(cluster: Cluster) -> dict[str, str]:
    """The product's images as they are built from this tree, name → reference; the node has them. Another
    cluster (WAYSTATION_CONTEXT) must have been given them."""
    archives = build.build()
    if cluster.place is not None:
        load.load(archives, cluster.place.containerd_socket)
    return {archive.name: archive.reference for archive in archives}


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the module's own, deleted after it."""
    module = request.module.__name__.rpartition(".")[2].removeprefix("test_").replace("_", "-")
    level = getattr(request.module, "POD_SECURITY", "restricted")
    with cluster.namespace(f"{module[:40]}-{secrets.token_hex(2)}", pod_security=level) as name:
        yield name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """What was in the namespace, below the report of a test that failed there."""
    report = yield
    arguments = getattr(item, "funcargs", {})
    if report.failed and report.when == "call" and {"cluster", "namespace"} <= set(arguments):
        text = diagnosis.namespace(arguments["cluster"], arguments["namespace"])
        report.sections.append((f"namespace {arguments['namespace']}", text))
    return report
