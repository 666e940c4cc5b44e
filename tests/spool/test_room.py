"""A full volume: what is queued can still be settled, from a reserve that is kept for it."""

import errno
import os
from pathlib import Path

import pytest

from waystation_relay.aio.clock import ManualClock
from waystation_relay.spool import room
from waystation_relay.spool.layout import Layout
from waystation_relay.spool.room import Room
from waystation_relay.spool.segments import Segments
from waystation_relay.spool.trouble import Volume
from waystation_relay.spool.values import SpoolLimits, Tuning

MIB = 2**20
LIMITS = SpoolLimits(max_bytes=1000 * MIB, full_at_percent=100)


class Site:
    """A room in a folder, on a volume of which the test says how much is free."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, size_mib: float = 160) -> None:
        self.size_mib = self.free_mib = size_mib
        self.layout = Layout(folder)
        self.layout.segments.mkdir()
        self.clock = ManualClock()
        self.segments = Segments(self.layout, Tuning(segment_bytes=1 * MIB), 1)
        monkeypatch.setattr(room, "volume_of", lambda _: self.volume())
        self.room = self.opened()

    def opened(self) -> Room:
        return Room(self.layout, self.segments, self.clock)

    def volume(self) -> Volume:
        return Volume(int(self.size_mib * MIB), int(self.free_mib * MIB))

    def look(self, *, is_sound: bool = True) -> None:
        self.room.look(0, LIMITS, is_sound=is_sound)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("volume_mib", "reserve_mib"),
    [pytest.param(16, 1, id="a small volume"), pytest.param(10_240, 16, id="a usual volume")],
)
def test_room_is_allocated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, volume_mib: int, reserve_mib: int
) -> None:
    """The reserve takes real blocks, a sixteenth of a small volume and 16 MiB of others."""
    site = Site(tmp_path, monkeypatch, volume_mib)
    assert site.room.is_reserved
    assert site.layout.reserve.stat().st_blocks * 512 >= reserve_mib * MIB


def test_given_up_once(site: Site) -> None:
    """A write that found no room gets the reserve's; a second one has no second reserve."""
    assert site.room.give_up()
    assert not site.layout.reserve.exists()
    assert not site.room.give_up()


def test_without_the_reserve_no_mail_is_taken(site: Site) -> None:
    """However much the limits would allow: what was freed is for what is queued."""
    assert site.room.refusal(0, LIMITS) is None
    site.room.give_up()
    refusal = site.room.refusal(0, LIMITS)
    assert refusal is not None
    assert "kept for what is queued" in refusal.text


@pytest.mark.parametrize(
    ("free_mib", "is_sound", "taken"),
    [
        pytest.param(19, True, False, id="not room for twice the reserve"),
        pytest.param(20, True, True, id="room for twice the reserve"),
        pytest.param(100, False, False, id="room, but writing still fails"),
    ],
)
def test_taken_again_when_there_is_room(site: Site, free_mib: float, is_sound: bool, taken: bool) -> None:
    """The reserve of 10 MiB comes back when mail has gone out, and with it the intake."""
    site.room.give_up()
    site.free_mib = free_mib
    site.look(is_sound=is_sound)
    assert site.room.is_reserved is taken
    assert (site.room.refusal(0, LIMITS) is None) is taken


def test_one_of_a_killed_process_is_taken_over(site: Site) -> None:
    """The file of an earlier run is the reserve of this one; it is not allocated twice."""
    before = site.layout.reserve.stat()
    again = site.opened()
    assert again.is_reserved
    assert site.layout.reserve.stat().st_ino == before.st_ino


@pytest.mark.parametrize(
    ("number", "reserved"),
    [
        pytest.param(errno.ENOSPC, False, id="disk full"),
        pytest.param(errno.EDQUOT, False, id="quota used up"),
        pytest.param(errno.EOPNOTSUPP, True, id="a file system that cannot allocate"),
    ],
)
def test_a_reserve_that_cannot_be_had(
    site: Site, monkeypatch: pytest.MonkeyPatch, number: int, reserved: bool
) -> None:
    """No room: no intake. A file system without reserves does without, and leaves no file."""

    def refused(fd: int, offset: int, length: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(room.os, "posix_fallocate", refused)
    assert site.opened().is_reserved is reserved
    assert not site.layout.reserve.exists()


def test_dead_bodies_make_room(site: Site) -> None:
    """When room is short, the file that is being written goes too if nothing in it is alive."""
    place = site.segments.append([(1, b"x" * 300_000)])[0]
    site.segments.flush()
    site.segments.adopt([(place.segment, place.length)])
    site.room.give_up()
    assert list(site.layout.segments.iterdir()) != []
    site.segments.forget([(place.segment, place.length)])
    site.look()
    assert list(site.layout.segments.iterdir()) == []
    (after,) = site.segments.append([(2, b"y" * 100)])
    assert after.segment != place.segment


def test_a_file_with_live_bodies_stays_open(site: Site) -> None:
    """Room is short, but what is in use is not touched, and the next body goes behind it."""
    first = site.segments.append([(1, b"x" * 300_000)])[0]
    site.segments.flush()
    site.segments.adopt([(first.segment, first.length)])
    site.room.give_up()
    site.look()
    assert site.segments.append([(2, b"y" * 100)])[0].segment == first.segment


def test_looked_at_once_a_second(site: Site) -> None:
    """Under load the volume is asked now and then, not with every commit."""
    assert not site.room.is_due()
    site.clock.advance(1.0)
    assert site.room.is_due()
    site.look()
    assert not site.room.is_due()
