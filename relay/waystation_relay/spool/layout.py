"""The spool's directory: what lies where, whose it is, which format it has.

    format      one JSON line: format number and instance tag; written first, never changed (an upgrade of
                the format would change it before anything else)
    lock        flock'ed by the owner for as long as it lives; holds its pid for error messages
    index       SQLite, with index-wal and index-shm
    segments/   bodies too large for the index, ``<16 hex digits>``
    reserve     room kept back for what is queued (``room``); means nothing
    corrupt/    what could not be read, each with a JSON file that says what it was

The lock is the kernel's: it ends with the process, however that ends, and a
lock file left behind means nothing. ``claim`` reads ``format``, and the
format number that the index carries in its header, before it touches
anything: a spool of a newer format is left exactly as it was. SQLite is not
asked, since opening a database may already write beside it.

Errors
    Locked, NewerFormat, Unusable (with the directory and a remedy).
"""

import contextlib
import fcntl
import os
from pathlib import Path

import msgspec

from waystation_relay.spool import header
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.identity import is_tag, new_tag
from waystation_relay.spool.values import Locked, NewerFormat, Unusable

FORMAT = 1
NAME = "waystation-spool"


class FormatFile(msgspec.Struct, frozen=True):
    name: str
    format: int
    instance: str


class SyncFailed(Exception):  # noqa: N818 the word for what happened
    """fsync or fdatasync failed: what is on disk is unknown, and asking again would lie (fsyncgate)."""

    def __init__(self, path: Path, cause: OSError) -> None:
        self.cause = cause
        super().__init__(f"cannot sync {path}: {cause.strerror}")


class Layout:
    """Paths of one spool. ``claim`` makes this process its owner, ``release`` ends that."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.format = directory / "format"
        self.lock = directory / "lock"
        self.index = directory / "index"
        self.segments = directory / "segments"
        self.corrupt = directory / "corrupt"
        self.probe = directory / "probe"
        self.reserve = directory / "reserve"
        self.tag = ""
        self._lock_fd = -1

    def segment(self, number: int) -> Path:
        return self.segments / f"{number:016x}"

    def claim(self) -> None:
        """Check the format, take the lock, make what is missing."""
        try:
            self._check_format()
            make_directory(self.directory)
            self._take_lock()
        except (OSError, SyncFailed) as error:
            raise Unusable(str(self.directory), said(error)) from error
        try:
            found = self._check_format()  # again: it may have been made between the look and the lock
            for folder in (self.segments, self.corrupt):
                make_directory(folder)
            reach("create.folders")
            self.tag = found.instance if found else self._make_format()
            sync_directory(self.directory)
            reach("create.format")
        except (OSError, SyncFailed) as error:
            self.release()
            raise Unusable(str(self.directory), said(error)) from error
        except BaseException:
            self.release()
            raise

    def index_header(self) -> bytes:
        """The first bytes of the index; none when there is no index."""
        try:
            with self.index.open("rb") as file:
                return file.read(header.SIZE)
        except FileNotFoundError:
            return b""

    def release(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def _check_format(self) -> FormatFile | None:
        found = self._read_format()
        newest = max(found.format if found else 0, header.format_of(self.index_header()))
        if newest > FORMAT:
            raise NewerFormat(str(self.directory), newest, FORMAT)
        return found

    def _read_format(self) -> FormatFile | None:
        try:
            raw = self.format.read_bytes()
        except FileNotFoundError:
            return None
        foreign = Unusable(str(self.directory), f"{self.format} is not a spool's format file")
        try:
            found = msgspec.json.decode(raw, type=FormatFile)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise foreign from error
        if found.name != NAME or found.format < 1 or not is_tag(found.instance):
            raise foreign
        return found

    def _make_format(self) -> str:
        tag = new_tag()
        write_durably(self.format, msgspec.json.encode(FormatFile(NAME, FORMAT, tag)) + b"\n")
        return tag

    def _take_lock(self) -> None:
        fd = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(fd, 32, 0).strip()
            os.close(fd)
            raise Locked(str(self.directory), int(pid) if pid.isdigit() else None) from None
        self._lock_fd = fd
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, it only names nobody
            pid = f"{os.getpid()}\n".encode()
            os.pwrite(fd, pid, 0)
            os.ftruncate(fd, len(pid))


def beside(path: Path, suffix: str) -> Path:
    """The file of the same name with something behind it: SQLite's ``-wal`` and ``-shm``, and ours."""
    return path.with_name(path.name + suffix)


def said(error: OSError | SyncFailed) -> str:
    """An error in words a person can act on: what, and which file."""
    if isinstance(error, OSError):
        return f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror or error)
    return str(error)


def make_directory(path: Path) -> None:
    """The directory exists, its name durable, and that of each parent made for it."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    # What is there may have been made by a process that was killed before it could sync the name.
    with contextlib.suppress(PermissionError):  # not a folder that we have made anything in
        sync_directory((missing[-1].parent if missing else path).parent)
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_directory(folder.parent)


def write_durably(path: Path, content: bytes) -> None:
    """The file appears whole or not at all, and stays."""
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, [content], 0)
        sync(fd, temporary)
    finally:
        os.close(fd)
    temporary.rename(path)
    sync_directory(path.parent)


def write_all(fd: int, parts: list[bytes], offset: int) -> int:
    """``pwritev`` until everything is written; the bytes written."""
    start = offset
    while parts:
        head = parts[:512]  # below IOV_MAX everywhere
        wanted = sum(map(len, head))
        written = os.pwritev(fd, head, offset)
        offset += written
        parts = parts[512:]
        if written < wanted:  # the disk is nearly full: the next call says so
            parts = [b"".join(head)[written:], *parts]
    return offset - start


def sync(fd: int, path: Path) -> None:
    try:
        os.fdatasync(fd)
    except OSError as error:
        raise SyncFailed(path, error) from error


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise SyncFailed(path, error) from error
    finally:
        os.close(fd)
