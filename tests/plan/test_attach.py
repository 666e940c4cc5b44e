"""Which routes attach to which listeners."""

import json
from typing import Any

import pytest
from tests.plan.objects import listeners, pool, route

from waystation_operator.api.listener import Selector
from waystation_operator.plan.attach import attach, dangling, selects

NAMESPACES = {"shop": {"mail": "allowed", "tier": "gold"}, "other": {"mail": "refused"}}


def attached(
    namespaces: dict[str, Any], route_name: str, ref: dict[str, Any]
) -> tuple[tuple[str, ...], list[str]]:
    """What one route gets of a pool with a listener `a` like this and one `own`, and what is wrong."""
    given = pool(listeners=listeners(a=namespaces, own={"from": "Same"}))
    found = attach(
        given, [route(route_name, parentRefs=[{"name": "outbound", "namespace": "mail"} | ref])], NAMESPACES
    )
    (attachment,) = found
    return attachment.listeners, list(map(str, attachment.problems))


SELECTOR = {"from": "Selector", "selector": {"matchLabels": {"mail": "allowed"}}}


@pytest.mark.parametrize(
    ("namespaces", "route_name", "expected"),
    [
        pytest.param({"from": "Same"}, "mail/all", ("a", "own"), id="same namespace"),
        pytest.param({"from": "All"}, "shop/all", ("a",), id="all namespaces"),
        pytest.param(SELECTOR, "shop/all", ("a",), id="chosen by label"),
        pytest.param(SELECTOR, "mail/all", ("own",), id="the pool's own namespace is not chosen by itself"),
        pytest.param(
            {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": "other"}}},
            "other/all",
            ("a",),
            id="chosen by name",
        ),
        pytest.param(
            {"from": "Selector", "selector": {}}, "unheard/all", ("a",), id="an empty selector takes all"
        ),
    ],
)
def test_namespaces(namespaces: dict[str, Any], route_name: str, expected: tuple[str, ...]) -> None:
    """A route attaches to the listeners that let its namespace in; one of them is enough."""
    assert attached(namespaces, route_name, {}) == (expected, [])


@pytest.mark.parametrize(
    ("namespaces", "route_name"),
    [
        pytest.param({"from": "Same"}, "shop/all", id="another namespace"),
        pytest.param(SELECTOR, "other/all", id="other labels"),
        pytest.param(SELECTOR, "unheard/all", id="a namespace without labels"),
    ],
)
def test_refused_namespaces(namespaces: dict[str, Any], route_name: str) -> None:
    """A route that no listener lets in is told so, with the field and what the pool's owner could do."""
    names, problems = attached(namespaces, route_name, {})
    assert names == ()
    (problem,) = problems
    namespace = route_name.split("/")[0]
    assert problem == (
        f"MailRoute {route_name}: spec.parentRefs[0]: outbound: RelayPool mail/outbound lets no route of "
        f"namespace {namespace} attach to any listener; set the listener's allowedRoutes.namespaces.from to "
        "All, or to Selector with its labels"
    )


def test_section_name_chooses_one_listener() -> None:
    """A route may name the one listener it wants."""
    assert attached({"from": "Same"}, "mail/all", {"sectionName": "own"}) == (("own",), [])


def test_a_named_listener_must_let_the_route_in() -> None:
    """Another listener that would is no substitute for the one that was named."""
    names, (problem,) = attached({"from": "All"}, "shop/all", {"sectionName": "own"})
    assert names == ()
    assert "lets no route of namespace shop attach to listener own" in problem


def test_unknown_listener() -> None:
    """A listener the pool does not have: the ones it has are named."""
    _, problems = attached({"from": "All"}, "shop/all", {"sectionName": "smtps"})
    assert problems == [
        (
            "MailRoute shop/all: spec.parentRefs[0].sectionName: smtps: is no listener of RelayPool "
            "mail/outbound; use one of: a, own"
        )
    ]


def test_several_parents_add_up() -> None:
    """Two references to one pool give the listeners of both, in the pool's order, each once."""
    given = pool(listeners=listeners(a={}, b={}, c={}))
    refs = [
        {"name": "outbound", "sectionName": "c"},
        {"name": "outbound", "sectionName": "a"},
        {"name": "elsewhere"},
    ]
    (attachment,) = attach(given, [route(parentRefs=refs)], {})
    assert attachment.listeners == ("a", "c")


def test_order_is_that_of_precedence() -> None:
    """Oldest first, then by namespace/name: the order in which ties between routes are broken."""
    routes = [
        route("mail/b"),
        route("mail/young", created="2030-01-02T00:00:00Z"),
        route("mail/old", created="2030-01-01T00:00:00Z"),
        route("mail/a"),
    ]
    found = attach(pool(), routes, {})
    assert [x.route.identity.name for x in found] == ["a", "b", "old", "young"]


def test_routes_of_other_pools_are_none_of_ours() -> None:
    """A route without a reference to the pool is left alone; a pool's namespace is part of its name."""
    routes = [route("mail/a", parentRefs=[{"name": "inbound"}]), route("shop/b")]
    assert attach(pool(), routes, {}) == []
    field, remedy = "spec.parentRefs[0].name", "use one of: mail/outbound"
    assert list(map(str, dangling(routes, [pool()]))) == [
        f"MailRoute mail/a: {field}: inbound: names RelayPool mail/inbound, which does not exist; {remedy}",
        f"MailRoute shop/b: {field}: outbound: names RelayPool shop/outbound, which does not exist; {remedy}",
    ]


@pytest.mark.parametrize(
    ("labels", "expressions", "expected"),
    [
        pytest.param({"mail": "allowed"}, [], True, id="label"),
        pytest.param({"mail": "allowed", "tier": "silver"}, [], False, id="all labels must fit"),
        pytest.param({}, [("tier", "In", ["gold", "silver"])], True, id="In"),
        pytest.param({}, [("tier", "In", ["silver"])], False, id="not In"),
        pytest.param({}, [("nosuch", "In", ["x"])], False, id="In of an absent label"),
        pytest.param({}, [("tier", "NotIn", ["silver"])], True, id="NotIn"),
        pytest.param({}, [("tier", "NotIn", ["gold"])], False, id="not NotIn"),
        pytest.param({}, [("nosuch", "NotIn", ["x"])], True, id="NotIn of an absent label"),
        pytest.param({}, [("tier", "Exists", [])], True, id="Exists"),
        pytest.param({}, [("nosuch", "Exists", [])], False, id="does not exist"),
        pytest.param({}, [("nosuch", "DoesNotExist", [])], True, id="DoesNotExist"),
        pytest.param({}, [("tier", "DoesNotExist", [])], False, id="exists"),
        pytest.param({"mail": "allowed"}, [("tier", "DoesNotExist", [])], False, id="both must hold"),
    ],
)
def test_selectors(labels: dict[str, str], expressions: list[Any], expected: bool) -> None:
    """Label selectors choose as Kubernetes' do."""
    given = [{"key": key, "operator": operator, "values": values} for key, operator, values in expressions]
    selector = Selector.model_validate_json(json.dumps({"matchLabels": labels, "matchExpressions": given}))
    assert selects(selector, NAMESPACES["shop"]) is expected
