"""Reads the configuration document and the Secret files beside it into a snapshot.

Everything that can be wrong is found here, before anything is replaced: the
document's form, its cross-references, and material that is missing,
unreadable or not a certificate.
"""

import ssl
from pathlib import Path

from waystation_contract import codec
from waystation_contract.model import Document, Quarantine, Route, SmartHost
from waystation_relay.config.snapshot import Credential, Snapshot
from waystation_relay.routing.table import Table


class ConfigUnreadableError(Exception):
    """A file cannot be read or used; the text names the file, the reason and the remedy."""


def load(path: Path) -> Snapshot:
    """The snapshot of the document at ``path``. Raises ``ConfigError`` or ``ConfigUnreadableError``."""
    document, digest = codec.decode(_read(path))
    folder = path.parent
    return Snapshot(
        document=document,
        hash=digest,
        table=Table(document.routes),
        credentials={name: _credential(folder, name) for name in _credential_names(document)},
        certificates={
            listener.certificate: _context(folder, listener.certificate)
            for listener in document.listeners
            if listener.certificate
        },
        released=Table([route for route in document.routes if not _is_quarantine(route)]),
    )


def _is_quarantine(route: Route) -> bool:
    return any(isinstance(backend, Quarantine) for backend in route.backends)


def _credential_names(document: Document) -> set[str]:
    return {
        backend.credential
        for route in document.routes
        for backend in route.backends
        if isinstance(backend, SmartHost) and backend.credential
    }


def _credential(folder: Path, name: str) -> Credential:
    return Credential(*(_text(folder / f"{name}.{part}") for part in ("username", "password")))


def _context(folder: Path, name: str) -> ssl.SSLContext:
    """A server context with the floor at TLS 1.2 and the pair ``name.crt``, ``name.key``."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    _read(certificate), _read(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate, key, _no_password)
    except OSError as error:  # SSLError is one; the others: it was taken away since we looked
        why = getattr(error, "reason", None) or error.strerror or error
        raise ConfigUnreadableError(
            f"{certificate}: not a usable certificate with {key.name} ({why}); "
            "put the certificate chain and its private key there, both PEM, the key without a password"
        ) from None
    return context


def _no_password() -> str:
    """Without it OpenSSL would ask whoever sits at the terminal, and wait."""
    return ""


def _text(path: Path) -> str:
    """One line, as SASL can carry it: a control character would end a PLAIN user name early."""
    try:
        text = _read(path).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ConfigUnreadableError(f"{path}: not UTF-8 text; write the value as plain UTF-8") from None
    if not text:
        raise ConfigUnreadableError(f"{path}: is empty; write the value there, or take the credential away")
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ConfigUnreadableError(f"{path}: holds more than one line of text; write the value alone")
    return text


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigUnreadableError(
            f"{path}: cannot be read: {error.strerror}; make it a file this process may read"
        ) from None
