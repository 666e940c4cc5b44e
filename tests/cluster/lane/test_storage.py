"""What the provisioner of the test cluster makes of claims and volumes; the doing is tested with a node."""

from typing import Any

import pytest
from tests.cluster.driver.configuration import PROVISIONER
from tests.cluster.driver.storage import Create, Delete, Grow, Step, decide

Body = dict[str, Any]


def claim(asked: str = "1Gi", capacity: str = "", provisioner: str = PROVISIONER, volume: str = "") -> Body:
    return {
        "metadata": {
            "name": "queue",
            "namespace": "mail",
            "uid": "u",
            "annotations": {"volume.kubernetes.io/storage-provisioner": provisioner},
        },
        "spec": {"resources": {"requests": {"storage": asked}}, "volumeName": volume},
        "status": {"capacity": {"storage": capacity}} if capacity else {},
    }


def volume(phase: str = "Bound", policy: str = "Delete", provisioner: str = PROVISIONER) -> Body:
    return {
        "metadata": {"name": "pvc-u", "annotations": {"pv.kubernetes.io/provisioned-by": provisioner}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("claims", "volumes", "steps"),
    [
        pytest.param([claim()], [], [Create(claim())], id="a new claim gets a volume"),
        pytest.param(
            [claim()], [volume("Available")], [], id="one that has its volume waits for the binding"
        ),
        pytest.param([claim(volume="other")], [], [], id="one that names a volume gets none"),
        pytest.param([claim(provisioner="csi.example.com")], [], [], id="somebody else's class"),
        pytest.param([claim(capacity="1Gi")], [volume()], [], id="nothing to do"),
        pytest.param(
            [claim("2Gi", capacity="1Gi")],
            [volume()],
            [Grow(claim("2Gi", capacity="1Gi"), "2Gi")],
            id="growth",
        ),
        pytest.param([], [volume("Released")], [Delete(volume("Released"))], id="a released volume goes"),
        pytest.param([], [volume("Released", "Retain")], [], id="unless it is to stay"),
        pytest.param([], [volume("Released", provisioner="csi.example.com")], [], id="or is somebody else's"),
        pytest.param([], [volume("Bound")], [], id="or is still bound"),
    ],
)
def test_claims_and_volumes_lead_to_steps(claims: list[Body], volumes: list[Body], steps: list[Step]) -> None:
    """A claim of the class gets exactly one volume, and a volume goes with its claim."""
    assert decide(claims, volumes) == steps
