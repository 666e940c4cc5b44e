"""Where the parts of a local run listen."""

import pytest
from tests.local.worlds import plans, pool

from waystation_operator.local.place import Placement, place


def admin_ports(placement: Placement) -> dict[str, int]:
    return {pod.name: pod.admin_port for pod in placement.pods}


def test_every_pod_has_an_admin_port_of_its_own() -> None:
    """Pods of all pools count up from base + 5500; the sink is at base + 2525."""
    found = place(plans(pool("outbound", 25, replicas=2), pool("inbound", 26)), 2500, sink=True)
    assert found.problems == ()
    assert admin_ports(found) == {"outbound-0": 8000, "outbound-1": 8001, "inbound-0": 8002}
    assert [pod.ordinal for pod in found.pods] == [0, 1, 0]
    assert found.sink_port == 5025


def test_no_sink_unless_asked() -> None:
    """Without the sink no port is set aside for it."""
    assert place(plans(pool("outbound", 25)), 2500, sink=False).sink_port is None


def test_taken_ports_are_passed_over() -> None:
    """A listener that happens to have the sink's or an admin port keeps it; the others move on."""
    found = place(plans(pool("outbound", 2525, 5500, 5501)), 2500, sink=True)
    assert found.sink_port == 5026
    assert admin_ports(found) == {"outbound-0": 8002}


def test_running_pods_keep_their_admin_ports() -> None:
    """Another pod in front of them does not move, and so does not restart, what runs already."""
    running = {"outbound-0": 8000, "inbound-0": 8001}
    found = place(
        plans(pool("outbound", 25, replicas=2), pool("inbound", 26)), 2500, sink=False, admin_ports=running
    )
    assert admin_ports(found) == {"outbound-0": 8000, "outbound-1": 8002, "inbound-0": 8001}


def test_an_admin_port_gives_way_to_a_new_listener() -> None:
    """A pool may ask for the port an admin endpoint has by now: the admin endpoint moves."""
    found = place(plans(pool("outbound", 25, 5500)), 2500, sink=False, admin_ports={"outbound-0": 8000})
    assert admin_ports(found) == {"outbound-0": 8001}


def test_pool_without_replicas_runs_nothing() -> None:
    """A pool scaled to zero has no pods, which is no mistake."""
    found = place(plans(pool("outbound", 25, replicas=0)), 2500, sink=False)
    assert (found.pods, found.problems) == ((), ())


@pytest.mark.parametrize(
    ("documents", "base", "expected"),
    [
        pytest.param(
            [pool("outbound", 25), pool("inbound", 25)],
            2500,
            "RelayPool mail/inbound: spec.listeners[0].port: 25: is also listener l25 of RelayPool "
            "mail/outbound; in local mode all pools share 127.0.0.1; choose another port",
            id="two pools with one port",
        ),
        pytest.param(
            [pool("outbound", 25), pool("outbound", 26, namespace="shop")],
            2500,
            "RelayPool shop/outbound: metadata.name: outbound: is the name of a pool in another namespace "
            "too, and local pods are named after their pool; rename one of the two",
            id="two pools with one name",
        ),
        pytest.param(
            [pool("outbound", 60_000)],
            6000,
            "RelayPool mail/outbound: spec.listeners[0].port: 60000: would be 127.0.0.1:66000, above 65535; "
            "use --port-base 5535 or lower",
            id="port too high",
        ),
        pytest.param(
            [pool("outbound", 25, replicas=51)],
            2500,
            "RelayPool mail/outbound: spec.replicas: 51: is more than the 50 relays a pool may have on one "
            "machine; lower it for local mode",
            id="too many relays",
        ),
    ],
)
def test_what_cannot_be_placed(documents: list[str], base: int, expected: str) -> None:
    """What a cluster could run and one address cannot is refused with the field and a remedy."""
    found = place(plans(*documents, base=base), base, sink=True)
    assert list(map(str, found.problems)) == [expected]
