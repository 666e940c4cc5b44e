"""Loopback ports nobody else uses.

Below the kernel's ephemeral range (32768 and up), so that no outgoing
connection can take one between choosing and binding; each pytest-xdist worker
counts in a range of its own.
"""

import itertools
import os
import socket

_FIRST = 21_000
_EACH = 1_000
_worker = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", ""))) or "9") % 10
# Start somewhere else in the range each run: a port just closed may linger in TIME_WAIT.
_count = itertools.count(os.getpid() * 7)


def free_port() -> int:
    """A port on which nothing listens, not handed out before by this process."""
    for _ in range(_EACH):
        port = _FIRST + _worker * _EACH + next(_count) % _EACH
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError("no free port left in the range of this worker")
