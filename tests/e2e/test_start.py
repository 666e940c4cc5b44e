"""What keeps a relay from starting, and what it says then. Exit code 1 and one clear sentence, always."""

import hashlib
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
from tests.support import clients
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, listener, route, to
from tests.support.sink import Sink

from waystation_contract.model import ListenerTLS

NewRelay = Callable[..., RelayProcess]


def digest(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_port_in_use(new_relay: NewRelay) -> None:
    """Another program has the port: the message names it."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    with socket.create_server(("127.0.0.1", relay.port)):
        code, said = relay.run_to_end()
    assert code == 1, said
    assert str(relay.port) in said
    assert "in use" in said
    assert "Traceback" not in said


def test_spool_owned_by_another_process(new_relay: NewRelay) -> None:
    """Two processes on one spool would send everything twice: the second refuses and names the first."""
    first, second = new_relay("first"), new_relay("second")
    first.configure(route(to(free_port())))
    first.start()
    second.data = first.data
    second.configure(route(to(free_port())))
    code, said = second.run_to_end()
    assert code == 1, said
    assert str(first.data) in said
    assert first.process is not None
    assert str(first.process.pid) in said
    assert "Traceback" not in said


def test_lock_of_a_killed_process_is_no_obstacle(new_relay: NewRelay, sink: Sink) -> None:
    """kill -9 leaves no stale lock: the next process owns the spool at once and delivers what was in it."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.start()
    clients.send(relay.port, "a@shop.test", "b@next.test", clients.mail("survivor"))
    relay.kill()
    relay.configure(route(to(sink.port)))
    relay.start()
    assert sink.wait(1)[0].recipients == ("b@next.test",)


def test_newer_spool_format_is_left_alone(new_relay: NewRelay) -> None:
    """A spool written by a later Waystation is refused, and not one byte of it changes."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.start()
    assert relay.stop() == 0
    make_newer(relay.data)
    before = digest(relay.data)
    code, said = relay.run_to_end()
    assert code == 1, said
    assert "newer" in said
    assert "Traceback" not in said
    assert digest(relay.data) == before


def make_newer(data: Path) -> None:
    """Raises the format version wherever this spool keeps it."""
    (index,) = [p for p in data.rglob("*") if p.is_file() and p.read_bytes()[:15] == b"SQLite format 3"]
    with sqlite3.connect(index) as database:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        assert version > 0
        database.execute(f"PRAGMA user_version = {version + 1}")
    database.close()


def test_configuration_missing(new_relay: NewRelay) -> None:
    """No document: the message names the file."""
    relay = new_relay()
    code, said = relay.run_to_end()
    assert code in (1, 2), said
    assert str(relay.config) in said
    assert "Traceback" not in said


def test_certificate_missing(new_relay: NewRelay) -> None:
    """A listener's certificate that is not there: the message names the file that should be."""
    relay = new_relay()
    relay.configure(
        route(to(free_port())),
        listeners=(listener(relay.port, tls=ListenerTLS.OPPORTUNISTIC, certificate="relay-tls"),),
    )
    code, said = relay.run_to_end()
    assert code == 1, said
    assert "relay-tls.crt" in said
    assert "Traceback" not in said


def test_document_with_a_mistake_starts_nothing(new_relay: NewRelay) -> None:
    """A reference to nothing in the first document: exit code 2 and the field's path."""
    relay = new_relay()
    document = relay.configure(route(to(free_port())))
    wrong = (msgspec.structs.replace(document.routes[0], listeners=("nosuch",)),)
    relay.write(msgspec.json.encode(msgspec.structs.replace(document, routes=wrong)))
    code, said = relay.run_to_end()
    assert code == 2, said
    assert "nosuch" in said
    assert "routes" in said
    assert "Traceback" not in said
