"""DNS as the relays of a namespace see it: hosts of backends with the search list, mail hosts without.

The search list is that of the operator's resolv.conf with its own namespace
replaced by the relays': ``dovecot`` is their neighbour, not ours.

Errors
    TroubleError: nothing was found, or nobody could say.
Known limits
    Nothing is cached: probes are rare, and a corrected record counts at once.
"""

import asyncio
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from dns.rdtypes.ANY.MX import MX

from waystation_operator.plan.diagnosis import Case
from waystation_operator.probe.trouble import TroubleError

RESOLV_CONF = "/etc/resolv.conf"
DNS_PORT = 53
WITHIN_S = 10.0
MOST_HOSTS = 16  # of a domain

_CLUSTER_SUFFIX = re.compile(r"[^.]+\.(svc\..+)")


@dataclass(frozen=True, slots=True)
class Missing:
    """``exists``: the name does, without such records."""

    exists: bool


class Resolver:
    """``servers`` as in ``delivery.dnsServers``; none: those of resolv.conf. ``namespace``: the relays'."""

    def __init__(self, servers: Sequence[str] = (), namespace: str = "", within_s: float = WITHIN_S) -> None:
        self._within_s = within_s
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        try:
            self._resolver.read_resolv_conf(RESOLV_CONF)
        except (dns.resolver.NoResolverConfiguration, OSError):
            self._resolver.nameservers = ["127.0.0.1"]
        self.servers = tuple(_server(text) for text in servers)
        if self.servers:
            self._resolver.nameservers = list(self.servers)
        self._resolver.cache = None
        ndots = self._resolver.ndots
        self._ndots = 1 if ndots is None else ndots
        self.search = tuple(
            in_namespace(name.to_text(omit_final_dot=True), namespace)
            for name in self._resolver.search
            if name != dns.name.root
        )

    async def addresses(self, host: str) -> tuple[str, ...]:
        """Where a backend's host is; an IP address is where it says."""
        try:
            return (str(ipaddress.ip_address(host)),)
        except ValueError:
            pass
        trouble = TroubleError(Case.NO_SUCH_HOST)
        for name in self._candidates(host):
            try:
                found = await self._of_name(name)
            except TroubleError as error:
                trouble = error  # a suffix whose servers are down does not hide the name behind the others
                continue
            if not isinstance(found, Missing):
                return found
            if found.exists and trouble.case is Case.NO_SUCH_HOST:
                trouble = TroubleError(Case.NO_ADDRESS)
        raise trouble

    async def mail_hosts(self, domain: str) -> tuple[str, ...]:
        """The names of a domain's mail hosts that have addresses, the preferred first (RFC 5321 §5.1)."""
        found = await self._ask(domain, dns.rdatatype.MX)
        if isinstance(found, Missing):
            return await self._implicit(domain, found)
        records = sorted((r for r in found if isinstance(r, MX)), key=lambda r: (r.preference, r.exchange))
        names = dict.fromkeys(r.exchange.to_text(omit_final_dot=True).lower() for r in records)
        names.pop("@", None)
        names.pop(".", None)
        if not names:
            raise TroubleError(Case.NULL_MX)
        located = await asyncio.gather(
            *(self._of_name(name) for name in list(names)[:MOST_HOSTS]), return_exceptions=True
        )
        hosts = [name for name, at in zip(names, located, strict=False) if isinstance(at, tuple)]
        if hosts:
            return tuple(hosts)
        for at in located:
            if isinstance(at, BaseException):  # that nobody could say is not the domain's fault
                raise at
        raise TroubleError(Case.MX_WITHOUT_ADDRESS, why=", ".join(names))

    async def _implicit(self, domain: str, found: Missing) -> tuple[str, ...]:
        """A domain without MX records is its own mail host."""
        if not found.exists:
            raise TroubleError(Case.NO_SUCH_DOMAIN)
        if isinstance(await self._of_name(domain), Missing):
            raise TroubleError(Case.NO_MX)
        return (domain,)

    def _candidates(self, host: str) -> list[str]:
        """resolv.conf(5): a name with ``ndots`` dots is tried as it is first, another last."""
        if host.endswith("."):
            return [host]
        searched = [f"{host}.{suffix}" for suffix in self.search]
        return [host, *searched] if host.count(".") >= self._ndots else [*searched, host]

    async def _of_name(self, name: str) -> tuple[str, ...] | Missing:
        """Addresses of both families, as many as can be found out."""
        answers = await asyncio.gather(
            self._ask(name, dns.rdatatype.A), self._ask(name, dns.rdatatype.AAAA), return_exceptions=True
        )
        found = [str(record) for answer in answers if isinstance(answer, list) for record in answer]
        if found:
            return tuple(found)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return Missing(exists=any(isinstance(answer, Missing) and answer.exists for answer in answers))

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> list[object] | Missing:
        try:
            absolute = dns.name.from_text(name, idna_codec=dns.name.IDNA_2008_Practical)
            answer = await self._resolver.resolve(absolute, kind, search=False, lifetime=self._within_s)
        except dns.resolver.NXDOMAIN:
            return Missing(exists=False)
        except dns.resolver.NoAnswer:
            return Missing(exists=True)
        except dns.resolver.LifetimeTimeout:
            raise TroubleError(
                Case.DNS_TROUBLE, why=f"no DNS server answers within {self._within_s:g} s"
            ) from None
        except dns.resolver.NoNameservers as error:
            raise TroubleError(Case.DNS_TROUBLE, why=_why(error)) from None
        except (dns.exception.DNSException, OSError) as error:
            raise TroubleError(Case.DNS_TROUBLE, why=str(error) or type(error).__name__) from None
        return list(answer)


def in_namespace(suffix: str, namespace: str) -> str:
    """A search suffix of one namespace's pods as those of another have it."""
    cluster = _CLUSTER_SUFFIX.fullmatch(suffix)
    return f"{namespace}.{cluster[1]}" if cluster and namespace else suffix


def _server(text: str) -> dns.nameserver.Nameserver:
    """``192.0.2.53``, ``192.0.2.53:5353``, ``2001:db8::53`` or ``[2001:db8::53]:5353``, already checked."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return dns.nameserver.Do53Nameserver(address, int(port.removeprefix(":") or DNS_PORT))
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return dns.nameserver.Do53Nameserver(address, int(port))
    return dns.nameserver.Do53Nameserver(text, DNS_PORT)


def _why(error: dns.resolver.NoNameservers) -> str:
    """What each server answered: its code, such as SERVFAIL, or that it cannot be asked."""
    told = [f"{entry[0]}: {entry[3]}" for entry in error.kwargs.get("errors", ())]
    return ", ".join(dict.fromkeys(told)) or "no DNS server could answer"
