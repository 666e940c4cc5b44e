"""Whatever the world looks like: the plan is total, settles, and never gives up mail."""

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.api import apiserver
from tests.api.specs import schema
from tests.plan import golden
from tests.plan.scenario import NOW, UID, applied, observed, read

from waystation_operator.plan import reading
from waystation_operator.plan.desired import Finalizer
from waystation_operator.plan.manifests import names
from waystation_operator.plan.observed import Observed, ObservedClaim, ObservedPod
from waystation_operator.plan.reconcile import absent, reconcile
from waystation_operator.plan.report import (
    Config,
    Deferral,
    Drain,
    Queue,
    RelayReport,
    RouteReport,
    Unrouted,
)
from waystation_operator.plan.scaling import current

Body = dict[str, Any]
STATEFUL_SET = ("StatefulSet", "outbound")


def pool_body(**metadata: Any) -> Body:
    spec = {
        "replicas": metadata.pop("replicas", 1),
        "hostname": "relay.example.com",
        "listeners": [{"name": "smtp", "port": 25, "clients": {"cidrs": ["10.0.0.0/8"]}}],
    }
    return {
        "apiVersion": "waystation.dev/v1alpha1",
        "kind": "RelayPool",
        "metadata": {"name": "outbound", "namespace": "mail", "generation": 1, **metadata},
        "spec": spec,
    }


def route_body(name: str = "internet", **spec: Any) -> Body:
    return {
        "apiVersion": "waystation.dev/v1alpha1",
        "kind": "MailRoute",
        "metadata": {"name": name, "namespace": "mail", "uid": name, "generation": 1},
        "spec": {"parentRefs": [{"name": "outbound"}], "backends": [{"mx": {}}], **spec},
    }


def stateful_set(replicas: Any) -> Body:
    owner = {"kind": "RelayPool", "name": "outbound", "uid": UID, "controller": True}
    metadata = {"name": "outbound", "namespace": "mail", "ownerReferences": [owner]}
    return {"kind": "StatefulSet", "metadata": metadata, "spec": {"replicas": replicas}}


times = st.one_of(st.none(), st.floats(0, NOW))
reports = st.builds(
    RelayReport,
    pod=st.just(""),
    config=st.builds(Config, hash=st.sampled_from(["", "a"]), error=st.sampled_from(["", "no"])),
    ready=st.booleans(),
    reasons=st.lists(st.sampled_from(["full", "read-only", "draining", "starting", "new"])).map(tuple),
    queue=st.builds(
        Queue,
        messages=st.integers(0, 3),
        oldest_due_seconds=st.sampled_from([0.0, 5.0, 1e6]),
        oldest_arrival=times,
    ),
    drain=st.builds(Drain, state=st.sampled_from(["active", "draining", "empty"])),
    unrouted=st.builds(Unrouted, waiting=st.integers(0, 1)),
    routes=st.dictionaries(
        st.sampled_from(["mail/internet", "mail/other"]),
        st.builds(
            RouteReport,
            last_success=times,
            last_failure=times,
            waiting=st.integers(0, 1000),
            oldest_arrival=times,
            top_deferral=st.one_of(
                st.none(), st.builds(Deferral, reason=st.sampled_from(["tls", "greylisted", "what"]))
            ),
        ),
        max_size=2,
    ),
)
pods = st.builds(
    ObservedPod,
    name=st.integers(-1, 4).map(lambda n: f"outbound-{n}"),
    ordinal=st.just(0),
    ready=st.booleans(),
    deleting=st.booleans(),
    labels=st.sampled_from([{}, {names.ROLE_LABEL: "active"}, {names.ROLE_LABEL: "draining"}]),
    trouble=st.sampled_from(["", "ImagePullBackOff", "CrashLoopBackOff", "Unschedulable", "Evicted"]),
    created=st.sampled_from([0.0, NOW]),
).map(lambda pod: dataclasses.replace(pod, ordinal=int(pod.name[9:]) if pod.name[9:] != "-1" else -1))
claims = st.builds(
    ObservedClaim,
    name=st.integers(0, 4).map(lambda n: f"queue-outbound-{n}"),
    ordinal=st.integers(0, 4),
    phase=st.sampled_from(["Pending", "Bound", "Lost"]),
    size_bytes=st.sampled_from([0, 2**30, 2**40]),
    capacity_bytes=st.sampled_from([0, 2**30, 2**40]),
    trouble=st.sampled_from(["", "NodeResizeError: no"]),
)
odd_json: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from(["", "True", "Ready", "2030"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["conditions", "parents", "type", "status", "parentRef", "controllerName", "name", "spec"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
odd_status = st.one_of(st.just({}), st.dictionaries(st.sampled_from(["conditions", "parents"]), odd_json))


@st.composite
def worlds(draw: st.DrawFn) -> Observed:
    """A pool with two routes and pods, claims, reports and older statuses of every kind."""
    metadata: Body = {"replicas": draw(st.integers(0, 3))}
    if draw(st.booleans()):
        metadata["finalizers"] = [names.FINALIZER]
    if draw(st.booleans()):
        metadata["deletionTimestamp"] = "2030-03-17T00:00:00Z"
    bodies = [pool_body(**metadata), route_body(), route_body("other", match=draw(_matches))]
    if (replicas := draw(st.one_of(st.none(), st.integers(0, 5)))) is not None:
        bodies.append(stateful_set(replicas))
    if draw(st.booleans()):
        bodies[0]["spec"]["hostname"] = "not a name"
    world = observed(bodies)
    found = draw(st.lists(pods, max_size=5, unique_by=lambda pod: pod.name))
    relays = {
        pod.name: draw(st.one_of(reports, st.just("no answer"))) for pod in found if draw(st.booleans())
    }
    forbidden = st.frozensets(st.sampled_from(["mail/outbound-config", "mail/login"]))
    return dataclasses.replace(
        world,
        pool=dataclasses.replace(world.pool, status=draw(odd_status)),
        routes=tuple(dataclasses.replace(route, status=draw(odd_status)) for route in world.routes),
        pods=tuple(found),
        claims=tuple(draw(st.lists(claims, max_size=3, unique_by=lambda claim: claim.name))),
        ungrown=draw(st.sampled_from([{}, {"queue-outbound-0": "refused"}])),
        relays=relays,
        forbidden=draw(forbidden),
    )


_matches = st.sampled_from([{}, {"recipients": ["*@a.example"]}])
thorough = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@thorough
@given(worlds())
def test_wishes_that_come_true_leave_none(world: Observed) -> None:
    """Doing what is desired leads to a state in which nothing more is: no status, Event or object changes."""
    for _ in range(8):  # pods leave one at a time
        wishes = reconcile(world)
        world = applied(world, wishes)
    settled = reconcile(world)
    assert settled.pool_status is None
    assert (settled.route_statuses, settled.events, settled.deletions) == ({}, (), ())
    assert (settled.finalizer, settled.claim_sizes) == (Finalizer.KEEP, ())
    assert settled.objects == wishes.objects
    assert all(dict(patch.labels) == {} == dict(patch.annotations) for patch in settled.pod_patches)


@st.composite
def shrinking(draw: st.DrawFn) -> Observed:
    """A pool with more pods than it asks for, most of which tell something."""
    have = draw(st.integers(1, 4))
    world = observed([pool_body(replicas=draw(st.integers(0, 1))), stateful_set(have)])
    ordinals = draw(st.sets(st.integers(0, have - 1)))
    called = [f"outbound-{n}" for n in sorted(ordinals)]
    return dataclasses.replace(
        world,
        pods=tuple(ObservedPod(name, int(name[9:]), ready=draw(st.booleans())) for name in called),
        relays={name: draw(st.one_of(reports, st.just("no answer"))) for name in called},
        claims=tuple(draw(st.lists(claims, max_size=3, unique_by=lambda claim: claim.name))),
    )


@thorough
@given(st.one_of(shrinking(), worlds()))
def test_no_pod_with_mail_is_removed(world: Observed) -> None:
    """The number of pods falls by one at most, and only over a pod that says it is empty or never was."""
    for _ in range(4):
        before = current(world.children.get(STATEFUL_SET))
        wishes = reconcile(world)
        world = applied(world, wishes)
        after = current(world.children.get(STATEFUL_SET))
        if before is None or after is None or after >= before:
            continue
        assert after == before - 1
        name = names.pod("outbound", after)
        there = [pod for pod in world.pods if pod.name == name]
        if there:
            said = world.relays[name]
            assert isinstance(said, RelayReport)
            assert (said.drain.state, said.queue.messages) == ("empty", 0)
        else:
            claim = names.claim("outbound", after)
            assert all(found.phase == "Pending" for found in world.claims if found.name == claim)


@thorough
@given(worlds())
def test_whatever_is_written_may_be_written(world: Observed) -> None:
    """No odd world leads to a status that the API server would refuse."""
    world = dataclasses.replace(world, routes=tuple(_without_others(route) for route in world.routes))
    wishes = reconcile(world)
    for kind, status in [
        ("RelayPool", wishes.pool_status),
        *(("MailRoute", x.status) for x in wishes.route_statuses.values()),
    ]:
        if status is not None:
            below = schema(kind)["properties"]["status"]
            assert list(apiserver.shape_errors(dict(status), below, "status")) == []


def _without_others(route: Any) -> Any:
    return dataclasses.replace(route, status={})  # entries of others are theirs to get right


@settings(max_examples=200, deadline=None)
@given(odd_json, st.sampled_from(["RelayPool", "MailRoute"]))
@example({"spec": {"parentRefs": [{"name": 1}, None, {"name": "outbound"}]}}, "MailRoute")
def test_any_body_can_be_read(body: Any, kind: str) -> None:
    """What the API server took with other definitions is said to be wrong; it stops nothing."""
    metadata = {"name": "outbound", "namespace": "mail", "uid": UID}
    whole = {"apiVersion": "waystation.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": body}
    if kind == "RelayPool":
        found = reading.pool(whole)
        assert (found.pool is None) == bool(found.problems)
        wishes = reconcile(dataclasses.replace(observed([pool_body()]), pool=found))
        assert wishes.pool_status is not None
    else:
        route = reading.route(whole)
        assert (route.route is None) == bool(route.problems)
        reconcile(dataclasses.replace(observed([pool_body()]), routes=(route,)))
    reading.pod(whole)
    reading.claim(whole)
    reading.pod({"metadata": body, "status": body})


@given(odd_json)
@settings(max_examples=100, deadline=None)
def test_odd_children_stop_nothing(body: Any) -> None:
    """Objects of ours that somebody has bent out of shape are somebody else's, or put right."""
    world = observed([pool_body()])
    child = {"kind": "StatefulSet", "metadata": stateful_set(1)["metadata"], "spec": body}
    reconcile(dataclasses.replace(world, children={STATEFUL_SET: child}))
    reconcile(dataclasses.replace(world, children={STATEFUL_SET: {"metadata": body}}))


def test_entries_of_others_stay() -> None:
    """A route's other pools and other controllers write their own entries; ours are put beside them."""
    route = route_body(parentRefs=[{"name": "other"}, {"name": "outbound"}])
    theirs = [
        {"parentRef": {"name": "other"}, "controllerName": names.CONTROLLER, "conditions": []},
        {"parentRef": {"name": "outbound"}, "controllerName": "somebody.example/else", "conditions": [1]},
    ]
    route["status"] = {"parents": [*theirs]}
    parents = reconcile(observed([pool_body(), route])).route_statuses["mail/internet"].status["parents"]
    assert [x for x in parents if x in theirs] == theirs
    assert [x["parentRef"]["name"] for x in parents] == ["other", "outbound", "outbound"]


def test_a_route_without_its_pool_is_told() -> None:
    """A parentRef to a pool that does not exist is said on the route, and taken back when it is gone."""
    world = observed([pool_body(), route_body(parentRefs=[{"name": "gone"}])])
    gone = dataclasses.replace(world.pool.identity, name="gone")
    wishes = absent(gone, world.routes, NOW)
    (entry,) = wishes.route_statuses["mail/internet"].status["parents"]
    assert [x["reason"] for x in entry["conditions"] if x["type"] == "Accepted"] == ["NoMatchingParent"]
    assert [event.reason for event in wishes.events] == ["NoMatchingParent"]
    told = applied(world, wishes)
    assert absent(gone, told.routes, NOW + 60).route_statuses == {}
    (moved,) = told.routes
    moved = dataclasses.replace(moved, parent_refs=())
    assert absent(gone, [moved], NOW).route_statuses["mail/internet"].status["parents"] == []


def test_a_copy_of_a_pod_is_not_counted() -> None:
    """`kubectl debug --copy-to` makes a pod with the same labels: it is neither waited for nor reported."""
    own = ObservedPod("outbound-0", 0, ready=True)
    copy = ObservedPod("debug-0", 0)
    status = reconcile(dataclasses.replace(observed([pool_body()]), pods=(own, copy))).pool_status
    assert status is not None
    assert [(pod["ordinal"], pod["phase"]) for pod in status["pods"]] == [(0, "Unreachable")]
    assert status["replicas"] == 1


@pytest.mark.parametrize(
    ("annotations", "children", "finalizer"),
    [
        pytest.param({}, [stateful_set(1)], Finalizer.KEEP, id="pods are left"),
        pytest.param({}, [stateful_set(0)], Finalizer.REMOVE, id="no pod is left"),
        pytest.param({}, [], Finalizer.REMOVE, id="nothing was made"),
        pytest.param({names.FORCE_DELETE: "true"}, [stateful_set(3)], Finalizer.REMOVE, id="forced"),
        pytest.param({names.FORCE_DELETE: "no"}, [stateful_set(3)], Finalizer.KEEP, id="not quite forced"),
    ],
)
def test_a_deleted_pool_goes_when_it_is_empty(
    annotations: dict[str, str], children: list[Body], finalizer: Finalizer
) -> None:
    """The finalizer holds a pool until its pods are gone, unless somebody forces it."""
    pool = pool_body(
        deletionTimestamp="2030-01-01T00:00:00Z", finalizers=[names.FINALIZER], annotations=annotations
    )
    assert reconcile(observed([pool, *children])).finalizer is finalizer


def test_a_pool_that_cannot_be_read_can_be_deleted() -> None:
    """Its StatefulSet is emptied as it stands, since nobody knows what the pool asked for."""
    pool = pool_body(deletionTimestamp="2030-01-01T00:00:00Z", finalizers=[names.FINALIZER])
    pool["spec"]["listeners"] = []
    world = observed([pool, stateful_set(1)])
    (body,) = reconcile(world).objects
    assert (body["kind"], body["spec"]["replicas"]) == ("StatefulSet", 0)  # no pod, no claim: never was
    mail = ObservedClaim("queue-outbound-0", 0, phase="Bound")
    (body,) = reconcile(dataclasses.replace(world, claims=(mail,))).objects
    assert body["spec"]["replicas"] == 1


def test_scaling_up_again_brings_pods_back() -> None:
    """A pod that was being emptied takes mail again, first in its relay and then in the Service."""
    world = read(golden.WORLDS / "shrinking.yaml")
    assert world.pool.pool is not None
    spec = world.pool.pool.spec.model_copy(update={"replicas": 3})
    pool = dataclasses.replace(world.pool, pool=dataclasses.replace(world.pool.pool, spec=spec))
    world = dataclasses.replace(world, pool=pool)
    wishes = reconcile(world)
    assert (wishes.undrains, wishes.drains, wishes.pod_patches) == (("outbound-2",), (), ())
    said = world.relays["outbound-2"]
    assert isinstance(said, RelayReport)
    active = RelayReport("outbound-2", said.config, True, said.queue)
    wishes = reconcile(dataclasses.replace(world, relays={**world.relays, "outbound-2": active}))
    assert wishes.undrains == ()
    assert [(patch.name, patch.labels) for patch in wishes.pod_patches] == [
        ("outbound-2", {names.ROLE_LABEL: names.ACTIVE})
    ]


def test_what_a_person_drains_stays_drained() -> None:
    """A pod that somebody drains by hand, for a reason of theirs, is not sent mail by the operator."""
    pod = ObservedPod("outbound-0", 0, ready=False, labels={names.ROLE_LABEL: names.ACTIVE})
    said = RelayReport("outbound-0", Config(), False, Queue(1), drain=Drain("draining", 1, 1))
    world = dataclasses.replace(
        observed([pool_body(), stateful_set(1)]), pods=(pod,), relays={"outbound-0": said}
    )
    assert (reconcile(world).undrains, reconcile(world).drains) == ((), ())
