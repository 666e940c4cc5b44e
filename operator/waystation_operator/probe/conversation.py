"""What is said to a server after its greeting: EHLO, STARTTLS, AUTH, or LHLO. Never a mail transaction.

The order and the demands are the relay's: what works here works there, and
fails there for the same reason.

Known limits
    What a server sends behind its answer to STARTTLS is thrown away; the relay gives the server up for it.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiosmtplib
from aiosmtplib.typing import SMTPStatus

from waystation_contract.model import UpstreamTLS
from waystation_operator.plan.diagnosis import Case
from waystation_operator.plan.findings import Target
from waystation_operator.plan.probing import Credential
from waystation_operator.probe import certificate
from waystation_operator.probe.connection import Settings, greeted, said
from waystation_operator.probe.login import log_in
from waystation_operator.probe.trouble import TroubleError, words

_TLS_TROUBLE = frozenset(
    {
        Case.STARTTLS_REFUSED,
        Case.TLS_FAILED,
        Case.CERTIFICATE_BAD,
        Case.CERTIFICATE_EXPIRED,
        Case.CERTIFICATE_FOR_OTHERS,
        Case.CERTIFICATE_UNKNOWN_ISSUER,
    }
)
_NOT_KNOWN = (500, 502, 503)


@dataclass(frozen=True, slots=True)
class Answered:
    """``login``: a login was tried, and accepted."""

    case: Case
    why: str = ""
    login: bool = False


async def smart_host(
    target: Target, address: str, credential: Credential | None, now: float, settings: Settings
) -> Answered:
    tls = UpstreamTLS(target.tls)
    try:
        return await _smart_host(target, address, tls, credential, now, settings)
    except TroubleError as trouble:
        if tls is not UpstreamTLS.OPPORTUNISTIC or trouble.case not in _TLS_TROUBLE:
            raise
    return await _smart_host(target, address, UpstreamTLS.NONE, credential, now, settings)


async def _smart_host(
    target: Target,
    address: str,
    tls: UpstreamTLS,
    credential: Credential | None,
    now: float,
    settings: Settings,
) -> Answered:
    async with greeted(target, address, tls, settings) as smtp:
        async with _answering("EHLO", settings):
            await _hello(smtp)
            if tls in (UpstreamTLS.OPPORTUNISTIC, UpstreamTLS.REQUIRED):
                await _start_tls(smtp, tls, settings)
        session = smtp.get_transport_info("ssl_object") if smtp.is_connected else None
        expires = certificate.expiring(session, now) if session and tls in certificate.VERIFIED else None
        if credential is not None:
            await log_in(smtp, credential, secure=session is not None)
        if expires:
            return Answered(Case.CERTIFICATE_SOON, expires, login=credential is not None)
        if credential is not None:
            return Answered(Case.LOGGED_IN, login=True)
        return Answered(Case.NOT_LOGGED_IN if target.credential else Case.ANSWERS)


async def lmtp(target: Target, address: str, settings: Settings) -> Answered:
    async with greeted(target, address, UpstreamTLS.NONE, settings) as smtp, _answering("LHLO", settings):
        answer = await smtp.execute_command(b"LHLO", settings.hostname.encode("ascii"))
        if answer.code in _NOT_KNOWN:
            raise TroubleError(Case.NOT_LMTP, said=words(f"{answer.code} {answer.message}"))
        if answer.code != SMTPStatus.completed:
            raise said(aiosmtplib.SMTPHeloError(answer.code, answer.message), Case.HELLO_REFUSED)
        return Answered(Case.ANSWERS)


@asynccontextmanager
async def _answering(verb: str, settings: Settings) -> AsyncIterator[None]:
    """Nonsense, silence and hanging up, at whatever step."""
    try:
        yield
    except aiosmtplib.SMTPTimeoutError:
        raise TroubleError(Case.NO_ANSWER, said=verb, why=f"{settings.within_s:g} s") from None
    except aiosmtplib.SMTPServerDisconnected:
        raise TroubleError(Case.LOST, said=f"at {verb}") from None
    except aiosmtplib.SMTPResponseException as error:
        raise said(error, Case.HELLO_REFUSED) from None


async def _hello(smtp: aiosmtplib.SMTP) -> None:
    """HELO where EHLO is refused for good; such a server knows no extensions."""
    try:
        await smtp.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if not 500 <= error.code < 600 or not smtp.is_connected:
            raise
        await smtp.helo()


async def _start_tls(smtp: aiosmtplib.SMTP, tls: UpstreamTLS, settings: Settings) -> None:
    if not smtp.supports_extension("starttls"):
        if tls is UpstreamTLS.REQUIRED:
            raise TroubleError(Case.NO_STARTTLS)
        return
    try:
        await smtp.starttls()
    except ssl.SSLError as error:
        raise certificate.trouble(error) from None
    except aiosmtplib.SMTPTimeoutError:
        why = f"it does not complete the handshake within {settings.within_s:g} s"
        raise TroubleError(Case.TLS_FAILED, why=why) from None
    except aiosmtplib.SMTPServerDisconnected:
        raise TroubleError(Case.TLS_FAILED, why="the connection was closed during the handshake") from None
    except aiosmtplib.SMTPResponseException as error:
        raise said(error, Case.STARTTLS_REFUSED) from None
    await _hello(smtp)
