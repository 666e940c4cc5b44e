"""What is measured: the shape every server has here, and Waystation in it.

Every server takes mail for ``sink.test`` to the plain sink and for ``tls.test``
to the encrypted one, offers STARTTLS with the same certificate, uses TLS where
the other side offers it, keeps its queue below the same folder and syncs it
before its 250. Where a user who wants throughput would turn something up it is
turned up; what makes mail safe stays as it is. ``settings`` says what was set,
for the report.
"""

import dataclasses
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, Self

from tests.support.certificates import Certificate
from tests.support.relay import RelayProcess, listener, route, to

from waystation_contract.model import Delivery, Limits, ListenerTLS, Retry, Route, UpstreamTLS

PLAIN, ENCRYPTED, TIMED = "sink.test", "tls.test", "timed.test"
CONNECTIONS = 50  # outbound, to one destination, for every server
SESSIONS = 300  # inbound, more than any workload opens
REAPER = (sys.executable, "-I", str(Path(__file__).with_name("reaper.py")))
CERTIFICATE = "bench-certificate"


@dataclasses.dataclass(frozen=True, slots=True)
class Site:
    """What all servers share: where their queues lie, each domain's port, the certificate they offer."""

    folder: Path
    ports: Mapping[str, int]
    certificate: Certificate | None = None


class Server(Protocol):
    """Started on entering, gone on leaving. ``root`` is the process whose tree is counted."""

    name: str
    settings: str
    is_wrapped: bool  # the root is bench.reaper
    port: int

    @property
    def root(self) -> int: ...

    def version(self) -> str: ...

    def queued(self) -> int:
        """Messages in its queue."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class Make(Protocol):
    """A server's class."""

    name: str

    def __call__(self, site: Site) -> Server: ...


class Waystation(RelayProcess):
    name = "waystation"
    settings = (
        f"{CONNECTIONS} connections per destination, {SESSIONS} sessions per client; "
        "each mail synced before its 250"
    )
    is_wrapped = False

    def __init__(self, site: Site, *, label: str = "waystation", retry: Retry | None = None) -> None:
        super().__init__(site.folder / label)
        tls = ListenerTLS.NONE
        if site.certificate is not None:
            self.certificate(CERTIFICATE, site.certificate)
            tls = ListenerTLS.OPPORTUNISTIC
        self.configure(
            *(_route(domain, port, retry or Retry()) for domain, port in site.ports.items()),
            listeners=(
                listener(
                    self.port,
                    tls=tls,
                    certificate=CERTIFICATE if site.certificate else None,
                    limits=Limits(max_sessions_per_client=SESSIONS),
                ),
            ),
            delivery=Delivery(connections_per_destination=CONNECTIONS),
        )

    @property
    def root(self) -> int:
        assert self.process is not None, "not started"
        return self.process.pid

    def version(self) -> str:
        run = subprocess.run(
            [sys.executable, "-m", "waystation", "--version"],
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
        )
        return run.stdout.strip().rpartition(" ")[2]

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise


def _route(domain: str, port: int, retry: Retry) -> Route:
    backend = to(port)
    if domain == ENCRYPTED:
        backend = type(backend)(host=backend.host, port=port, tls=UpstreamTLS.OPPORTUNISTIC)
    return route(backend, recipients=(f"*@{domain}",), name=f"bench/{domain}", retry=retry)
