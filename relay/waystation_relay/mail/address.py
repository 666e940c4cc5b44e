"""Mail addresses as plain text, and the two questions asked of them.

An address here is the text between the angle brackets of RFC 5321 §4.1.2,
without a source route: ``local@domain``; the null reverse-path is ``""`` and
the bare postmaster of §4.1.1.3 is ``"postmaster"``. Whether a text is an
address at all is decided by ``wire.grammar``, once, where it enters.
"""

import functools
import re

import idna

NULL_SENDER = ""
_DOTS = re.compile("[.\u3002\uff0e\uff61]")  # RFC 3490 §3.1: what people type between labels


def split(address: str) -> tuple[str, str]:
    """(local part as written, domain as written); the domain is ``""`` when there is none."""
    local, _, domain = address.rpartition("@")
    return (local, domain) if local else (domain, "")


def domain_of(address: str) -> str:
    """The address's domain in its normal form (see :func:`normal_domain`), ``""`` when there is none."""
    return normal_domain(address[address.rfind("@") + 1 :]) if "@" in address else ""


@functools.lru_cache(maxsize=8192)
def normal_domain(domain: str) -> str:
    """A domain's lower-case A-label form (RFC 5890); literals and labels that are not IDNA in lower case."""
    if domain.isascii():
        return domain.lower().rstrip(".")
    # Label by label: one that is not IDNA (with an underscore, say) must not hide whose sub-domain it is.
    return ".".join(map(_normal_label, _DOTS.split(domain))).rstrip(".")


def _normal_label(label: str) -> str:
    if label.isascii():
        return label.lower()
    try:
        return idna.encode(label, uts46=True).decode("ascii")
    except idna.IDNAError:
        return label.lower()
