"""The directory: whose it is, which format it has, and what keeps a spool from being opened."""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.spool.conftest import OpenSpool

from waystation_relay.spool.layout import FORMAT, Layout
from waystation_relay.spool.values import Locked, NewerFormat, Unusable

OWNER = """
import sys
from pathlib import Path
from waystation_relay.spool.layout import Layout
Layout(Path(sys.argv[1])).claim()
print("mine", flush=True)
sys.stdin.read()
"""


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_second_owner_is_refused_and_told_who(tmp_path: Path) -> None:
    """Two relays on one spool would send everything twice: the second hears which process has it."""
    spool = tmp_path / "spool"
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, spool], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"mine\n"
        with pytest.raises(Locked, match=f"in use by process {owner.pid}: stop it") as refused:
            Layout(spool).claim()
        assert refused.value.pid == owner.pid
        owner.kill()  # kill -9: the kernel lets the lock go, the file it leaves behind means nothing
        owner.wait()
    assert (spool / "lock").read_text() == f"{owner.pid}\n"
    layout = Layout(spool)
    layout.claim()
    assert (spool / "lock").read_text() == f"{os.getpid()}\n"
    layout.release()


def test_owner_in_the_same_process_is_refused(tmp_path: Path) -> None:
    """The lock holds within a process, too, and is free after release."""
    first = Layout(tmp_path / "spool")
    first.claim()
    with pytest.raises(Locked):
        Layout(tmp_path / "spool").claim()
    first.release()
    second = Layout(tmp_path / "spool")
    second.claim()
    assert second.tag == first.tag
    second.release()


async def test_newer_format_file_is_left_alone(open_spool: OpenSpool, tmp_path: Path) -> None:
    """A spool that a later Waystation has upgraded is refused, and not a byte of it changes."""
    await open_spool().close()
    spool = tmp_path / "spool"
    found = json.loads((spool / "format").read_bytes())
    (spool / "format").write_text(json.dumps({**found, "format": FORMAT + 1, "more": "than we know"}))
    before = digest(spool)
    with pytest.raises(NewerFormat, match="run the newer version; nothing was changed"):
        open_spool()
    assert digest(spool) == before


@pytest.mark.parametrize("format_file", ["kept", "lost"])
async def test_newer_index_is_left_alone(open_spool: OpenSpool, tmp_path: Path, format_file: str) -> None:
    """The index carries the format, too: refused by its header, without SQLite touching anything."""
    user = open_spool()
    await user.take(b"x")
    await user.close()
    spool = tmp_path / "spool"
    with closing(sqlite3.connect(spool / "index")) as db:
        db.execute(f"PRAGMA user_version={FORMAT + 1}")
    if format_file == "lost":
        (spool / "format").unlink()
    before = digest(spool)
    with pytest.raises(NewerFormat) as refused:
        open_spool()
    assert (refused.value.found, refused.value.known) == (FORMAT + 1, FORMAT)
    assert digest(spool) == before


FOREIGN = {
    "empty": b"",
    "no JSON": b"hello",
    "no UTF-8": b'{"name":"\xff"}',
    "another program's": b'{"name":"postfix","format":1,"instance":"ABCDE"}',
    "no instance": b'{"name":"waystation-spool","format":1}',
    "bad instance": b'{"name":"waystation-spool","format":1,"instance":"../.."}',
    "format zero": b'{"name":"waystation-spool","format":0,"instance":"ABCDE"}',
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_foreign_format_file_is_refused(tmp_path: Path, content: bytes) -> None:
    """A directory that is somebody else's is named and left alone."""
    (tmp_path / "format").write_bytes(content)
    with pytest.raises(Unusable, match="is not a spool's format file"):
        Layout(tmp_path).claim()
    assert [path.name for path in tmp_path.iterdir()] == ["format"]


def test_directory_that_is_a_file(tmp_path: Path) -> None:
    """The path is taken by a file: the error says which, and what is wrong with it."""
    (tmp_path / "spool").write_text("not a directory")
    with pytest.raises(Unusable, match=r"Not a directory|File exists"):
        Layout(tmp_path / "spool").claim()


def test_parents_are_made(tmp_path: Path) -> None:
    """A path that does not exist yet is made, for the owner's eyes only."""
    layout = Layout(tmp_path / "a" / "b" / "spool")
    layout.claim()
    layout.release()
    assert [(tmp_path / part).stat().st_mode & 0o777 for part in ("a", "a/b", "a/b/spool")] == [0o700] * 3


async def test_failed_open_gives_the_lock_back(open_spool: OpenSpool, tmp_path: Path) -> None:
    """When opening fails for another reason, the next attempt is not told that the spool is in use."""
    spool = tmp_path / "spool"
    await open_spool().close()
    (spool / "index").unlink()
    (spool / "index").mkdir()
    with pytest.raises(Unusable):
        open_spool()
    (spool / "index").rmdir()
    await open_spool().take(b"x")


async def test_instance_tag_is_part_of_every_queue_id(open_spool: OpenSpool, tmp_path: Path) -> None:
    """Queue ids of two spools never meet: each carries its own spool's tag, the same after a restart."""
    one, other = open_spool(tmp_path / "one"), open_spool(tmp_path / "other")
    tags = {(await user.take(b"x")).queue_id.partition("-")[2] for user in (one, other)}
    assert len(tags) == 2
    await one.close()
    again = await open_spool(tmp_path / "one").take(b"x")
    assert again.queue_id.partition("-")[2] in tags
