"""Notices that the configuration changed, and hands over the new snapshot.

The folder is looked at once a second: names, sizes and modification times of
the files in it, links followed. That sees an edited file, a file renamed over
it, and the link swap by which the kubelet updates a mounted Secret, on every
file system alike. ``poke`` looks at once.

Invariants
    ``current`` is always a snapshot that loaded without error; a bad
    configuration leaves it in place and fills ``last_error``.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path

from waystation_contract.check import ConfigError
from waystation_relay.config.load import ConfigUnreadableError, load
from waystation_relay.config.snapshot import Snapshot

INTERVAL_S = 1.0


class Watcher:
    """Owns the current snapshot. ``changed`` hears of each swap, ``refused`` of each new error."""

    def __init__(
        self,
        path: Path,
        first: Snapshot,
        *,
        seen: bytes | None = None,
        changed: Callable[[Snapshot], None],
        refused: Callable[[str], None],
    ) -> None:
        """``seen``: the folder's fingerprint from before ``first`` was loaded, so that nothing is missed."""
        self.path = path
        self.current = first
        self.last_error = ""
        self._changed = changed
        self._refused = refused
        self._seen = fingerprint(path) if seen is None else seen
        self._wake = asyncio.Event()

    def poke(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_S):  # wait_for of 3.11 may swallow a cancellation
                    await self._wake.wait()
            self._wake.clear()
            self.look()

    def look(self) -> None:
        seen = fingerprint(self.path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            snapshot = load(self.path)
        except ConfigError as error:
            self._refuse(str(error))
            return
        except ConfigUnreadableError as error:
            self._seen = b""  # look again each time: mended permissions leave no trace in the fingerprint
            self._refuse(str(error))
            return
        self.last_error = ""
        self.current = snapshot
        self._changed(snapshot)

    def _refuse(self, error: str) -> None:
        if error != self.last_error:
            self.last_error = error
            self._refused(error)


def fingerprint(path: Path) -> bytes:
    """A digest of what the folder of ``path`` holds; files that vanish while we look count as absent."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError):
        for entry in sorted(path.parent.iterdir()):
            with contextlib.suppress(OSError):
                stat = entry.stat()
                digest.update(f"{entry.name}\0{stat.st_ino}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.digest()
