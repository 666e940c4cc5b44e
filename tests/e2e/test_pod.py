"""What Kubernetes does to a relay: signals, volumes, rotated Secrets, a container with nothing in it."""

import json
import os
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.support import clients
from tests.support.certificates import Authority
from tests.support.mounted import MountedSecret
from tests.support.pod import USER, PodProcess
from tests.support.ports import free_port
from tests.support.privileges import refused
from tests.support.programs import program
from tests.support.relay import RelayProcess, document, listener, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import ListenerTLS

NewRelay = Callable[..., RelayProcess]
LARGE = clients.mail("large", "0123456789abcdef\n" * 100_000)  # goes to a file of its own on the volume


# Being told to stop


def greeting(port: int, host: str = "127.0.0.1") -> bytes:
    """What a new session hears first; nothing when the port is closed."""
    try:
        with socket.create_connection((host, port), timeout=5) as stream:
            return stream.recv(512)
    except OSError:
        return b""


def ended(relay: RelayProcess) -> bool:
    assert relay.process is not None
    return relay.process.poll() is not None


def test_mail_is_taken_until_the_others_have_heard(new_relay: NewRelay, sink: Sink) -> None:
    """Readiness fails at once; who is still sent here by a node that has not heard of it is served."""
    relay = new_relay()
    relay.arguments = ["--stop-grace", "600"]
    relay.configure(route(to(sink.port)))
    relay.start()
    relay.terminate()
    until(lambda: relay.get("/readyz")[0] == 503, "readiness to fail")
    assert json.loads(relay.get("/readyz")[1])["reasons"][0]["reason"] == "stopping"
    assert relay.get("/livez")[0] == 200
    clients.send(relay.port, "a@shop.test", "b@next.test", clients.mail("late"))
    sink.wait(1)
    until(lambda: relay.terminate() or ended(relay), "the second signal to end it", every_s=0.1)
    assert relay.process is not None
    assert relay.process.returncode == 0


def test_after_the_grace_sessions_are_turned_away(new_relay: NewRelay) -> None:
    """Idle clients hear 421, and the process ends by itself."""
    relay = new_relay()
    relay.arguments = ["--stop-grace", "0.3"]
    relay.configure(route(to(free_port())))
    relay.start()
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as stream:
        lines = stream.makefile("rb")
        assert lines.readline().startswith(b"220")
        assert relay.stop(within_s=10) == 0
        assert lines.readline().startswith(b"421")


def in_data(relay: RelayProcess) -> smtplib.SMTP:
    client = smtplib.SMTP("127.0.0.1", relay.port, timeout=10)
    client.ehlo("client.test")
    client.mail("a@shop.test")
    client.rcpt("b@next.test")
    client.putcmd("data")
    assert client.getreply()[0] == 354
    client.send(b"Subject: half\r\n\r\nfirst half\r\n")
    return client


def test_a_second_signal_ends_it_at_once(new_relay: NewRelay, sink: Sink) -> None:
    """Nobody waits for a slow client any more; what was promised is there at the next start."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.start()
    clients.send(relay.port, "a@shop.test", "kept@next.test", clients.mail("kept"))
    client = in_data(relay)
    until(lambda: relay.terminate() or ended(relay), "the relay to end", within_s=8, every_s=0.1)
    assert relay.process is not None
    assert relay.process.returncode == 0
    assert [line["why"] for line in relay.log("relay.stopping")] == ["SIGTERM", "SIGTERM again: at once"]
    client.close()
    relay.configure(route(to(sink.port)))
    relay.start()
    assert sink.wait(1)[0].recipients == ("kept@next.test",)


def test_two_signals_together_are_one(new_relay: NewRelay) -> None:
    """A terminal and a supervisor both pass Ctrl-C on; the message under way is finished all the same."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.start()
    client = in_data(relay)
    assert relay.process is not None
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        relay.process.send_signal(signum)
    relay.wait_log("relay.stopping")
    client.send(b"second half\r\n.\r\n")
    assert client.getreply()[0] == 250
    client.close()
    assert relay.process.wait(10) == 0
    assert len(relay.log("relay.stopping")) == 1


def test_a_signal_while_it_starts(new_relay: NewRelay) -> None:
    """Nothing is promised yet, so nothing is waited for: not even a file that does not come."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.token.unlink()
    os.mkfifo(relay.token)
    relay.start(wait=False)
    assert relay.process is not None
    handled = Path(f"/proc/{relay.process.pid}/status")
    mask = 1 << (signal.SIGTERM - 1)
    until(
        lambda: any(
            line.startswith("SigCgt") and int(line.split()[1], 16) & mask
            for line in handled.read_text().splitlines()
        ),
        "a handler for the signal",
    )
    relay.terminate()
    assert relay.process.wait(5) == 0


# Secrets that are rotated


class Rotation:
    """A relay that offers STARTTLS with a certificate from a mounted Secret."""

    def __init__(self, relay: RelayProcess, folder: Path) -> None:
        self.relay, self._folder = relay, folder
        self._secret = MountedSecret(relay.config.parent)

    def put(self, *, key: bytes | None = None) -> bytes:
        """A new certificate (with another key, if told so); what clients are to see of it."""
        issued = Authority(self._folder).issue("relay.test")
        made = document(
            self.relay.port,
            route(to(free_port())),
            listeners=(listener(self.relay.port, tls=ListenerTLS.OPPORTUNISTIC, certificate="relay"),),
        )
        self._secret.put(
            {
                self.relay.config.name: msgspec.json.encode(made),
                "relay.crt": issued.chain.read_bytes(),
                "relay.key": key if key is not None else issued.key.read_bytes(),
            }
        )
        return ssl.PEM_cert_to_DER_cert(issued.chain.read_text())

    def reload(self) -> dict[str, str]:
        status, body = self.relay.request("POST", "/config/reload")
        assert status == 200
        answer: dict[str, str] = json.loads(body)
        return answer


def shown(client: smtplib.SMTP) -> bytes:
    """The certificate that the server shows at STARTTLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    client.starttls(context=context)
    assert isinstance(client.sock, ssl.SSLSocket)
    return client.sock.getpeercert(binary_form=True) or b""


def test_a_renewed_certificate_is_shown_without_a_restart(new_relay: NewRelay, tmp_path: Path) -> None:
    """New TLS sessions get the new one, open ones go on; one that is no use changes nothing and is told."""
    rotation = Rotation(new_relay(), tmp_path)
    first = rotation.put()
    relay = rotation.relay.start()
    before = rotation.reload()
    with (
        smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as open_before,
        smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as later,
        smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as latest,
    ):
        assert shown(open_before) == first
        second = rotation.put()
        after = rotation.reload()
        assert (after["error"], after["hash"] != before["hash"]) == ("", True)
        assert shown(later) == second
        assert open_before.sendmail("a@shop.test", "b@next.test", clients.mail("still here")) == {}
        rotation.put(key=b"not a key")
        spoiled = rotation.reload()
        assert spoiled["hash"] == after["hash"]
        assert "relay.crt: not a usable certificate with relay.key" in spoiled["error"]
        assert shown(latest) == second
    status = json.loads(relay.get("/status")[1])
    assert status["config"] == spoiled
    assert status["ready"]


# Addresses


def test_both_families_are_listened_on(new_relay: NewRelay, sink: Sink) -> None:
    """``::`` is every address; an IPv4 client is known by its IPv4 address and may relay by it."""
    if not Path("/proc/net/if_inet6").exists() or "lo" not in Path("/proc/net/if_inet6").read_text():
        refused("listening on ::1")
    relay = new_relay()
    relay.arguments = ["--bind", "::", "--admin", f"[::]:{relay.admin_port}"]
    relay.configure(route(to(sink.port)))
    relay.start()
    assert greeting(relay.port, "::1").startswith(b"220")
    clients.send(relay.port, "a@shop.test", "b@next.test", clients.mail("by IPv4"))
    assert relay.wait_log("message.accepted")["client"] == "127.0.0.1"
    with socket.create_connection(("::1", relay.admin_port), timeout=5) as stream:
        stream.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        assert b"200 OK" in stream.recv(512)
    sink.wait(1)


# The container


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A fresh ext4 as the kubelet hands it over for fsGroup 65532, with its lost+found."""
    with tempfile.TemporaryDirectory(dir=tmp_path) as place:
        image, folder = Path(place) / "image", Path(place) / "volume"
        image.touch()
        os.truncate(image, 64 * 2**20)
        folder.mkdir()
        subprocess.run([program("mkfs.ext4"), "-q", "-F", str(image)], check=True)
        if subprocess.run(["mount", "-o", "loop", str(image), str(folder)], capture_output=True).returncode:
            refused("mounting a volume through a loop device")
        try:
            shutil.chown(folder, "root", USER)
            folder.chmod(0o2775)
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def pod(tmp_path: Path, volume: Path) -> Iterator[PodProcess]:
    process = PodProcess(tmp_path / "pod", data=volume)
    process.token = process.folder / "admin" / "token"
    process.token.parent.mkdir()
    (process.folder / "token").rename(process.token)
    yield process
    process.close()


def test_a_container_with_nothing_in_it(pod: PodProcess, volume: Path, sink: Sink) -> None:
    """Process 1, an account that does not exist, no home, read-only but for the volume: mail flows."""
    pod.configure(route(to(free_port())))
    pod.start()
    status = Path(f"/proc/{pod.pid}/status").read_text()
    assert f"Uid:\t{USER}" in status
    assert "CapEff:\t0000000000000000" in status
    assert status.partition("NSpid:")[2].split("\n")[0].split()[-1] == "1"
    for name, content in (("small", clients.mail("small")), ("large", LARGE)):
        clients.send(pod.port, "a@shop.test", f"{name}@next.test", content)
    assert (volume / "lost+found").is_dir()
    owners = {path.stat().st_gid for path in volume.rglob("*") if path.name != "lost+found"}
    assert owners == {USER}

    os.kill(pod.pid, signal.SIGTERM)  # as the container's runtime does, from outside
    assert pod.process is not None
    assert pod.process.wait(10) == 0
    pod.configure(route(to(sink.port)))
    pod.start()
    assert {r.recipients for r in sink.wait(2)} == {("small@next.test",), ("large@next.test",)}
    assert pod.err.read_text() == ""


def test_orphans_do_not_stay_as_zombies(pod: PodProcess) -> None:
    """What people leave behind with `kubectl exec` is buried by process 1."""
    pod.configure(route(to(free_port())))
    pod.start()
    children = Path(f"/proc/{pod.pid}/task/{pod.pid}/children")
    with subprocess.Popen(
        ["nsenter", "--target", str(pod.pid), "--pid", "sh", "-c", "exec 3<&0; cat <&3 & exit"],
        stdin=subprocess.PIPE,
    ) as person:  # fmt: skip
        assert person.stdin is not None
        until(lambda: children.read_text().split(), "the orphan to be adopted")
        person.stdin.close()
    until(lambda: not children.read_text().split(), "the orphan to be buried")
    assert pod.get("/livez")[0] == 200
