"""TLS as the relay demands it of servers, and what is wrong with the certificate of one.

Opportunistic takes any certificate; Required and Implicit demand TLS 1.2 and
one that is valid for the host, from an authority of the system.
"""

import datetime
import ssl

from cryptography import x509

from waystation_contract.model import UpstreamTLS
from waystation_operator.plan.diagnosis import EXPIRES_SOON_DAYS, Case
from waystation_operator.probe.trouble import TroubleError

VERIFIED = frozenset({UpstreamTLS.REQUIRED, UpstreamTLS.IMPLICIT})

# OpenSSL's X509_V_ERR_*, as SSLCertVerificationError.verify_code has them.
_CASES: dict[int, Case] = {
    10: Case.CERTIFICATE_EXPIRED,  # CERT_HAS_EXPIRED
    62: Case.CERTIFICATE_FOR_OTHERS,  # HOSTNAME_MISMATCH
    64: Case.CERTIFICATE_FOR_OTHERS,  # IP_ADDRESS_MISMATCH
    2: Case.CERTIFICATE_UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT
    7: Case.CERTIFICATE_UNKNOWN_ISSUER,  # CERT_SIGNATURE_FAILURE: one that only bears a trusted one's name
    18: Case.CERTIFICATE_UNKNOWN_ISSUER,  # DEPTH_ZERO_SELF_SIGNED_CERT
    19: Case.CERTIFICATE_UNKNOWN_ISSUER,  # SELF_SIGNED_CERT_IN_CHAIN
    20: Case.CERTIFICATE_UNKNOWN_ISSUER,  # UNABLE_TO_GET_ISSUER_CERT_LOCALLY
    21: Case.CERTIFICATE_UNKNOWN_ISSUER,  # UNABLE_TO_VERIFY_LEAF_SIGNATURE
}


def context_for(tls: UpstreamTLS, ca_file: str = "") -> ssl.SSLContext:
    """``ca_file``: trusted authorities in PEM; empty: the system's. Made anew: authorities may change."""
    if tls in VERIFIED:
        context = ssl.create_default_context(cafile=ca_file or None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def trouble(error: ssl.SSLError) -> TroubleError:
    """Why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        case = _CASES.get(error.verify_code, Case.CERTIFICATE_BAD)
        return TroubleError(case, why=error.verify_message.rstrip("."))
    reason = error.reason.replace("_", " ").lower() if isinstance(error.reason, str) else str(error)
    return TroubleError(Case.TLS_FAILED, why=reason)


def expiring(session: ssl.SSLObject, now: float) -> str | None:
    """The day on which the server's certificate expires, if that is soon."""
    der = session.getpeercert(binary_form=True)
    if der is None:
        return None
    end = x509.load_der_x509_certificate(der).not_valid_after_utc
    soon = datetime.datetime.fromtimestamp(now, datetime.UTC) + datetime.timedelta(days=EXPIRES_SOON_DAYS)
    return f"{end:%Y-%m-%d}" if end < soon else None
