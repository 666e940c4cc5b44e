"""A connection to one address of a server, from connect to its greeting.

Errors
    TroubleError: there is none; the particulars are told apart as far as the network tells them.
"""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiosmtplib
from aiosmtplib.typing import SMTPStatus

from waystation_contract.model import UpstreamTLS
from waystation_operator.plan.diagnosis import Case
from waystation_operator.plan.findings import Target
from waystation_operator.probe import certificate
from waystation_operator.probe.trouble import TroubleError, words

QUIT_WITHIN_S = 3.0
SMTP_PORT = 25

_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


@dataclass(frozen=True, slots=True)
class Settings:
    """``hostname`` is what we say we are, ``within_s`` the deadline of each step."""

    hostname: str
    within_s: float = 10.0
    ca_file: str = ""


@asynccontextmanager
async def greeted(
    target: Target, address: str, tls: UpstreamTLS, settings: Settings
) -> AsyncIterator[aiosmtplib.SMTP]:
    """Over TLS already if it is implicit. QUIT ends it, if there still is anybody to say it to."""
    connected = await _connected(target, address, settings)
    implicit = tls is UpstreamTLS.IMPLICIT
    smtp = aiosmtplib.SMTP(
        hostname=target.host,
        local_hostname=settings.hostname,
        timeout=settings.within_s,
        sock=connected,
        use_tls=implicit,
        start_tls=False,
        tls_context=certificate.context_for(tls, settings.ca_file),
    )
    try:
        await _greeting(smtp, settings)
        yield smtp
        await _quit(smtp, settings)
    except TroubleError:
        await _quit(smtp, settings)
        raise
    finally:
        smtp.close()


async def _connected(target: Target, address: str, settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise TroubleError(Case.UNREACHABLE, why=_os_text(error)) from None
    try:
        async with asyncio.timeout(settings.within_s):
            await asyncio.get_running_loop().sock_connect(made, (address, target.port))
    except BaseException as error:
        made.close()
        if isinstance(error, OSError):  # TimeoutError is one
            raise _no_connection(error, target, settings) from None
        raise
    return made


def _no_connection(error: OSError, target: Target, settings: Settings) -> TroubleError:
    if isinstance(error, TimeoutError):
        case = Case.TIMED_OUT_25 if target.port == SMTP_PORT else Case.TIMED_OUT
        return TroubleError(case, why=f"{settings.within_s:g} s")
    if isinstance(error, ConnectionRefusedError):
        return TroubleError(Case.REFUSED)
    return TroubleError(Case.UNREACHABLE, why=_os_text(error))


def _os_text(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else str(error)


async def _greeting(smtp: aiosmtplib.SMTP, settings: Settings) -> None:
    within = f"{settings.within_s:g} s"
    try:
        await smtp.connect()
    except aiosmtplib.SMTPConnectResponseError as error:
        raise said(error, Case.GREETING_REFUSED) from None
    except aiosmtplib.SMTPResponseException as error:
        raise said(error, Case.NOT_SMTP) from None
    except aiosmtplib.SMTPConnectTimeoutError as error:
        # Its cause tells which of the two was late: TLS, or the greeting.
        if isinstance(error.__cause__, aiosmtplib.SMTPTimeoutError):
            raise TroubleError(Case.SILENT, why=within) from None
        raise TroubleError(
            Case.TLS_FAILED, why=f"it does not complete the handshake within {within}"
        ) from None
    except aiosmtplib.SMTPConnectError as error:
        cause = error.__cause__
        if isinstance(cause, ssl.SSLError):
            raise certificate.trouble(cause) from None
        if smtp.use_tls and not isinstance(cause, aiosmtplib.SMTPServerDisconnected):
            raise TroubleError(
                Case.TLS_FAILED, why="the connection was closed during the handshake"
            ) from None
        raise TroubleError(Case.LOST, said="before its greeting") from None


def said(error: aiosmtplib.SMTPResponseException, case: Case) -> TroubleError:
    """A reply that is none is not repeated: it may be anything, from anywhere in the cluster's network."""
    if error.code == SMTPStatus.invalid_response or not 200 <= error.code < 600:
        return TroubleError(Case.NOT_SMTP)
    return TroubleError(case, said=words(f"{error.code} {error.message}"))


async def _quit(smtp: aiosmtplib.SMTP, settings: Settings) -> None:
    """RFC 5321 §4.1.1.10 asks to say so; what comes of it is nobody's business."""
    try:
        await smtp.quit(timeout=min(QUIT_WITHIN_S, settings.within_s))
    except aiosmtplib.SMTPException:
        return
