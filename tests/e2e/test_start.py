"""What keeps a relay from starting, and what it says then. Exit code 1 and one clear sentence, always."""

import hashlib
import os
import smtplib
import socket
import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.support import clients
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, listener, route, to
from tests.support.sink import Sink

from waystation_contract.model import ListenerTLS, Queue

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


def test_admin_port_in_use(new_relay: NewRelay) -> None:
    """Another program has the admin port: the message names it, and no listener was opened before."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    with socket.create_server(("127.0.0.1", relay.admin_port)):
        code, said = relay.run_to_end()
    assert code == 1, said
    assert str(relay.admin_port) in said
    assert "--admin" in said
    assert "listener.opened" not in said
    assert "Traceback" not in said


def test_token_file_missing(new_relay: NewRelay) -> None:
    """An admin token that cannot be read is found at the start, not at the first call."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.token.unlink()
    code, said = relay.run_to_end()
    assert code == 1, said
    assert str(relay.token) in said
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


def test_every_mistake_is_reported_at_once(new_relay: NewRelay) -> None:
    """Two mistakes in one document: both are told, so that one correction is enough."""
    relay = new_relay()
    document = relay.configure(route(to(free_port())))
    wrong = msgspec.structs.replace(
        document,
        hostname="not a name",
        routes=(msgspec.structs.replace(document.routes[0], listeners=("nosuch",)),),
    )
    relay.write(msgspec.json.encode(wrong))
    code, said = relay.run_to_end()
    assert code == 2, said
    assert str(relay.config) in said
    assert "hostname" in said
    assert "nosuch" in said


def test_a_nearly_full_disk_is_no_reason_not_to_start(
    new_relay: NewRelay, sink: Sink, small_disk: Path
) -> None:
    """Started on a disk with little room, a relay takes no mail and says so, but delivers what it has."""
    relay = new_relay(data=small_disk / "spool")
    queue = Queue(max_bytes=2**30, full_at_percent=90)
    relay.configure(route(to(free_port())), queue=queue)
    relay.start()
    clients.send(relay.port, "a@shop.test", "b@next.test", clients.mail("waiting"))
    assert relay.stop() == 0
    (small_disk / "ballast").write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * 4096 - 800_000))
    relay.configure(route(to(sink.port)), queue=queue)
    relay.start(wait=False)
    assert sink.wait(1)[0].recipients == ("b@next.test",)
    status, body = relay.get("/readyz")
    assert status == 503
    assert "free on the volume" in body.decode()
    assert relay.get("/livez")[0] == 200
    with pytest.raises(smtplib.SMTPSenderRefused) as refused:
        clients.send(relay.port, "a@shop.test", "b@next.test", clients.mail("no room"))
    assert refused.value.smtp_code == 452
    assert relay.stop() == 0
