"""TLS towards servers: two contexts, and why a handshake failed, in words.

``unverified`` for opportunistic TLS takes any certificate and whatever
protocol version the library allows: the alternative is plain text.
``verified`` demands TLS 1.2 and a certificate for the host's name.

Known limits
    Contexts live as long as the process: a changed set of trusted
    authorities is seen after a restart.
"""

import functools
import ssl

from waystation_relay.delivery.target import Security


@functools.cache
def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@functools.cache
def verified(ca_file: str = "") -> ssl.SSLContext:
    """``ca_file``: trusted authorities in PEM; empty: the system's."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def context_for(security: Security, ca_file: str = "") -> ssl.SSLContext:
    return unverified() if security is Security.OPPORTUNISTIC else verified(ca_file)


def why(error: Exception) -> str:
    """A failed handshake for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid for it: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "it did not complete the TLS handshake in time"
    reason = getattr(error, "reason", None)  # of an SSLError, if OpenSSL gave it one
    if isinstance(reason, str):
        return f"the TLS handshake failed: {reason.replace('_', ' ').lower()}"
    return f"the TLS handshake failed: {str(error) or 'connection closed'}"
