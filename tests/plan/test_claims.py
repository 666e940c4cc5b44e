"""A queue that was made larger, and claims that do not follow."""

import dataclasses
from typing import Any

import pytest
from tests.plan import golden
from tests.plan.scenario import Body, read

from waystation_operator.plan import reading
from waystation_operator.plan.reconcile import reconcile

REMEDY = "let its storage class expand volumes (allowVolumeExpansion), or make a new pool of another class"
NOT_EXPANDABLE = (
    'persistentvolumeclaims "queue-outbound-0" is forbidden: only dynamically provisioned pvc can be resized '
    "and the storageclass that provisions the pvc must support resize"
)
FAILED: Body = {
    "conditions": [
        {"type": "Resizing", "status": "True"},
        {"type": "ControllerResizeError", "status": "True", "message": "out of quota"},
    ]
}


def claim(requested: str, capacity: str, phase: str = "Bound", **status: Any) -> Body:
    return {
        "metadata": {"name": "queue-outbound-0", "uid": "c0"},
        "spec": {"resources": {"requests": {"storage": requested}}},
        "status": {"phase": phase, "capacity": {"storage": capacity}, **status},
    }


def queue_healthy(body: Body, ungrown: dict[str, str]) -> Body:
    """Of a pool whose queue.size is 10Gi."""
    world = dataclasses.replace(
        read(golden.WORLDS / "running.yaml"), claims=(reading.claim(body),), ungrown=ungrown
    )
    status = reconcile(world).pool_status
    assert status is not None
    (found,) = [x for x in status["conditions"] if x["type"] == "QueueHealthy"]
    return dict(found)


@pytest.mark.parametrize(
    ("body", "ungrown", "said"),
    [
        pytest.param(
            claim("5Gi", "5Gi"),
            {"queue-outbound-0": NOT_EXPANDABLE},
            f"queue-outbound-0 cannot grow to 10Gi: {NOT_EXPANDABLE}",
            id="refused by the API server",
        ),
        pytest.param(
            claim("10Gi", "5Gi", **FAILED),
            {},
            "queue-outbound-0 has not grown to 10Gi: ControllerResizeError: out of quota",
            id="failed at the storage",
        ),
        pytest.param(
            claim("10Gi", "5Gi", allocatedResourceStatuses={"storage": "NodeResizeInfeasible"}),
            {},
            "queue-outbound-0 has not grown to 10Gi: NodeResizeInfeasible",
            id="infeasible on the node",
        ),
    ],
)
def test_a_claim_that_cannot_grow_is_told(body: Body, ungrown: dict[str, str], said: str) -> None:
    """Which claim, why, and what to do: the volume may be full before the relay turns mail away."""
    found = queue_healthy(body, ungrown)
    assert (found["status"], found["reason"]) == ("False", "ClaimNotGrown")
    assert found["message"] == f"{said}; {REMEDY}"


@pytest.mark.parametrize(
    ("body", "ungrown"),
    [
        pytest.param(claim("5Gi", "5Gi"), {}, id="not asked yet"),
        pytest.param(claim("5Gi", "5Gi"), {"queue-other-0": NOT_EXPANDABLE}, id="another claim"),
        pytest.param(
            claim("10Gi", "5Gi", conditions=[{"type": "Resizing", "status": "True"}]), {}, id="growing"
        ),
        pytest.param(
            claim("10Gi", "10Gi"), {"queue-outbound-0": NOT_EXPANDABLE}, id="refused once, grown since"
        ),
        pytest.param(claim("10Gi", "10Gi", **FAILED), {}, id="failed once, grown since"),
        pytest.param(claim("5Gi", "", "Pending"), {"queue-outbound-0": NOT_EXPANDABLE}, id="no volume yet"),
        pytest.param(claim("20Gi", "20Gi", **FAILED), {}, id="larger than asked"),
    ],
)
def test_other_claims_are_healthy(body: Body, ungrown: dict[str, str]) -> None:
    """What is on its way, or was trouble once, is none."""
    assert queue_healthy(body, ungrown)["status"] == "True"


def test_a_claim_that_cannot_grow_is_told_without_any_report() -> None:
    """It does not take a relay that answers to know of it."""
    world = dataclasses.replace(
        read(golden.WORLDS / "running.yaml"),
        claims=(reading.claim(claim("5Gi", "5Gi")),),
        ungrown={"queue-outbound-0": NOT_EXPANDABLE},
        relays={},
    )
    status = reconcile(world).pool_status
    assert status is not None
    assert [x["reason"] for x in status["conditions"] if x["type"] == "QueueHealthy"] == ["ClaimNotGrown"]
