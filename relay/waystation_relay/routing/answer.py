"""What DNS said, as three values, and how a response message is read into them.

An ``Answer`` is ``Found`` (records), ``Missing`` (the authority says there are
none) or ``Trouble`` (nobody could say). An alias whose target's records the
server did not send along is an ``Alias``: ask again for the target.
"""

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import dns.rrset
import msgspec

from waystation_relay.routing.mx import Exchange


class Found(msgspec.Struct, frozen=True, gc=False):
    """MX records in ``exchanges``, A or AAAA records in ``addresses``."""

    exchanges: tuple[Exchange, ...] = ()
    addresses: tuple[str, ...] = ()


class Missing(msgspec.Struct, frozen=True, gc=False):
    """NXDOMAIN (the name does not exist) or NODATA (it does, without such records)."""

    exists: bool


class Trouble(msgspec.Struct, frozen=True, gc=False):
    """SERVFAIL, silence, nonsense. ``why`` is for the deferral's text and the log."""

    why: str


class Alias(msgspec.Struct, frozen=True, gc=False):
    """The records are to be asked for at ``target``."""

    target: dns.name.Name


Answer = Found | Missing | Trouble


def read(response: dns.message.Message, kind: dns.rdatatype.RdataType) -> tuple[Answer | Alias, float]:
    """The response's meaning and for how many seconds it may be kept, before any clamping.

    The TTL is the least along the chain of aliases; of a negative answer that
    of its SOA (RFC 2308 §5), 0 without one. An rcode counts for the last name
    of the chain (RFC 6604).
    """
    code = response.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Trouble(f"the DNS server answered {dns.rcode.to_text(code)}"), 0.0
    assert isinstance(response, dns.message.QueryMessage)
    try:
        chain = response.resolve_chaining()
    except dns.message.ChainTooLong:
        return Trouble("a CNAME loop"), 0.0
    except dns.exception.DNSException as error:
        return Trouble(f"the DNS server's answer makes no sense ({type(error).__name__})"), 0.0
    if chain.answer is not None:
        return _records(chain.answer, kind), chain.minimum_ttl
    has_soa = any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)
    if code == dns.rcode.NXDOMAIN:
        return Missing(exists=False), chain.minimum_ttl if has_soa else 0.0
    if chain.cnames and not has_soa:
        return Alias(chain.canonical_name), min(alias.ttl for alias in chain.cnames)
    if not has_soa and not response.flags & (dns.flags.AA | dns.flags.RA):
        return Trouble("the DNS server refers to others and does not recurse"), 0.0
    return Missing(exists=True), chain.minimum_ttl if has_soa else 0.0


def name_text(name: dns.name.Name) -> str:
    """Lower case, without the final dot; the root is ``""``."""
    return name.to_text(omit_final_dot=True).lower() if name != dns.name.root else ""


def _records(rrset: dns.rrset.RRset, kind: dns.rdatatype.RdataType) -> Found:
    if kind == dns.rdatatype.MX:
        return Found(
            exchanges=tuple(
                Exchange(record.preference, name_text(record.exchange))
                for record in rrset
                if isinstance(record, dns.rdtypes.ANY.MX.MX)
            )
        )
    return Found(
        addresses=tuple(
            str(record.address)
            for record in rrset
            if isinstance(record, dns.rdtypes.IN.A.A | dns.rdtypes.IN.AAAA.AAAA)
        )
    )
