"""uvloop, as in the relay; an authority whose certificates the client may be told to trust."""

import asyncio
import ssl
from collections.abc import Callable, Mapping

import pytest
import uvloop
from tests.support.certificates import Authority


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def serving(authority: Authority) -> Callable[..., ssl.SSLContext]:
    """TLS as a server has it, with a certificate for these names."""

    def context(*names: str) -> ssl.SSLContext:
        certificate = authority.issue(*names)
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(certificate.chain, certificate.key)
        return made

    return context
