"""The folder of a local run: who may read it, and that a reader never sees half of a change."""

import stat
from pathlib import Path

import pytest
from tests.local.worlds import plans, pool

from waystation_contract import codec
from waystation_contract.model import Document
from waystation_operator.local.layout import Layout, write, write_pod


@pytest.fixture
def document() -> Document:
    (plan,) = plans(pool("outbound", 25))
    assert plan.document is not None
    return plan.document


def test_pod_folder(tmp_path: Path, document: Document) -> None:
    """Document, Secrets, a token and a place for the queue; all of it for the owner alone."""
    layout = Layout(tmp_path / "run")
    assert write_pod(layout, "outbound-0", document, {"mail.up.password": b"hunter2"}) is True
    folder = layout.pod("outbound-0")
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))
    assert names == ["admin-token", "config", "config/mail.up.password", "config/relay.json", "spool"]
    assert codec.decode(layout.document("outbound-0").read_bytes())[0] == document
    assert len(layout.token("outbound-0").read_text().strip()) > 30
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_nothing_changes_twice(tmp_path: Path, document: Document) -> None:
    """The same again touches nothing: a relay that watches the folder has nothing to do. The token stays."""
    layout = Layout(tmp_path)
    write_pod(layout, "outbound-0", document, {"a.username": b"x"})
    token = layout.token("outbound-0").read_bytes()
    before = layout.document("outbound-0").stat()
    assert write_pod(layout, "outbound-0", document, {"a.username": b"x"}) is False
    after = layout.document("outbound-0").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert layout.token("outbound-0").read_bytes() == token


def test_what_is_no_longer_named_is_removed(tmp_path: Path, document: Document) -> None:
    """A Secret that the document does not need any more does not stay on the disk; nor does a torn write."""
    layout = Layout(tmp_path)
    write_pod(layout, "outbound-0", document, {"old.username": b"x", "new.username": b"x"})
    (layout.document("outbound-0").parent / "old.username.new").write_bytes(b"torn")
    assert write_pod(layout, "outbound-0", document, {"new.username": b"x"}) is True
    names = sorted(path.name for path in layout.document("outbound-0").parent.iterdir())
    assert names == ["new.username", "relay.json"]


def test_write_replaces_by_rename(tmp_path: Path) -> None:
    """Who has the old file open goes on reading the old one, whole."""
    path = tmp_path / "file"
    assert write(path, b"old") is True
    with path.open("rb") as reader:
        assert write(path, b"new, and longer") is True
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new, and longer"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_write_over_a_torn_attempt(tmp_path: Path) -> None:
    """What a killed writer left beside the file is in nobody's way."""
    (tmp_path / "file.new").write_bytes(b"torn")
    assert write(tmp_path / "file", b"whole") is True
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("file", b"whole")]
