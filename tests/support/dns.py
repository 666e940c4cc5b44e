"""Real DNS for tests: nsd serves zones, unbound resolves, a relay in between counts or swallows.

All run on loopback ports, with configuration and data in the test's folder::

    with Nsd(tmp_path, {"example.test": "@ MX 10 mx\\nmx A 192.0.2.1"}) as nsd:
        with Unbound(tmp_path, {"example.test": nsd.port}) as unbound:
            ...f"127.0.0.1:{unbound.port}"...

A zone's text needs neither ``$TTL`` nor SOA and NS: they are put before it.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import dns.exception
import dns.message
import dns.query
from tests.support.daemon import Daemon
from tests.support.ports import free_port
from tests.support.programs import program

NEGATIVE_TTL_S = 60

_HEAD = f"""$TTL 300
@ 300 IN SOA ns hostmaster 1 3600 600 86400 {NEGATIVE_TTL_S}
@ 300 IN NS ns
ns 300 IN A 127.0.0.1
"""


class _DnsServer(Daemon):
    """Answers on ``port``."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        super().__init__(folder, str(self.port))

    def is_ready(self) -> bool:
        return answers(self.port)


class Nsd(_DnsServer):
    """An authoritative server. ``zones``: origin → records in master-file form, relative names allowed."""

    name = "nsd"

    def __init__(self, folder: Path, zones: Mapping[str, str]) -> None:
        super().__init__(folder)
        stanzas = []
        for origin, records in zones.items():
            file = self.folder / f"{origin}.zone"
            file.write_text(f"$ORIGIN {origin}.\n{_HEAD}{records}\n", encoding="utf-8")
            stanzas.append(f'zone:\n  name: "{origin}"\n  zonefile: "{file}"\n')
        (self.folder / "nsd.conf").write_text(
            f"""server:
  ip-address: 127.0.0.1@{self.port}
  username: ""
  chroot: ""
  zonesdir: "{self.folder}"
  pidfile: "{self.folder}/nsd.pid"
  database: ""
  xfrdfile: "{self.folder}/xfrd.state"
  zonelistfile: "{self.folder}/zone.list"
  cookie-secret-file: "{self.folder}/cookies"
  xfrdir: "{self.folder}"
  server-count: 1
  rrl-ratelimit: 0
remote-control:
  control-enable: no
{"".join(stanzas)}""",
            encoding="utf-8",
        )

    def command(self) -> list[str]:
        return [program("nsd"), "-d", "-c", str(self.folder / "nsd.conf")]


class Unbound(_DnsServer):
    """A recursive resolver that knows nothing but ``stubs``: zone → ports of its authoritative servers."""

    name = "unbound"

    def __init__(self, folder: Path, stubs: Mapping[str, int | Sequence[int]]) -> None:
        super().__init__(folder)
        stanzas = ['local-zone: "." static']
        names = []
        for zone, ports in stubs.items():
            stanzas.append(f'local-zone: "{zone}" transparent')
            addresses = "".join(
                f"  stub-addr: 127.0.0.1@{p}\n" for p in ([ports] if isinstance(ports, int) else ports)
            )
            names.append(f'stub-zone:\n  name: "{zone}"\n{addresses}')
        settings = "\n  ".join(stanzas)
        (self.folder / "unbound.conf").write_text(
            f"""server:
  interface: 127.0.0.1@{self.port}
  port: {self.port}
  username: ""
  chroot: ""
  directory: "{self.folder}"
  pidfile: "{self.folder}/unbound.pid"
  use-syslog: no
  logfile: ""
  num-threads: 1
  do-ip6: no
  do-not-query-localhost: no
  module-config: "iterator"
  do-daemonize: no
  cache-max-ttl: 300
  access-control: 127.0.0.0/8 allow
  {settings}
remote-control:
  control-enable: no
{"".join(names)}""",
            encoding="utf-8",
        )

    def command(self) -> list[str]:
        return [program("unbound"), "-d", "-p", "-c", str(self.folder / "unbound.conf")]


def answers(port: int) -> bool:
    """Whether a DNS server on this loopback port answers anything at all."""
    query = dns.message.make_query("ready.invalid.", "A")
    try:
        dns.query.udp(query, "127.0.0.1", timeout=0.2, port=port)
    except (dns.exception.DNSException, OSError):
        return False
    return True


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that takes every question and answers none."""
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.bind(("127.0.0.1", port))
        yield port


class Between(asyncio.DatagramProtocol):
    """Passes UDP questions on to a real server and its answers back; counts, and swallows on demand."""

    def __init__(self, server_port: int) -> None:
        self.port = free_port()
        self.asked = 0
        self.swallow = False
        self.held = False  # keep questions back until released
        self._server_port = server_port
        self._waiting: list[tuple[bytes, tuple[str, int]]] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._upstream: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)  # uvloop's is no subclass of it

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.asked += 1
        if self.held:
            self._waiting.append((data, addr))
        elif not self.swallow:
            self._pass_on(data, addr)

    def release(self) -> None:
        self.held = False
        for data, addr in self._waiting:
            self._pass_on(data, addr)
        self._waiting.clear()

    def _pass_on(self, data: bytes, addr: tuple[str, int]) -> None:
        task = asyncio.get_running_loop().create_task(self._exchange(data, addr))
        self._upstream.add(task)
        task.add_done_callback(self._upstream.discard)

    async def _exchange(self, data: bytes, addr: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()

        class Upstream(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                if not answer.done():
                    answer.set_result(data)

        transport, _ = await loop.create_datagram_endpoint(
            Upstream, remote_addr=("127.0.0.1", self._server_port)
        )
        try:
            transport.sendto(data)
            reply = await asyncio.wait_for(answer, 5)
        finally:
            transport.close()
        assert self._transport is not None
        self._transport.sendto(reply, addr)


@contextlib.asynccontextmanager
async def between(server_port: int) -> AsyncIterator[Between]:
    relay = Between(server_port)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: relay, local_addr=("127.0.0.1", relay.port)
    )
    try:
        yield relay
    finally:
        transport.close()
