"""The other servers: which there are, which of them can run here, and how they get here.

    python -m bench.peers        # installs Exim and Haraka into the cache; ``make bench-peers``

Nothing is installed into the system and nothing into the checkout. Exim is
unpacked from Debian's package, since installing it would remove Postfix.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench import exim, haraka
from bench.cache import Absent
from bench.postfix import Postfix
from bench.servers import Make, Waystation

ALWAYS: tuple[Make, ...] = (Waystation, Postfix)
OPTIONAL: tuple[Make, ...] = (exim.Exim, haraka.Haraka)
EXIM_PACKAGES = ("exim4-daemon-light", "libidn12")
WITHIN_S = 600.0


def install_exim() -> None:
    """Raises ``Absent`` where there is no Debian."""
    for needed in ("apt-get", "dpkg-deb", "unshare"):
        if shutil.which(needed) is None:
            raise Absent(f"needs {needed}")
    packages = exim.ROOT.with_name("packages")
    packages.mkdir(parents=True, exist_ok=True)
    for old in packages.glob("*.deb"):
        old.unlink()
    _run(["apt-get", "download", *EXIM_PACKAGES], packages)
    for package in packages.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(package), str(exim.ROOT)], packages)
    exim.BINARY.chmod(0o755)  # without its setuid bit: nobody else is to run it


def install_haraka() -> None:
    """Raises ``Absent`` where there is no npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise Absent("needs node and npm: apt-get install nodejs npm")
    haraka.ROOT.mkdir(parents=True, exist_ok=True)
    _run(
        ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(haraka.ROOT),
         "Haraka@3"],
        haraka.ROOT,
    )  # fmt: skip


def _run(command: list[str], folder: Path) -> None:
    run = subprocess.run(
        command,
        check=False,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        stdin=subprocess.DEVNULL,
    )
    if run.returncode != 0:
        raise Absent(f"{' '.join(command)} ended with {run.returncode}: {run.stderr.strip()[-400:]}")


INSTALL: dict[str, Callable[[], None]] = {"exim": install_exim, "haraka": install_haraka}


def main() -> int:
    code = 0
    for name, install in INSTALL.items():
        try:
            install()
        except Absent as absent:
            print(f"{name}: left out: {absent}", file=sys.stderr)
            code = 1
        else:
            print(f"{name}: ready")
    return code


if __name__ == "__main__":
    sys.exit(main())
