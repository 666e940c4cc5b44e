"""A disk that refuses, at each call of a spool's work: nothing promised is lost, and work goes on afterwards.

The calls of a run are counted first; then there is a run for each call, or
for a sample of them, in which just that call fails, or all from there on. After
each the spool is opened on a sound disk, and some of the disks are cut off
as by a power cut at moments between.
"""

import errno
from typing import NamedTuple

import pytest
from tests.fault.lab import Laboratory

SAMPLE = 7  # runs of each trouble in a round


class Trouble(NamedTuple):
    operation: str  # of ``shim/rules.c``
    action: str | int
    failures: set[str]  # what may be told to who waits
    times: int = 0  # calls that fail, 0: all that follow
    name: str = "*"
    breaks: bool = False  # the spool may have to be opened anew
    least: float = 0.2  # of the runs in which it is met


FULL = {"full"}
LOST = {"io, permanent"}
DAMAGED = {"corrupt, permanent", "io", "io, permanent"}  # SQLite says so when it cannot read
TROUBLES = {
    "disk full": Trouble("grow", errno.ENOSPC, FULL),
    "disk full for one call": Trouble("grow", errno.ENOSPC, FULL, times=1),
    "over quota": Trouble("grow", errno.EDQUOT, FULL),
    "no inodes left": Trouble("inode", errno.ENOSPC, FULL),
    "read-only": Trouble("change", errno.EROFS, {"read-only", "full"}),
    "cannot write": Trouble("write", errno.EIO, {"io"}),
    "cannot write a file of bodies": Trouble("write", errno.EIO, {"io"}, name="spool/segments/*", times=1),
    "failed sync": Trouble("sync", errno.EIO, LOST, times=1, breaks=True),
    "failed sync, disk full": Trouble("sync", errno.ENOSPC, LOST | FULL, times=1, breaks=True),
    "cannot sync": Trouble("sync", errno.EIO, LOST, breaks=True),
    "cannot read": Trouble("read", errno.EIO, DAMAGED, breaks=True),
    "cannot read for a moment": Trouble("read", errno.EIO, DAMAGED, times=1, breaks=True, least=0),
    "cannot truncate": Trouble("truncate", errno.EIO, {"io"}, least=0),
    "cannot remove": Trouble("unlink", errno.EIO, {"io"}, least=0),
    "too many open files": Trouble("open", errno.EMFILE, {"io"}),
    "interrupted": Trouble("any", errno.EINTR, LOST, times=1, breaks=True, least=0),
    "short writes": Trouble("write", "short", set(), least=0),
    "slow": Trouble("sync", "wait:2", set(), least=0),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_a_disk_that_refuses(laboratory: Laboratory, seed: int, trouble: Trouble) -> None:
    """Whoever was told 250 finds the mail, whoever was not was told why; it is logged, and it passes."""
    said = laboratory.experiment(
        "tests.fault.errors:everywhere", seed=seed, operation=trouble.operation, action=trouble.action,
        times=trouble.times, name=trouble.name, many=SAMPLE, cuts=2,
    )  # fmt: skip
    print(f"seed {seed}: {said}")
    assert said["wrong"] == []
    assert said["silent"] == []
    assert said["stuck"] == []
    assert set(said["failures"]) <= trouble.failures
    assert said["met"] >= said["runs"] * trouble.least
    assert said["met"] == 0 or trouble.failures
    assert said["broken"] == 0 or trouble.breaks


def test_a_start_that_is_refused_says_why(laboratory: Laboratory) -> None:
    """A spool that cannot be opened names its folder and what the disk said; it opens when that is over."""
    said = laboratory.experiment("tests.fault.errors:starts", errors=[errno.ENOSPC, errno.EROFS, errno.EIO])
    assert said["wrong"] == []
    assert said["refused"] > 30
    assert said["unexplained"] == []
