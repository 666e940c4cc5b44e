"""Whether a certificate and a key, as a Secret has them, can serve a listener together. Pure."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)


def objection(chain: bytes, key: bytes) -> str | None:
    """``None`` when a TLS server can use them; otherwise which of the two is wrong, without repeating it."""
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, UnsupportedAlgorithm):
        return "whose tls.crt is no certificate chain in PEM"
    try:
        private = load_pem_private_key(key, password=None)
    except TypeError:
        return "whose tls.key is protected by a password, which nobody can enter here"
    except (ValueError, UnsupportedAlgorithm):
        return "whose tls.key is no private key in PEM"
    if _spki(certificate.public_key()) != _spki(private.public_key()):
        return "whose tls.key does not belong to the first certificate of its tls.crt"
    return None


def validity(chain: bytes) -> tuple[float, float] | None:
    """From when to when, in Unix seconds, the first certificate of a usable chain is valid."""
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, UnsupportedAlgorithm):
        return None
    return certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()


def _spki(key: object) -> bytes:
    """The key as certificates carry it, for comparison."""
    data: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined] # every kind of public key has it
    return data
