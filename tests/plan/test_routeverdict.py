"""What kubectl get -o wide shows of a route that gets no mail: the cause, not merely that there was none."""

import dataclasses

from tests.plan.scenario import observed
from tests.plan.test_reconcile import pool_body, route_body, stateful_set

from waystation_operator.plan.observed import ObservedPod
from waystation_operator.plan.reconcile import reconcile
from waystation_operator.plan.report import Config, Queue, RelayReport, RouteReport


def test_a_route_that_gets_no_mail_says_why() -> None:
    """Of two routes for the same mail the second gets none, and names the first."""
    world = observed([pool_body(), stateful_set(1), route_body("a"), route_body("b")])
    said = RelayReport(
        "outbound-0", Config(), True, Queue(0), routes={"mail/a": RouteReport(), "mail/b": RouteReport()}
    )
    pod = ObservedPod("outbound-0", 0, ready=True)
    statuses = reconcile(dataclasses.replace(world, pods=(pod,), relays={pod.name: said})).route_statuses
    told = {
        key: condition["message"]
        for key, status in statuses.items()
        for condition in status.status["parents"][0]["conditions"]
        if condition["type"] == "Delivering"
    }
    assert told["mail/a"] == "the route has had no mail since its pods started"
    assert told["mail/b"].startswith("no mail yet; MailRoute mail/a matches the same mail and comes first")
