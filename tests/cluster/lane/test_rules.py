"""Every CEL rule of the definitions, kept and broken, on a real API server.

The cases are those that hold the models and a model of the API server against
each other in ``tests/api``; here the real one has the word.
"""

from typing import Any

import pytest
from tests.api import apiserver
from tests.api.specs import schema
from tests.api.test_rules import CASES, RULES, cases
from tests.cluster.lane.api import Api
from tests.cluster.lane.objects import resource

from waystation_operator.api.pooloptions import Queue
from waystation_operator.api.wire import POOL_NAME_REMEDY

HOST_NAME = "must be a DNS name such as mail.example.com, not an IP address"
HOST = "must be a DNS name or an IP address alone; the port has a field of its own"
NOT_NETWORKS = ["10.1.2.3/8", "::ffff:10.0.0.0/104", "300.0.0.0/8", "fd00::1/8"]


@pytest.mark.parametrize(("kind", "where", "good", "bad"), cases())
def test_rule_is_enforced(
    api: Api, namespace: str, kind: str, where: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    """What keeps the rule is taken; what breaks it is refused, with the remedy."""
    kept = api.create(resource(kind, good), namespace)
    assert kept.accepted, kept.body["message"]
    broken = api.create(resource(kind, bad), namespace)
    assert broken.code == 422
    assert any(RULES[kind][where].message in refusal.message for refusal in broken.refusals), broken.refusals


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        pytest.param("10Gi", "10Gi", True, id="the same"),
        pytest.param("10Gi", "11Gi", True, id="larger"),
        pytest.param("1024Mi", "1Gi", True, id="the same in another unit"),
        pytest.param("10Gi", "9.9Gi", False, id="smaller"),
        pytest.param("1Gi", "1G", False, id="smaller by its unit"),
        pytest.param(None, "9Gi", False, id="smaller than the default"),
    ],
)
def test_queue_never_shrinks(api: Api, namespace: str, old: str | None, new: str, allowed: bool) -> None:
    """A volume cannot shrink: a smaller size is refused on update, whatever it was made with."""
    pool = resource("RelayPool", {"queue.size": old} if old else {})
    assert api.create(pool, namespace, keep=True).accepted
    name = pool["metadata"]["name"]
    answer = api.merge("RelayPool", name, namespace, {"spec": {"queue": {"size": new}}})
    assert answer.accepted is allowed, answer.body
    if not allowed:
        assert Queue.SIZE_TRANSITION[1] in answer.body["message"]


@pytest.mark.parametrize("text", NOT_NETWORKS)
def test_network_is_a_network(api: Api, namespace: str, text: str) -> None:
    """A list of clients holds networks only: no host bits, no IPv4 in IPv6's clothes."""
    answer = api.create(resource("RelayPool", {"listeners[0].clients.cidrs": [text]}), namespace)
    assert not answer.accepted
    assert "must be a network in CIDR notation" in answer.body["message"]


@pytest.mark.parametrize(
    ("kind", "changes", "says"),
    [
        pytest.param("RelayPool", {"hostname": "192.0.2.1"}, HOST_NAME, id="address for a host name"),
        pytest.param(
            "MailRoute", {"backends": [{"lmtp": {"host": "dovecot:24"}}]}, HOST, id="host with its port"
        ),
        pytest.param(
            "MailRoute", {"backends": [{"smartHost": {"host": "192.0.2.1:25"}}]}, HOST, id="address with port"
        ),
    ],
)
def test_host_is_a_host(api: Api, namespace: str, kind: str, changes: dict[str, Any], says: str) -> None:
    """The usual mix-ups of names, addresses and ports are refused."""
    answer = api.create(resource(kind, changes), namespace)
    assert not answer.accepted
    assert says in answer.body["message"]


@pytest.mark.parametrize("host", ["dovecot.mail.svc", "192.0.2.1", "2001:db8::25", "fe80::1"])
def test_host_may_be_an_address(api: Api, namespace: str, host: str) -> None:
    """An IPv6 address has colons, and needs no brackets."""
    answer = api.create(resource("MailRoute", {"backends": [{"lmtp": {"host": host}}]}), namespace)
    assert answer.accepted, answer.body["message"]


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        pytest.param("p" * 52, True, id="as long as may be"),
        pytest.param("p" * 53, False, id="longer"),
        pytest.param("1-2", True, id="digits and hyphens"),
        pytest.param("a.b", False, id="dot"),
    ],
)
def test_pool_name_leaves_room_for_its_pods(api: Api, namespace: str, name: str, allowed: bool) -> None:
    """A pool's name is part of labels and host names, which are shorter than an object's name may be."""
    answer = api.create(resource("RelayPool", name=name), namespace)
    assert answer.accepted is allowed
    if not allowed:
        assert POOL_NAME_REMEDY in answer.body["message"]


def test_every_rule_of_the_definitions_is_tried() -> None:
    """No rule is in the definitions that nothing here breaks."""
    carried = {message for kind in RULES for _, _, message in apiserver.rules(schema(kind))}
    by_cases = {RULES[kind][where].message for kind, where, _, _ in CASES}
    by_hand = {Queue.SIZE_TRANSITION[1], f"metadata.name: {POOL_NAME_REMEDY}", HOST_NAME, HOST}
    networks = {message for message in carried if message.startswith("must be a network in CIDR notation")}
    assert carried == by_cases | by_hand | networks
