"""``waystation relay``, before it is a relay: what it prepares for the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# The command ends, as there is no configuration; then SQLite is made to write a temporary table to disk.
SPILL = """
import contextlib, os, sys
from waystation_relay.cli.relay import command
with contextlib.suppress(SystemExit):
    command.main(sys.argv[1:])
import sqlite3
db = sqlite3.connect(":memory:", isolation_level=None)
db.execute("PRAGMA temp_store=FILE")
db.execute("CREATE TEMP TABLE found (text)")
db.execute("PRAGMA temp.cache_size=10")
db.execute("BEGIN")
db.executemany("INSERT INTO found VALUES (?)", [("x" * 1000,)] * 200)
for number in range(3, 64):
    with contextlib.suppress(OSError):
        print(os.readlink(f"/proc/self/fd/{number}"))
"""


@pytest.mark.parametrize("given", [None, "elsewhere"], ids=["by itself", "unless told otherwise"])
def test_sqlite_keeps_temporary_files_on_the_volume(tmp_path: Path, given: str | None) -> None:
    """A pod has no other folder to write to, and rebuilding a damaged index takes temporary tables."""
    environment = {name: text for name, text in os.environ.items() if name not in ("SQLITE_TMPDIR", "TMPDIR")}
    data = tmp_path / "spool"
    folder = tmp_path / given if given else data
    for made in {data, folder}:
        made.mkdir()
    if given:
        environment["SQLITE_TMPDIR"] = str(folder)
    said = subprocess.run(
        [sys.executable, "-c", SPILL, "--config", str(tmp_path / "absent.json"), "--data", str(data)],
        env=environment, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert "absent.json" in said.stderr
    places = {str(Path(line).parent) for line in said.stdout.splitlines() if "etilqs" in line}
    assert places == {str(folder)}, said.stdout
