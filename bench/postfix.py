"""The installed Postfix, as a user would tune it for throughput. Its fsync of each queue file stays."""

import subprocess
from collections.abc import Sequence
from typing import Self

from bench.servers import CONNECTIONS, PLAIN, REAPER, SESSIONS, Site
from tests.support.postfix import Postfix as PlainPostfix
from tests.support.programs import program

TUNED = {
    # More processes than Postfix's 100, each serving more than 100 clients before it is replaced.
    "default_process_limit": str(SESSIONS),
    "max_use": "10000",
    # As many deliveries at once as the other servers may have, from the start.
    "initial_destination_concurrency": str(CONNECTIONS),
    "default_destination_concurrency_limit": str(CONNECTIONS),
    # Connections kept for the next mail, under TLS too (which is worth 40 % there; the rest of this
    # table made no difference above the noise when it was tried on loopback, and hurts nothing).
    "smtp_connection_cache_destinations": "127.0.0.1",
    "smtp_tls_connection_reuse": "yes",
    # Nothing slows the input down.
    "in_flow_delay": "0",
    "smtpd_client_connection_count_limit": "0",
    "smtpd_client_connection_rate_limit": "0",
}


class Postfix(PlainPostfix):
    name = "postfix"
    settings = (
        f"{SESSIONS} processes, {CONNECTIONS} deliveries at once, connection cache and TLS connection reuse, "
        "in_flow_delay=0, max_use=10000; each queue file synced"
    )
    is_wrapped = True

    def __init__(self, site: Site) -> None:
        hops = ", ".join(f"{{{domain}=smtp:[127.0.0.1]:{port}}}" for domain, port in site.ports.items())
        super().__init__(
            site.folder,
            relay_to_port=site.ports[PLAIN],
            **TUNED,
            transport_maps=f"inline:{{{hops}}}",
            **_tls(site),
        )
        master = self.folder / "etc" / "master.cf"
        with master.open("a", encoding="utf-8") as file:
            file.write("tlsproxy unix - - n - 0 tlsproxy\n")

    @property
    def root(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def version(self) -> str:
        run = subprocess.run(
            [program("postconf"), "-d", "-h", "mail_version"],
            check=False,
            capture_output=True,
            text=True,
            timeout=20,
        )
        return run.stdout.strip()

    def command(self) -> Sequence[str]:
        return [*REAPER, *super().command()]

    def __enter__(self) -> Self:
        super().__enter__()
        return self


def _tls(site: Site) -> dict[str, str]:
    if site.certificate is None:
        return {}
    return {
        "smtpd_tls_security_level": "may",
        "smtpd_tls_cert_file": str(site.certificate.chain),
        "smtpd_tls_key_file": str(site.certificate.key),
        "smtp_tls_security_level": "may",
    }
