"""Spools that end with the test, on the event loop that the relay runs on."""

import asyncio
import ctypes
import ctypes.util
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop
from tests.support.privileges import refused
from tests.support.spools import SpoolUser

OpenSpool = Callable[..., SpoolUser]


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture
async def open_spool(tmp_path: Path) -> AsyncIterator[OpenSpool]:
    """Opens ``tmp_path/spool``, or another directory; what is still open at the end is closed."""
    users: list[SpoolUser] = []

    def opened(directory: Path | None = None, **options: Any) -> SpoolUser:
        user = SpoolUser(directory or tmp_path / "spool", **options)
        users.append(user)
        return user

    yield opened
    for user in users:
        await user.close()


@pytest.fixture
async def user(open_spool: OpenSpool) -> SpoolUser:
    """A fresh spool."""
    return open_spool()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 2 MiB. Mounting takes the privilege to; without it there is nothing to test."""
    with tempfile.TemporaryDirectory() as folder:
        mount(b"tmpfs", folder, b"tmpfs", b"size=2m,mode=700")
        try:
            yield Path(folder)
        finally:
            LIBC.umount2(folder.encode(), DETACH)


@pytest.fixture
def failing_disk() -> Iterator[tuple[Path, Callable[[], None]]]:
    """An ext4 file system, and what makes the kernel turn it read-only in the middle of work."""
    with tempfile.TemporaryDirectory() as folder:
        image, disk = Path(folder) / "image", Path(folder) / "disk"
        image.write_bytes(b"")
        os.truncate(image, 16 * 2**20)
        disk.mkdir()
        mkfs = run("/usr/sbin/mkfs.ext4", "-q", "-F", image)
        assert mkfs.returncode == 0, mkfs.stderr
        loop = run("/usr/sbin/losetup", "--find", "--show", image)
        if loop.returncode:
            refused(f"a loop device: {loop.stderr.strip()}")
        device = Path(loop.stdout.strip())
        try:
            mount(str(device).encode(), str(disk), b"ext4", b"errors=remount-ro")
            trigger = Path("/sys/fs/ext4") / device.name / "trigger_fs_error"
            yield disk, lambda: trigger.write_text("a test\n") and None
        finally:
            LIBC.umount2(str(disk).encode(), DETACH)
            run("/usr/sbin/losetup", "--detach", device)


LIBC = ctypes.CDLL(ctypes.util.find_library("c"), use_errno=True)
DETACH = 2  # MNT_DETACH


def mount(source: bytes, folder: str, kind: bytes, options: bytes) -> None:
    if LIBC.mount(source, folder.encode(), kind, 0, options):
        refused(f"mounting {kind.decode()}: {os.strerror(ctypes.get_errno())}")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=30)
