"""Trouble: a release with two operators, a namespace, a pool ``outbound`` of two relays, for all tests here.

Each test leaves them as well as it found them. Mail goes to a sink on the
node, through Services, from a client on the node.
"""

import secrets
from collections.abc import Iterator

import pytest
from tests.cluster.client import Cluster
from tests.cluster.e2e.release import Release
from tests.cluster.e2e.trouble.stage import Stage
from tests.cluster.e2e.trouble.traffic import Traffic

POOL = "outbound"


@pytest.fixture(scope="package")
def namespace(cluster: Cluster) -> Iterator[str]:
    """One for all tests here."""
    with cluster.namespace(f"trouble-{secrets.token_hex(2)}") as name:
        yield name


@pytest.fixture(scope="package")
def stage(cluster: Cluster, namespace: str, release: Release) -> Iterator[Stage]:
    """The pool ``outbound`` takes mail, and two operators run."""
    if cluster.place is None:
        pytest.skip("another cluster's node, which has client and sink, is out of reach (WAYSTATION_CONTEXT)")
    with release.granted(namespace), Traffic(cluster.place) as traffic:
        stage = Stage(cluster, namespace, release, traffic)
        stage.scale_operator(2)
        stage.make_pool(POOL, replicas=2)
        yield stage
        stage.scale_operator(1)


@pytest.fixture(autouse=True)
def told(stage: Stage, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """What became of the test's mail is said aloud: a duplicate is no failure, but worth knowing."""
    before = len(stage.traffic.flows)
    yield
    with capsys.disabled():
        for flow in stage.traffic.flows[before:]:
            print(f"\n    {flow}", end=" ")
