"""Reads the configuration document and the Secret files beside it into a snapshot.

Everything that can be wrong is found here, before anything is replaced: the
document's form, its cross-references, and material that is missing,
unreadable or not a certificate. The hash covers all of it.

What is read together belongs together. In a mounted Secret all files come from
the one version that its ``..data`` link names; elsewhere they are read again
behind everything else, and what changed meanwhile is read anew.
"""

import ssl
from pathlib import Path

from waystation_contract import codec
from waystation_contract.model import Document, Quarantine, Route, SmartHost
from waystation_relay.config.snapshot import Credential, Snapshot
from waystation_relay.routing.table import Table

VERSION_LINK = "..data"  # of a mounted Secret or ConfigMap; the kubelet renames a new one over it
ATTEMPTS = 5


class ConfigUnreadableError(Exception):
    """A file cannot be read or used; the text names the file, the reason and the remedy."""


class _ChangedError(Exception):
    """Somebody wrote while we read."""


def load(path: Path) -> Snapshot:
    """The snapshot of the document at ``path``. Raises ``ConfigError`` or ``ConfigUnreadableError``."""
    for _ in range(ATTEMPTS):
        folder = place_of(path)
        try:
            return _load(path, folder)
        except _ChangedError:
            continue
        except Exception:
            if folder == place_of(path):
                raise
    raise ConfigUnreadableError(f"{path}: changes while it is read; write it and the files beside it at once")


def place_of(path: Path) -> Path:
    """The folder that the files are read from."""
    link = path.parent / VERSION_LINK
    return link.resolve() if link.is_symlink() else path.parent


def _load(path: Path, place: Path) -> Snapshot:
    written = _read(path, place)
    document, _ = codec.decode(written)
    folder = _Folder(path.parent, place, document)
    snapshot = Snapshot(
        document=document,
        hash=codec.digest(document, folder.files),
        table=Table(document.routes),
        credentials={name: folder.credential(name) for name in _credential_names(document)},
        certificates={
            listener.certificate: folder.context(listener.certificate)
            for listener in document.listeners
            if listener.certificate
        },
        released=Table([route for route in document.routes if not _is_quarantine(route)]),
    )
    if written != _read(path, place) or folder.files != folder.read(document):
        raise _ChangedError
    return snapshot


def _is_quarantine(route: Route) -> bool:
    return any(isinstance(backend, Quarantine) for backend in route.backends)


def _credential_names(document: Document) -> set[str]:
    return {
        backend.credential
        for route in document.routes
        for backend in route.backends
        if isinstance(backend, SmartHost) and backend.credential
    }


class _Folder:
    """The files beside the document, read from ``place`` and called by the folder's name that people know."""

    def __init__(self, name: Path, place: Path, document: Document) -> None:
        self._name, self._place = name, place
        self.files = self.read(document)

    def read(self, document: Document) -> dict[str, bytes]:
        return {name: _read(self._name / name, self._place) for name in codec.material(document)}

    def credential(self, name: str) -> Credential:
        return Credential(*[self._text(f"{name}.{part}") for part in codec.CREDENTIAL])

    def context(self, name: str) -> ssl.SSLContext:
        """A server context with the floor at TLS 1.2 and the pair ``name.crt``, ``name.key``."""
        certificate, key = [self._place / f"{name}.{part}" for part in codec.CERTIFICATE]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        try:
            context.load_cert_chain(certificate, key, _no_password)
        except OSError as error:  # SSLError is one; the others: it was taken away since we looked
            why = getattr(error, "reason", None) or error.strerror or error
            raise ConfigUnreadableError(
                f"{self._name / certificate.name}: not a usable certificate with {key.name} ({why}); "
                "put the certificate chain and its private key there, both PEM, the key without a password"
            ) from None
        return context

    def _text(self, name: str) -> str:
        """One line, as SASL can carry it: a control character would end a PLAIN user name early."""
        path = self._name / name
        try:
            text = self.files[name].decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            raise ConfigUnreadableError(f"{path}: not UTF-8 text; write the value as plain UTF-8") from None
        if not text:
            raise ConfigUnreadableError(
                f"{path}: is empty; write the value there, or take the credential away"
            )
        if any(ord(character) < 32 or ord(character) == 127 for character in text):
            raise ConfigUnreadableError(f"{path}: holds more than one line of text; write the value alone")
        return text


def _no_password() -> str:
    """Without it OpenSSL would ask whoever sits at the terminal, and wait."""
    return ""


def _read(path: Path, place: Path) -> bytes:
    try:
        return (place / path.name).read_bytes()
    except OSError as error:
        raise ConfigUnreadableError(
            f"{path}: cannot be read: {error.strerror}; make it a file this process may read"
        ) from None
