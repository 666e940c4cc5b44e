"""The whole canary with everything real: DNS, TLS, a submission server, a wrong password put right."""

import asyncio
import datetime
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.plan.objects import pool, route, secret
from tests.probe.submission import submission
from tests.support.certificates import Authority
from tests.support.dns import Nsd, Unbound
from tests.support.dovecot import PASSWORD

from waystation_operator.plan import probing
from waystation_operator.plan.findings import Finding
from waystation_operator.probe.watch import Watch

HOST = "smtp.example.test"
USER = "ann@dovecot.test"


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, str]]:
    """A provider: the port of its submission server, and the DNS server that knows its name."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    issued = authority.issue(HOST, valid_for=datetime.timedelta(days=365))
    with (
        submission(tmp_path, issued) as postfix,
        Nsd(tmp_path, {"example.test": "smtp A 127.0.0.1"}) as nsd,
        Unbound(tmp_path, {"example.test": nsd.port}) as unbound,
    ):
        yield postfix.port, f"127.0.0.1:{unbound.port}"


async def test_a_wrong_password_is_said_aloud_and_taken_back(
    upstream: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the YAML to the finding; and from the corrected Secret to the all-clear."""
    monkeypatch.setattr(probing, "ANY_LOGIN_EVERY_S", 0.0)
    port, dns_server = upstream
    mail = pool(delivery__dnsServers=[dns_server])
    smart_host = {"host": HOST, "port": port, "tls": "Required", "authSecretName": "up"}
    routes = [route("up", backends=[{"smartHost": smart_host}])]
    news = asyncio.Event()
    watch = Watch(lambda _: news.set())

    async def found(password: str) -> Finding:
        news.clear()
        watch.want(mail, routes, {}, secret("mail/up", username=USER, password=password))
        async with asyncio.timeout(10):
            await news.wait()
        (finding,) = watch.findings_for("mail/outbound")
        return finding

    running = asyncio.create_task(watch.run())
    refused = await found("wrong")
    assert (refused.reason, refused.target.route) == ("AuthRefused", "mail/up")
    assert f"{HOST} [127.0.0.1]:{port} refuses the user name and password: 535" in refused.message
    assert "correct username and password in the Secret" in refused.message
    assert (await found(PASSWORD)).reason == "Reachable"
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
