"""What the operator knows of the cluster, whatever order it hears things in."""

import itertools

import pytest

from waystation_operator.cluster.kinds import MAIL_ROUTE, POD, STATEFUL_SET
from waystation_operator.cluster.store import Change, Object, Store


def body(name: str, version: int, *, uid: str = "u", generation: int = 1, **more: object) -> Object:
    metadata = {
        "namespace": "mail",
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "generation": generation,
        **more,
    }
    return {"apiVersion": "waystation.dev/v1alpha1", "kind": "MailRoute", "metadata": metadata}


def version(store: Store, name: str) -> str | None:
    found = store.get(MAIL_ROUTE, "mail", name)
    return found["metadata"]["resourceVersion"] if found else None


@pytest.mark.parametrize("order", list(itertools.permutations([1, 2, 3])), ids=str)
def test_the_newest_version_stays(order: tuple[int, ...]) -> None:
    """Events, lists and answers may overtake one another; an older version never replaces a newer one."""
    store = Store()
    for number in order:
        store.put(MAIL_ROUTE, body("a", number))
    assert version(store, "a") == "3"


def test_a_deleted_object_does_not_come_back_by_an_old_event() -> None:
    """After a deletion, what is heard late of the time before it counts for nothing."""
    store = Store()
    store.put(MAIL_ROUTE, body("a", 5))
    assert store.remove(MAIL_ROUTE, body("a", 7)) is Change.WISH
    assert store.put(MAIL_ROUTE, body("a", 6)) is Change.NOTHING
    assert version(store, "a") is None


def test_a_successor_of_the_same_name_is_taken() -> None:
    """Deleted and made anew is another object, and a late deletion of the old one does not touch it."""
    store = Store()
    store.put(MAIL_ROUTE, body("a", 5, uid="old"))
    assert store.put(MAIL_ROUTE, body("a", 9, uid="new")) is Change.WISH
    assert store.remove(MAIL_ROUTE, body("a", 8, uid="old")) is Change.NOTHING
    assert version(store, "a") == "9"


@pytest.mark.parametrize(
    ("after", "change"),
    [
        ({"generation": 2}, Change.WISH),
        ({"labels": {"a": "b"}}, Change.WISH),
        ({"annotations": {"a": "b"}}, Change.WISH),
        ({"deletionTimestamp": "2030-01-01T00:00:00Z"}, Change.WISH),
        ({"finalizers": ["x"]}, Change.WISH),
        ({"uid": "other"}, Change.WISH),
        ({}, Change.ECHO),
    ],
    ids=lambda value: value.name if isinstance(value, Change) else next(iter(value), "status"),
)
def test_wishes_are_told_from_echoes(after: dict[str, object], change: Change) -> None:
    """A changed spec or mark is somebody's wish; a status is the machinery's echo."""
    store = Store()
    assert store.put(MAIL_ROUTE, body("a", 1)) is Change.WISH
    assert store.put(MAIL_ROUTE, body("a", 1)) is Change.NOTHING
    assert store.put(MAIL_ROUTE, body("a", 2, **after)) is change  # type: ignore[arg-type]


def test_a_list_finds_what_was_missed() -> None:
    """What came, changed or went while nobody told is found by the next list, and told once."""
    store = Store()
    store.sync(MAIL_ROUTE, "", [body("same", 1), body("changed", 2), body("gone", 3)], 3)
    missed = store.sync(MAIL_ROUTE, "", [body("same", 1), body("changed", 8), body("new", 9)], 9)
    assert sorted(found["metadata"]["name"] for found in missed) == ["changed", "gone", "new"]
    assert version(store, "gone") is None
    assert store.sync(MAIL_ROUTE, "", [body("same", 1), body("changed", 8), body("new", 9)], 9) == []


def test_a_list_does_not_remove_what_came_after_it() -> None:
    """An object made while the list was under way is not in it, and stays."""
    store = Store()
    store.put(MAIL_ROUTE, body("late", 12))
    assert store.sync(MAIL_ROUTE, "", [], 10) == []
    assert version(store, "late") == "12"


def test_a_list_of_a_namespace_speaks_of_that_namespace_only() -> None:
    """An operator of two namespaces lists each by itself."""
    store = Store()
    store.put(MAIL_ROUTE, body("a", 1))
    assert store.sync(MAIL_ROUTE, "elsewhere", [], 10) == []
    assert version(store, "a") == "1"


def test_a_watch_that_catches_up_has_not_stalled() -> None:
    """A list may be faster than a watch; a watch that never tells is what counts."""
    store = Store()
    store.sync(MAIL_ROUTE, "", [body("a", 1)], 1)
    assert store.unheard(MAIL_ROUTE) == 0  # the first list is before any watch
    store.sync(MAIL_ROUTE, "", [body("a", 5)], 5)
    assert store.unheard(MAIL_ROUTE) == 1
    store.put(MAIL_ROUTE, body("a", 4), heard=True)
    assert store.unheard(MAIL_ROUTE) == 1
    store.put(MAIL_ROUTE, body("a", 5), heard=True)
    assert store.unheard(MAIL_ROUTE) == 0
    store.sync(MAIL_ROUTE, "", [body("a", 8)], 8)
    store.excuse(MAIL_ROUTE)
    assert store.unheard(MAIL_ROUTE) == 0


def test_only_what_we_apply_keeps_its_managed_fields() -> None:
    """Managed fields are most of an object; they are kept where they decide what is written."""
    store = Store()
    fields = [{"manager": "waystation-operator"}]
    for kind in (POD, STATEFUL_SET):
        store.put(kind, body("a", 1, managedFields=fields))
    pod, workload = store.get(POD, "mail", "a"), store.get(STATEFUL_SET, "mail", "a")
    assert pod is not None
    assert "managedFields" not in pod["metadata"]
    assert workload is not None
    assert workload["metadata"]["managedFields"] == fields
