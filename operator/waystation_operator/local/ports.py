"""Whether a port of the loopback address is free, and who has it if not."""

import errno
import socket
from pathlib import Path

from waystation_operator.local.place import ADDRESS

_LISTEN = "0A"  # the state's code in /proc/net/tcp


def refusal(port: int) -> str | None:
    """``None`` when the port can be bound; otherwise why not, as far as it can be found out."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((ADDRESS, port))
            probe.listen(1)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"cannot be bound: {error.strerror}"
            return f"is in use by {_owner(port) or 'another process'}"
    return None


def _owner(port: int) -> str | None:
    """The process listening at the port, by name and PID: from /proc, where we may look."""
    inodes = _listening_inodes(port)
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (PID {process.name})"
        except OSError:
            continue  # another user's, or gone meanwhile
    return None


def _listening_inodes(port: int) -> set[str]:
    found: set[str] = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        try:
            rows = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found
