"""What the operator knows of the cluster: the latest version of each object it watches.

Fed by watch events, by lists and by the answers to our own writes, in
whatever order they come: an older version never replaces a newer one. Pure.

Invariants
    Of one object, the highest resourceVersion that was told is the one kept.
    ``sync`` removes only what was there before the list was made.
Known limits
    Resource versions are compared as numbers (what the API server documents
    since 1.35, and etcd always was); others are taken as they come.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from waystation_operator.cluster.kinds import CHILDREN, Kind

Object = Mapping[str, Any]
Key = tuple[str, str]  # namespace, name


class Change(enum.Enum):
    """What a version brought. ``ECHO``: only what machines write (status, labels of the machinery)."""

    NOTHING = "nothing"
    ECHO = "echo"
    WISH = "wish"  # somebody wants something else: the object came, went, or its generation changed


@dataclass(slots=True)
class _Shelf:
    objects: dict[Key, Object] = field(default_factory=dict)
    gone: dict[Key, int] = field(default_factory=dict)  # version at which it was deleted
    unheard: dict[Key, int] = field(default_factory=dict)  # found by a list, not yet told by the watch
    synced: bool = False


class Store:
    """One shelf a kind."""

    def __init__(self) -> None:
        self._shelves: dict[Kind, _Shelf] = {}
        self._refusals: dict[tuple[Kind, Key], str] = {}

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        return self._shelf(kind).objects.get((namespace, name))

    def all(self, kind: Kind, namespace: str | None = None) -> Iterator[Object]:
        for (where, _), found in self._shelf(kind).objects.items():
            if namespace is None or where == namespace:
                yield found

    def put(self, kind: Kind, body: Object, *, heard: bool = False) -> Change:
        """``heard``: a watch told it (else we read or wrote it ourselves)."""
        shelf, key, version = self._shelf(kind), key_of(body), version_of(body)
        if heard and version >= shelf.unheard.get(key, 0):
            shelf.unheard.pop(key, None)
        before = shelf.objects.get(key)
        if before is not None and version and version <= version_of(before) and uid(body) == uid(before):
            return Change.NOTHING
        if version and version <= shelf.gone.get(key, 0):
            return Change.NOTHING
        shelf.objects[key] = body if kind in CHILDREN else slim(body)
        shelf.gone.pop(key, None)
        return Change.ECHO if before is not None and wishes(body) == wishes(before) else Change.WISH

    def refuse(self, kind: Kind, namespace: str, name: str, why: str) -> None:
        """The API server will not have the object as it is wanted; empty: it does now."""
        if why:
            self._refusals[kind, (namespace, name)] = why
        else:
            self._refusals.pop((kind, (namespace, name)), None)

    def refusals(self, kind: Kind, namespace: str) -> dict[str, str]:
        """Why, by name."""
        return {
            name: why
            for (of, (where, name)), why in self._refusals.items()
            if (of, where) == (kind, namespace)
        }

    def remove(self, kind: Kind, body: Object) -> Change:
        """A watch told that it is gone; ``body`` is its last version."""
        shelf, key, version = self._shelf(kind), key_of(body), version_of(body)
        self._refusals.pop((kind, key), None)
        shelf.unheard.pop(key, None)
        before = shelf.objects.get(key)
        if before is None or version_of(before) > version:
            return Change.NOTHING
        del shelf.objects[key]
        shelf.gone[key] = version
        return Change.WISH

    def drop(self, kind: Kind, namespace: str, name: str) -> None:
        """The API server says that there is no such object."""
        self._shelf(kind).objects.pop((namespace, name), None)

    def sync(self, kind: Kind, namespace: str, items: Iterable[Object], version: int) -> list[Object]:
        """Takes a whole list, made at ``version``, of one namespace (empty: of all). Returns what the
        watch had not told: objects that are newer there, or no longer there."""
        shelf = self._shelf(kind)
        listed = {key_of(item): item for item in items}
        missed: list[Object] = []
        for key, before in list(shelf.objects.items()):
            if key not in listed and namespace in ("", key[0]) and version_of(before) <= version:
                del shelf.objects[key]
                shelf.gone[key] = version
                missed.append(before)
        for key, item in listed.items():
            if self.put(kind, item) is not Change.NOTHING:
                missed.append(item)
                if shelf.synced:
                    shelf.unheard[key] = version_of(item)
        for key, deleted in list(shelf.gone.items()):
            if deleted < version:  # nothing as old as this will be told any more
                del shelf.gone[key]
        shelf.synced = True
        return missed

    def unheard(self, kind: Kind) -> int:
        """How many objects a list has shown and the watch has not told since."""
        return len(self._shelf(kind).unheard)

    def excuse(self, kind: Kind) -> None:
        """The watch of this kind begins anew: what it has missed no longer counts against it."""
        self._shelf(kind).unheard.clear()

    def _shelf(self, kind: Kind) -> _Shelf:
        return self._shelves.setdefault(kind, _Shelf())


def slim(body: Object) -> Object:
    """Without the managed fields, which are most of a body, and which matter for what we apply only."""
    if "managedFields" not in body["metadata"]:
        return body
    return {**body, "metadata": {k: v for k, v in body["metadata"].items() if k != "managedFields"}}


def key_of(body: Object) -> Key:
    metadata = body["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def uid(body: Object) -> str:
    return str(body["metadata"].get("uid", ""))


def version_of(body: Object) -> int:
    """0 for a version that is no number: it is taken as it comes."""
    text = str(body["metadata"].get("resourceVersion", ""))
    return int(text) if text.isascii() and text.isdigit() else 0


def wishes(body: Object) -> tuple[object, ...]:
    """What differs when somebody wants something else of the object."""
    metadata = body["metadata"]
    return (
        uid(body),
        metadata.get("generation"),
        metadata.get("labels"),
        metadata.get("annotations"),
        metadata.get("deletionTimestamp"),
        tuple(metadata.get("finalizers") or ()),
    )
