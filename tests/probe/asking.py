"""How the tests of this folder probe: one target at a loopback port, with a short deadline."""

import ssl
import time
from pathlib import Path

from tests.support.certificates import Certificate

from waystation_contract.model import UpstreamTLS
from waystation_operator.plan.findings import Finding, Target
from waystation_operator.plan.probing import Credential
from waystation_operator.probe.connection import Settings
from waystation_operator.probe.examine import Examined, Names, examine

SHORT_S = 0.3
PATIENT_S = 5.0
SECRET = "shop/upstream"
CREDENTIAL = Credential("ann", "tr0ub4dor&3")


class Book:
    """Names without DNS: every host is at these addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses or ("127.0.0.1",)

    async def addresses(self, host: str) -> tuple[str, ...]:
        return self._addresses

    async def mail_hosts(self, domain: str) -> tuple[str, ...]:
        raise NotImplementedError


def smart_host(port: int, tls: UpstreamTLS = UpstreamTLS.NONE, host: str = "127.0.0.1") -> Target:
    return Target("smartHost", host, port, tls.value)


async def examined(
    target: Target,
    credential: Credential | None = None,
    *,
    names: Names | None = None,
    within_s: float = PATIENT_S,
    ca_file: Path | None = None,
) -> Examined:
    settings = Settings("relay.test", within_s, str(ca_file or ""))
    return await examine(target, credential, names or Book(), time.time, settings)


async def found(
    target: Target,
    credential: Credential | None = None,
    *,
    names: Names | None = None,
    within_s: float = PATIENT_S,
    ca_file: Path | None = None,
) -> Finding:
    return (await examined(target, credential, names=names, within_s=within_s, ca_file=ca_file)).finding


def server_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context
