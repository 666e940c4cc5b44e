"""What a pool says while its pods take no mail yet: a start is no alarm, and every cause is in words."""

import dataclasses

import pytest
from tests.plan.scenario import NOW, observed
from tests.plan.test_reconcile import pool_body, stateful_set

from waystation_operator.plan.observed import ObservedPod
from waystation_operator.plan.reconcile import reconcile
from waystation_operator.plan.report import Config, Queue, RelayReport


@pytest.mark.parametrize(
    ("age_s", "reasons", "reason", "told"),
    [
        (3.0, (), "Starting", "it is ready, and the kubelet does not know yet"),
        (3.0, ("starting",), "Starting", "starting"),
        (3.0, ("draining",), "NotReady", "draining"),
        (900.0, (), "NotReady", "it is ready, and the kubelet does not know yet"),
    ],
    ids=["just started", "starting", "drained by hand", "a node that is lost"],
)
def test_a_pod_that_takes_no_mail_yet_is_explained(
    age_s: float, reasons: tuple[str, ...], reason: str, told: str
) -> None:
    """What keeps a pod out of the Service is always in words; of a start no Event tells."""
    pod = ObservedPod("outbound-0", 0, ready=False, created=NOW - age_s)
    said = RelayReport("outbound-0", Config(), not reasons, Queue(0), reasons=reasons)
    world = dataclasses.replace(
        observed([pool_body(), stateful_set(1)]), pods=(pod,), relays={"outbound-0": said}
    )
    wishes = reconcile(world)
    assert wishes.pool_status is not None
    (ready,) = [x for x in wishes.pool_status["conditions"] if x["type"] == "Ready"]
    assert ready["reason"] == reason
    assert f"outbound-0: {told}" in ready["message"]
    assert [event.reason for event in wishes.events if event.message.startswith("Ready")] == (
        [] if reason == "Starting" else [reason]
    )


@pytest.mark.parametrize(("age_s", "reason"), [(2.0, "Starting"), (40.0, "ClaimPending")])
def test_a_new_claim_may_take_its_time(age_s: float, reason: str) -> None:
    """A volume is made on demand in seconds; an alarm at each start of a pod would be none."""
    text = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    pod = ObservedPod("outbound-0", 0, trouble="Unschedulable", trouble_message=text, created=NOW - age_s)
    wishes = reconcile(dataclasses.replace(observed([pool_body(), stateful_set(1)]), pods=(pod,)))
    assert wishes.pool_status is not None
    (ready,) = [x for x in wishes.pool_status["conditions"] if x["type"] == "Ready"]
    assert (ready["status"], ready["reason"]) == ("False", reason)
    assert [event.reason for event in wishes.events] == ([] if reason == "Starting" else [reason])


def test_a_pool_that_cannot_start_names_what_it_lacks() -> None:
    """The column of kubectl get tells which Secret is to be created, without another look."""
    body = pool_body()
    body["spec"]["listeners"][0]["tls"] = {"mode": "Required", "secretName": "relay-tls"}
    status = reconcile(observed([body])).pool_status
    assert status is not None
    said = {x["type"]: (x["reason"], x["message"]) for x in status["conditions"]}
    for type_, reason in (("Programmed", "NotResolved"), ("Ready", "NotProgrammed")):
        assert said[type_][0] == reason
        assert "create Secret mail/relay-tls with the keys tls.crt and tls.key" in said[type_][1]
