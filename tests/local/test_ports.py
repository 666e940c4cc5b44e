"""Whether a port is free, and who has it."""

import os
import socket
from pathlib import Path

from tests.support.ports import free_port

from waystation_operator.local import ports


def test_free_port() -> None:
    """A port on which nobody listens may be used."""
    assert ports.refusal(free_port()) is None


def test_port_in_use_names_the_owner() -> None:
    """Somebody listens there: the program and its PID are named."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ports.refusal(server.getsockname()[1]) == f"is in use by {_comm()} (PID {os.getpid()})"


def test_port_in_use_on_all_addresses() -> None:
    """A server at 0.0.0.0 has the loopback address's port too."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert "is in use by" in str(ports.refusal(server.getsockname()[1]))


def test_port_shared_by_others_is_in_use() -> None:
    """Relays share a port among themselves (SO_REUSEPORT); for a new run it is taken all the same."""
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as server:
        assert "is in use by" in str(ports.refusal(server.getsockname()[1]))


def test_port_of_closed_connections_is_free() -> None:
    """Connections in TIME_WAIT, as a stopped relay leaves them, are nobody's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        client = socket.create_connection(address)
        accepted, _ = server.accept()
        accepted.close()
        client.close()
    assert ports.refusal(address[1]) is None


def _comm() -> str:
    return Path("/proc/self/comm").read_text().strip()
