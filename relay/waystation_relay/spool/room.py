"""The room on the volume: how much is left, and a reserve for the mail that is queued already.

Removing mail frees room only once that is committed, and a commit takes room:
on a disk that is full to the last byte nothing would ever go out again. So
some of it is kept back, as a file that is given up when a write fails for want
of room. From then on new mail is refused, until there is room for twice the reserve.

Owned by the writer thread.

Known limits
    Not every file system has allocated what it says it has (copy on write, thin volumes).
"""

import contextlib
import errno
import os

from waystation_relay.aio.clock import Clock
from waystation_relay.spool.layout import Layout
from waystation_relay.spool.segments import Segments
from waystation_relay.spool.trouble import fullness, volume_of
from waystation_relay.spool.values import FailureKind, Refusal, RefusalKind, SpoolFailure, SpoolLimits

RESERVE_BYTES = 16 * 2**20  # more than the WAL holds at a checkpoint, which may all have to go into the index
SMALLEST_SHARE = 16  # of a small volume, one part in so many
INTERVAL_S = 1.0  # how often the volume is looked at while committing

NO_ROOM = SpoolFailure(FailureKind.FULL, "the room that is left is kept for the mail that is queued")


class Room:
    """``is_reserved``: the reserve is there, and new mail may be taken as far as ``refusal`` allows."""

    def __init__(self, layout: Layout, segments: Segments, clock: Clock) -> None:
        self._layout = layout
        self._segments = segments
        self._clock = clock
        self._volume = volume_of(layout.directory)
        self._spare_bytes = 0
        self._seen = clock.monotonic()
        self._size_bytes = min(RESERVE_BYTES, self._volume.size_bytes // SMALLEST_SHARE)
        self.is_reserved = self._reserve()

    def is_due(self) -> bool:
        return self._clock.monotonic() - self._seen >= INTERVAL_S

    def refusal(self, size_bytes: int, limits: SpoolLimits) -> Refusal | None:
        """Whether what is queued, or the room there is, forbids taking more."""
        if not self.is_reserved:
            free, enough = self._volume.free_bytes, 2 * self._size_bytes
            return Refusal(
                RefusalKind.FULL,
                f"{free} bytes are free on the volume, kept for what is queued; intake resumes at {enough}",
            )
        return fullness(size_bytes, limits, self._volume, self._spare_bytes)

    def look(self, size_bytes: int, limits: SpoolLimits, *, is_sound: bool, spare_bytes: int = 0) -> None:
        """See what is left, and give back or take what is to be had.

        ``is_sound``: writing works. ``spare_bytes``: of the index's file, free for what comes.
        """
        self._spare_bytes = spare_bytes
        self._seen = self._clock.monotonic()
        self._volume = volume_of(self._layout.directory)
        if self.refusal(size_bytes, limits) is not None and self._segments.give_back():
            self._volume = volume_of(self._layout.directory)
        if not self.is_reserved and is_sound and self._volume.free_bytes >= 2 * self._size_bytes:
            self.is_reserved = self._reserve()

    def give_up(self) -> bool:
        """A write found no room: the reserve goes to what is queued. ``False``: it was gone already."""
        if not self.is_reserved:
            return False
        self.is_reserved = False
        self.close()
        self._segments.give_back()
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._layout.reserve.unlink(missing_ok=True)

    def _reserve(self) -> bool:
        """What is there from an earlier run counts."""
        try:
            fd = os.open(self._layout.reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, max(self._size_bytes, 1))
            finally:
                os.close(fd)
        except OSError as error:
            self.close()
            return error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
        return True
