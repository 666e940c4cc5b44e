"""TLS from clients: OpenSSL's own client at listeners that offer, require and begin with TLS."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self

import pytest
from tests.support import clients
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.programs import program
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink

from waystation_contract.model import Listener, ListenerTLS

NETWORKS = ("127.0.0.0/8",)
PORTS = {ListenerTLS.OPPORTUNISTIC: 25, ListenerTLS.REQUIRED: 587, ListenerTLS.IMPLICIT: 465}


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def ports() -> dict[ListenerTLS, int]:
    return {mode: free_port() for mode in PORTS}


@pytest.fixture(scope="module")
def relay(
    new_relay: RelayProcess, authority: Authority, ports: dict[ListenerTLS, int], module_sink: Sink
) -> RelayProcess:
    """One listener for each way to have TLS, all with a certificate for relay.test."""
    new_relay.certificate("relay-tls", authority.issue("relay.test"))
    listeners = [
        Listener(
            name=mode.value.lower(),
            port=ports[mode],
            service_port=PORTS[mode],
            tls=mode,
            certificate="relay-tls",
            clients=NETWORKS,
        )
        for mode in PORTS
    ]
    everywhere = tuple(x.name for x in listeners)
    new_relay.configure(route(to(module_sink.port), listeners=everywhere), listeners=tuple(listeners))
    return new_relay.start()


class OpenSSL:
    """``openssl s_client`` that trusts the test's authority alone and checks the name."""

    def __init__(self, port: int, authority: Authority, *options: str) -> None:
        self._process = subprocess.Popen(
            [
                program("openssl"), "s_client", "-quiet", "-connect", f"127.0.0.1:{port}",
                "-CAfile", str(authority.file), "-verify_hostname", "relay.test", "-verify_return_error",
                *options,
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def reply(self) -> list[str]:
        """The lines of the next reply; none when the connection has ended."""
        lines = []
        while line := _of(self._process.stdout).readline():
            lines.append(line.decode().rstrip())
            if line[3:4] == b" ":
                break
        return lines

    def send(self, line: bytes) -> list[str]:
        _of(self._process.stdin).write(line + b"\r\n")
        _of(self._process.stdin).flush()
        return self.reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()


def _of(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


@pytest.fixture(
    params=[
        pytest.param((ListenerTLS.OPPORTUNISTIC, ("-starttls", "smtp")), id="STARTTLS offered"),
        pytest.param((ListenerTLS.REQUIRED, ("-starttls", "smtp")), id="STARTTLS required"),
        pytest.param((ListenerTLS.IMPLICIT, ()), id="TLS from the first byte"),
    ]
)
def client(
    relay: RelayProcess,
    authority: Authority,
    ports: dict[ListenerTLS, int],
    request: pytest.FixtureRequest,
) -> Iterator[OpenSSL]:
    """Past the handshake, and past the greeting where that comes after it."""
    mode, options = request.param
    with OpenSSL(ports[mode], authority, *options) as running:
        if mode is ListenerTLS.IMPLICIT:
            assert running.reply()[0].startswith("220 relay.test")
        yield running


def test_openssl_sends_a_mail(client: OpenSSL, sink: Sink) -> None:
    """OpenSSL verifies our certificate, TLS is not offered again inside TLS, and the mail goes out."""
    offered = client.send(b"EHLO client.test")
    assert offered[0].startswith("250-relay.test")
    assert not any("STARTTLS" in line for line in offered)
    assert client.send(b"MAIL FROM:<ann@shop.test>")[0].startswith("250")
    assert client.send(b"RCPT TO:<bob@next.test>")[0].startswith("250")
    assert client.send(b"DATA")[0].startswith("354")
    assert client.send(b"Subject: sealed\r\n\r\nA line.\r\n.")[0].startswith("250")
    assert client.send(b"QUIT")[0].startswith("221")
    (received,) = sink.wait(1)
    assert b"Subject: sealed\r\n\r\nA line.\r\n" in received.content
    assert b"with ESMTPS" in received.content.partition(b"Subject:")[0]


def test_mail_before_tls_is_refused_where_tls_is_required(
    relay: RelayProcess, ports: dict[ListenerTLS, int]
) -> None:
    """The client is told to start TLS first, and nothing of the mail was said in the clear."""
    run = clients.swaks(ports[ListenerTLS.REQUIRED], "--from", "ann@shop.test", "--to", "bob@next.test")
    assert run.returncode != 0
    assert "530 5.7.0" in run.stdout
    assert "DATA" not in run.stdout


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_old_versions_of_tls_are_refused(
    relay: RelayProcess, authority: Authority, ports: dict[ListenerTLS, int], version: str
) -> None:
    """TLS 1.0 and 1.1 do not come about, whatever the client would put up with."""
    weakest = ("-cipher", "ALL:@SECLEVEL=0")
    with OpenSSL(ports[ListenerTLS.IMPLICIT], authority, version, *weakest) as client:
        assert client.reply() == []


def test_what_was_said_before_tls_is_not_obeyed_in_it(
    relay: RelayProcess, authority: Authority, ports: dict[ListenerTLS, int]
) -> None:
    """A command put behind STARTTLS by somebody on the way (CVE-2011-0411) never counts as the client's."""
    context = ssl.create_default_context(cafile=str(authority.file))
    with socket.create_connection(("127.0.0.1", ports[ListenerTLS.OPPORTUNISTIC]), timeout=10) as plain:
        lines = plain.makefile("rb")
        assert lines.readline().startswith(b"220")
        plain.sendall(b"EHLO client.test\r\n")
        while lines.readline()[3:4] == b"-":
            pass
        plain.sendall(b"STARTTLS\r\nMAIL FROM:<attacker@shop.test>\r\n")
        answer = lines.readline()
        if not answer.startswith(b"220"):
            assert answer[:1] in (b"4", b"5")
            return
        with context.wrap_socket(plain, server_hostname="relay.test") as sealed:
            sealed.sendall(b"RCPT TO:<bob@next.test>\r\n")
            assert sealed.recv(1000).startswith(b"503"), "there is no MAIL"
