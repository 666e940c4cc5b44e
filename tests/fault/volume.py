"""A small ext4 of its own, mounted from a file: it can be full, out of inodes, or given up by the kernel.

Takes root, a loop device and e2fsprogs; without them the tests fail and say
what is missing.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.programs import program


class Volume:
    """``folder`` is where it is mounted."""

    def __init__(self, place: Path, size_mib: int, inodes: int) -> None:
        self.folder = place / "volume"
        self._image = place / "image"
        self.folder.mkdir()
        self._image.touch()
        os.truncate(self._image, size_mib * 2**20)
        run(program("mkfs.ext4"), "-q", "-F", "-m", "0", "-N", str(inodes), str(self._image))

    def mount(self) -> None:
        run("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.folder))

    def unmount(self) -> None:
        run("umount", str(self.folder))

    def repair(self) -> None:
        """As a start of the machine does: what is wrong is put right, or it is an error."""
        code = subprocess.run([program("e2fsck"), "-p", str(self._image)], capture_output=True).returncode
        assert code in (0, 1), f"e2fsck: {code}"

    def fail(self) -> None:
        """The kernel meets an error in the file system and turns it read-only in the midst of work."""
        source = Path(run("findmnt", "-n", "-o", "SOURCE", str(self.folder)).strip())
        (Path("/sys/fs/ext4") / source.name / "trigger_fs_error").write_text("a test\n")

    def fill(self) -> Path:
        """To the last byte; the file that does it."""
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (2**16, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        return filler

    def use_up_inodes(self) -> Path:
        """To the last one; the folder of files that does it."""
        folder = self.folder / "many"
        folder.mkdir()
        try:
            for number in range(10_000):
                (folder / str(number)).touch()
        except OSError:
            return folder
        raise AssertionError("there are inodes without end")


@contextmanager
def volume(place: Path, size_mib: int = 48, inodes: int = 64) -> Iterator[Volume]:
    made = Volume(place, size_mib, inodes)
    made.mount()
    try:
        yield made
    finally:
        if made.folder.is_mount():
            subprocess.run(["umount", "-l", str(made.folder)], check=True)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    if done.returncode:
        pytest.fail(
            f"{' '.join(command)}: {done.stderr.strip()}\n"
            "(volumes are mounted as root, through a loop device: /dev/loop-control and /dev/loop*)",
            pytrace=False,
        )
    return done.stdout
