"""The shim (``shim/``): compiling it, putting it under a process, steering it from within one.

Compiled by the tests with the C compiler of the machine, never kept. In a
process of its own (``under``) everything is set by the environment; the lab
(``lab``), which runs many small scenarios, uses ``Shim`` instead.
"""

import ctypes
import errno
import os
import subprocess
from pathlib import Path

import pytest
from tests.support.programs import program

SOURCES = Path(__file__).parent / "shim"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-shared", "-fPIC")


def build(folder: Path) -> Path:
    """The library, compiled into a folder."""
    library = folder / "shim.so"
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    run = subprocess.run(
        [program("gcc"), *FLAGS, "-o", str(library), *sources, "-ldl", "-lpthread"],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if run.returncode:
        pytest.fail(f"gcc: {run.stderr}\n(apt-get install gcc libc6-dev)", pytrace=False)
    return library


def under(
    library: Path, root: Path, *, journal: Path | None = None, rules: str = "", during: Path | None = None
) -> dict[str, str]:
    """The environment of a process that is watched below ``root``; rules hold while ``during`` exists."""
    return {
        "LD_PRELOAD": str(library),
        "FAULT_ROOT": os.path.realpath(root),
        "FAULT_JOURNAL": str(journal or ""),
        "FAULT_RULES": rules,
        **({"FAULT_WHILE": str(during)} if during else {}),
    }


def rule(operation: str, action: str | int, *, name: str = "*", first: int = 1, times: int = 0) -> str:
    """One rule (``shim/rules.c``): which calls, and what becomes of them. ``times`` 0: of all that follow."""
    assert action in ("lie", "short", "kill", "count") or isinstance(action, int) or action[:5] == "wait:"
    if isinstance(action, int):
        assert action in errno.errorcode
    return f"{operation},{name},{first},{times},{action}"


class Shim:
    """The library within this process, which was started under it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.fault_seen.restype = ctypes.c_long

    def watch(self, root: Path, journal: Path) -> None:
        self._library.fault_start(os.fsencode(os.path.realpath(root)), os.fsencode(journal))

    def ignore(self) -> None:
        self._library.fault_start(None, None)

    def rules(self, *rules: str) -> None:
        self._library.fault_rules(";".join(rules).encode())

    def note(self, text: str) -> None:
        self._library.fault_note(text.encode())

    def seen(self, number: int = 0) -> int:
        """How many calls the rule of that number has seen."""
        return int(self._library.fault_seen(number))
