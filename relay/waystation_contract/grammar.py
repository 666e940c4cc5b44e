"""What a host name, network, address or address pattern may look like, and what to say when it does not.

Each function takes a text and answers ``None`` (it is one) or a
:class:`Complaint`. The relay checks its document with them and the operator
checks its resources with them, so both refuse the same things in the same
words. Domains may be written in their own script (U-labels); whether such a
label is registrable is not judged here.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple


class Complaint(NamedTuple):
    """``problem`` reads after the value (*"is not …"*, *"must …"*); ``remedy`` is an instruction."""

    problem: str
    remedy: str


# Not U+3002, U+FF0E and U+FF61, which stand for dots (RFC 3490 §3.1): what looks like one label would be two.
_LABEL = re.compile(
    r"(?!-)[A-Za-z0-9_\-\u00a0-\u3001\u3003-\uff0d\uff0f-\uff60\uff62-\U0010ffff]{1,63}(?<!-)\Z"
)
_ATOM = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\-\u0080-\U0010ffff]+)*\Z"
)
_QUOTED = re.compile(r'"(?:[^"\\\x00-\x1f\x7f]|\\[\x20-\x7e])*"\Z')
_FILE_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.\-]{0,315}[a-z0-9])?\Z")
_ENHANCED = re.compile(r"[245]\.(?:0|[1-9]\d{0,2})\.(?:0|[1-9]\d{0,2})\Z")
_PREFIXED = re.compile(r"[0-9A-Fa-f:.]+/(?:0|[1-9]\d{0,2})\Z")
_MAPPED_V4 = ipaddress.IPv6Network("::ffff:0:0/96")

# RFC 5321 §4.5.3.1.1 asks to take 64, and more where possible: senders that encode the recipient (VERP) do.
_LOCAL_PART_BYTES = 252
_DOMAIN_BYTES = 253  # RFC 1035 §3.1, as text without the root's dot


def domain(text: str) -> Complaint | None:
    """A domain of a mail address: a DNS name, or one label; its own script is allowed."""
    remedy = "write a DNS name such as mail.example.com, without a dot at its end"
    if not text or len(text.encode()) > _DOMAIN_BYTES or not all(map(_LABEL.match, text.split("."))):
        return Complaint("is not a DNS name", remedy)
    if text.replace(".", "").isdigit():
        return Complaint("is an IP address, not a DNS name", remedy)
    return None


def host_name(text: str) -> Complaint | None:
    """A DNS name as it stands in EHLO and in certificates: letters, digits, hyphens (A-labels)."""
    if text.isascii():
        return domain(text)
    return Complaint("is not in ASCII", "write an international name in its xn-- form")


def host(text: str) -> Complaint | None:
    """Where to connect to: a name, or an IP address without brackets."""
    if ip(text) is None or host_name(text) is None:
        return None
    return Complaint(
        "is not a host",
        "write a DNS name such as smtp.example.net, or an IP address; the port has a field of its own",
    )


def ip(text: str) -> Complaint | None:
    """An address that means the same on every host: without a zone (``%eth0``)."""
    try:
        if "%" not in text and ipaddress.ip_address(text):
            return None
    except ValueError:
        pass
    return Complaint("is not an IP address", "write an address such as 192.0.2.10 or 2001:db8::10")


def network(text: str) -> Complaint | None:
    """A network in CIDR notation, with no bit set behind the prefix."""
    if not _PREFIXED.match(text):
        return Complaint(
            "is not a network in CIDR notation",
            "write a network such as 192.0.2.0/24, one host as 192.0.2.7/32",
        )
    try:
        given = ipaddress.ip_network(text)
    except ValueError:
        pass
    else:
        return _mapped(given)
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return Complaint(
            "is not a network in CIDR notation", "write a network such as 192.0.2.0/24 or 2001:db8::/32"
        )
    return Complaint(
        "has bits set behind its prefix",
        f"write {meant} for the network, or {text.split('/')[0]}/{meant.max_prefixlen} for the one host",
    )


def _mapped(given: ipaddress.IPv4Network | ipaddress.IPv6Network) -> Complaint | None:
    """Clients are known by their IPv4 address even where it came in an IPv6 socket's notation."""
    if given.version == 4 or not given.subnet_of(_MAPPED_V4):
        return None
    meant = f"{given.network_address.ipv4_mapped}/{given.prefixlen - _MAPPED_V4.prefixlen}"
    return Complaint("is an IPv4 network in IPv6 notation", f"write {meant}")


def everybody(networks: Iterable[str]) -> bool:
    """Whether these networks, taken together, hold all of IPv4 or all of IPv6: ``/0``, or its parts."""
    given = [text for text in networks if network(text) is None]
    v4 = ipaddress.collapse_addresses(ipaddress.IPv4Network(text) for text in given if ":" not in text)
    v6 = list(ipaddress.collapse_addresses(ipaddress.IPv6Network(text) for text in given if ":" in text))
    return any(n.prefixlen == 0 for n in v4) or any(n.prefixlen == 0 or _MAPPED_V4.subnet_of(n) for n in v6)


def dns_server(text: str) -> Complaint | None:
    """``192.0.2.53``, ``192.0.2.53:5353``, ``2001:db8::53`` or ``[2001:db8::53]:5353``."""
    if ip(text) is None:
        return None
    address, _, port = text.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    elif ":" in address:
        address = ""
    if ip(address) is None and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
        return None
    return Complaint(
        "is not a DNS server's address",
        "write 192.0.2.53, 192.0.2.53:5353 or [2001:db8::53]:5353; names cannot be used here",
    )


def address(text: str) -> Complaint | None:
    """One mailbox, ``local@domain`` (RFC 5321 §4.1.2)."""
    local, _, right = text.rpartition("@")
    if _is_local_part(local) and _is_mail_domain(right):
        return None
    return Complaint("is not a mail address", "write an address such as postmaster@example.com")


def pattern(text: str) -> Complaint | None:
    """``*``, ``*@domain``, ``*@*.domain`` (every subdomain, not the domain itself) or one address."""
    if text == "*":
        return None
    local, at, right = text.rpartition("@")
    if at and local == "*" and _is_mail_domain(right.removeprefix("*.") if right[2:3] != "[" else right):
        return None
    if at and "*" not in text and _is_local_part(local) and _is_mail_domain(right):
        return None
    if not at and domain(text) is None:
        return Complaint("is not an address pattern", f"write *@{text} for every address of the domain")
    return Complaint(
        "is not an address pattern", "write one of: user@example.com, *@example.com, *@*.example.com, *"
    )


def file_name(text: str) -> Complaint | None:
    """A credential's or certificate's name, which becomes part of a file's name: no path in it."""
    if _FILE_NAME.match(text) and ".." not in text:
        return None
    return Complaint(
        "is not the name of a credential or certificate",
        "use lower-case letters, digits, dots and hyphens: namespace.secret",
    )


def enhanced_code(text: str) -> Complaint | None:
    """RFC 3463 §2."""
    if _ENHANCED.match(text):
        return None
    return Complaint("is not an enhanced status code", "write three numbers such as 5.7.1 (RFC 3463)")


def reply_text(text: str) -> Complaint | None:
    """One line of a reply (RFC 5321 §4.2): printable US-ASCII, short enough for any client."""
    if text.strip() and len(text) <= 400 and text.isascii() and text.isprintable():
        return None
    return Complaint("cannot be said in a reply", "write one line of printable ASCII, at most 400 characters")


def reason(text: str) -> Complaint | None:
    """One line for the log."""
    if text.strip() and len(text) <= 400 and text.isprintable():
        return None
    return Complaint("is no reason that a log line can give", "write one line, at most 400 characters")


def _is_local_part(text: str) -> bool:
    if not text or len(text.encode()) > _LOCAL_PART_BYTES:
        return False
    return bool(_ATOM.match(text) or _QUOTED.match(text))


def _is_mail_domain(text: str) -> bool:
    if text.startswith("[") and text.endswith("]"):
        literal = text[1:-1]
        tagged = literal[:5].upper() == "IPV6:"  # RFC 5321 §4.1.3: what is IPv6 says so
        address = literal[5:] if tagged else literal
        return ip(address) is None and (":" in address) is tagged
    return domain(text) is None
