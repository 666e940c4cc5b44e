"""Where the benchmark keeps what it installs and compiles: outside the checkout and outside the system.

``$XDG_CACHE_HOME/waystation-bench``, usually ``~/.cache/waystation-bench``:
peers that are not packages of this project, and the load generator, compiled
once for each version of its source.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "load"
COMPILE_WITHIN_S = 120.0


class Absent(Exception):  # noqa: N818 -- the word for what happened
    """A tool or peer is not there; the text says what to do."""


def folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "waystation-bench"


def tool(name: str) -> Path:
    """The compiled ``source`` or ``sink``; compiles it when its source is new. Raises ``Absent``."""
    texts = sorted(SOURCES.glob("*.[ch]"))
    version = hashlib.sha256(b"".join(path.read_bytes() for path in texts)).hexdigest()[:12]
    built = folder() / f"load-{version}" / name
    if built.exists():
        return built
    compiler = shutil.which("cc")
    if compiler is None:
        raise Absent("no C compiler: apt-get install gcc libc6-dev libssl-dev")
    built.parent.mkdir(parents=True, exist_ok=True)
    fresh = built.with_suffix(".new")
    run = subprocess.run(
        [
            compiler, "-O2", "-Wall", "-pthread", "-o", str(fresh),
            str(SOURCES / f"{name}.c"), str(SOURCES / "smtp.c"), "-lssl", "-lcrypto",
        ],
        check=False, capture_output=True, text=True, timeout=COMPILE_WITHIN_S,
    )  # fmt: skip
    if run.returncode != 0:
        raise Absent(f"{name}.c does not compile (apt-get install libssl-dev?): {run.stderr[:300]}")
    fresh.rename(built)
    return built
