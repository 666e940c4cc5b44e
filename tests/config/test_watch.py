"""The configuration is watched: changes are seen, mistakes are told once, and the last good one stays."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.support.relay import document, route, to

from waystation_relay.config import watch
from waystation_relay.config.load import ConfigUnreadableError, load
from waystation_relay.config.snapshot import Snapshot
from waystation_relay.config.watch import Watcher, fingerprint


class Folder:
    """A configuration's folder, and what its watcher tells."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "relay.json"
        self.changes: list[Snapshot] = []
        self.refusals: list[str] = []
        self.write("test/first")

    def write(self, name: str) -> None:
        self.put(msgspec.json.encode(document(2525, route(to(25), name=name))))

    def put(self, content: bytes) -> None:
        fresh = self.path.with_name(".new")
        fresh.write_bytes(content)
        fresh.rename(self.path)

    def watch(self, seen: bytes | None = None, first: Snapshot | None = None) -> Watcher:
        return Watcher(
            self.path,
            first or load(self.path),
            seen=seen,
            changed=self.changes.append,
            refused=self.refusals.append,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_nothing_changed(folder: Folder) -> None:
    """A look at an unchanged folder tells nobody anything."""
    watcher = folder.watch()
    watcher.look()
    assert (folder.changes, folder.refusals) == ([], [])


def test_a_new_document_is_taken(folder: Folder) -> None:
    """The new snapshot is current before anybody is told of it."""
    watcher = folder.watch()
    folder.write("test/second")
    watcher.look()
    (snapshot,) = folder.changes
    assert watcher.current is snapshot
    assert snapshot.document.routes[0].name == "test/second"


def test_a_change_between_loading_and_watching_is_not_missed(folder: Folder) -> None:
    """The operator writes while the relay starts: the first look finds it."""
    seen = fingerprint(folder.path)
    first = load(folder.path)
    folder.write("test/second")
    watcher = folder.watch(seen, first)
    watcher.look()
    assert [snapshot.document.routes[0].name for snapshot in folder.changes] == ["test/second"]


def test_a_mistake_keeps_the_last_good_one(folder: Folder) -> None:
    """The error is there to be read until a good document comes."""
    watcher = folder.watch()
    good = watcher.current
    folder.put(b"{")
    watcher.look()
    assert watcher.current is good
    assert "JSON" in watcher.last_error
    assert folder.refusals == [watcher.last_error]
    folder.write("test/third")
    watcher.look()
    assert watcher.last_error == ""
    assert watcher.current.document.routes[0].name == "test/third"


def test_what_cannot_be_read_is_tried_again_and_told_once(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions that are mended leave no trace in names, sizes and times: only trying finds out."""
    watcher = folder.watch()
    folder.write("test/second")

    def unreadable(_: Path) -> Snapshot:
        raise ConfigUnreadableError("relay-tls.key: cannot be read: Permission denied")

    with monkeypatch.context() as denied:
        denied.setattr(watch, "load", unreadable)
        for _ in range(3):
            watcher.look()
    assert len(folder.refusals) == 1
    watcher.look()
    assert watcher.last_error == ""
    assert watcher.current.document.routes[0].name == "test/second"


def test_the_link_swap_of_a_mounted_secret(tmp_path: Path) -> None:
    """The kubelet swaps a link to a folder: seen as one change, whatever the files' times are."""
    for version in ("..one", "..two"):
        (tmp_path / version).mkdir()
        content = msgspec.json.encode(document(2525, route(to(25), name=f"test/{version[2:]}")))
        (tmp_path / version / "relay.json").write_bytes(content)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "relay.json").symlink_to("..data/relay.json")
    changes: list[Snapshot] = []
    path = tmp_path / "relay.json"
    watcher = Watcher(path, load(path), changed=changes.append, refused=lambda _: None)
    (tmp_path / "..next").symlink_to("..two")
    (tmp_path / "..next").rename(tmp_path / "..data")
    watcher.look()
    assert [snapshot.document.routes[0].name for snapshot in changes] == ["test/two"]


def test_a_file_edited_in_place(folder: Folder) -> None:
    """Not everybody renames: a document written over is seen too."""
    watcher = folder.watch()
    folder.path.write_bytes(msgspec.json.encode(document(2525, route(to(25), name="test/edited"))))
    watcher.look()
    assert watcher.current.document.routes[0].name == "test/edited"


def test_a_new_password_alone_is_a_change(tmp_path: Path) -> None:
    """The document is the same, the Secret beside it is not: the next connection logs in with the new one."""
    for name, value in (("username", "us"), ("password", "old")):
        (tmp_path / f"up.{name}").write_text(value)
    folder = Folder(tmp_path)
    folder.put(msgspec.json.encode(document(2525, route(to(25, credential="up")))))
    watcher = folder.watch()
    (tmp_path / "up.password").write_text("newer")
    watcher.look()
    (snapshot,) = folder.changes
    assert snapshot.credential("up").password == "newer"
    assert snapshot.hash == load(folder.path).hash


def test_a_secret_that_is_taken_away_changes_nothing(tmp_path: Path) -> None:
    """A password file that vanishes is a mistake like any other: told, and the last good one stays."""
    for name in ("username", "password"):
        (tmp_path / f"up.{name}").write_text("us")
    folder = Folder(tmp_path)
    folder.put(msgspec.json.encode(document(2525, route(to(25, credential="up")))))
    watcher = folder.watch()
    (tmp_path / "up.password").unlink()
    watcher.look()
    assert watcher.current.credential("up").password == "us"
    assert "up.password" in watcher.last_error
    (tmp_path / "up.password").write_text("back")
    watcher.look()
    assert (watcher.last_error, watcher.current.credential("up").password) == ("", "back")


def test_the_folder_vanishes_for_a_moment(folder: Folder, tmp_path: Path) -> None:
    """A volume that is remounted: the relay goes on with what it has, and takes what comes back."""
    watcher = folder.watch()
    tmp_path.rename(tmp_path.with_name("away"))
    watcher.look()
    assert "relay.json" in watcher.last_error
    tmp_path.with_name("away").rename(tmp_path)
    watcher.look()
    assert watcher.last_error == ""


async def test_a_poke_looks_at_once(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an hour to the next look, a poke still finds the change now."""
    monkeypatch.setattr(watch, "INTERVAL_S", 3600.0)
    taken = asyncio.Event()
    watcher = folder.watch()
    watcher._changed = lambda _: taken.set()
    running = asyncio.create_task(watcher.run())
    folder.write("test/second")
    watcher.poke()
    await asyncio.wait_for(taken.wait(), 10)
    running.cancel()
