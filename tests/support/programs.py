"""The programs the tests start, and the Debian packages they come from.

``program(name)`` is how a fixture finds one: a missing program fails the test
with the package to install, it never skips. ``python -m tests.support.programs``
checks all of them at once and is what ``make test`` runs first.
"""

import os
import shutil
import sys

import pytest

PACKAGES = {
    "postfix": "postfix",
    "smtp-source": "postfix",
    "smtp-sink": "postfix",
    "dovecot": "dovecot-core",
    "/usr/lib/dovecot/lmtp": "dovecot-lmtpd",
    "swaks": "swaks",
    "unbound": "unbound",
    "nsd": "nsd",
    "opendkim": "opendkim",
    "openssl": "openssl",
    "gcc": "gcc",
    "mkfs.ext4": "e2fsprogs",
    "e2fsck": "e2fsprogs",
}
_SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/sbin"  # not in everybody's PATH, but where daemons live


def find(name: str) -> str | None:
    """Where the program is, or ``None``; an absolute name is looked for as it is."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_PATH}")


def program(name: str) -> str:
    """Where the program is; without it the test fails and says what to install."""
    where = find(name)
    if where is None:
        pytest.fail(f"{name} is missing: apt-get install {PACKAGES[name]}", pytrace=False)
    return where


def main() -> int:
    absent = [name for name in PACKAGES if find(name) is None]
    for name in PACKAGES:
        print(f"    {name}: {find(name) or 'MISSING'}")
    if absent:
        packages = " ".join(sorted({PACKAGES[name] for name in absent}))
        print(
            f"error: missing {', '.join(absent)}. On Debian or Ubuntu: apt-get install {packages}",
            file=sys.stderr,
        )
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
