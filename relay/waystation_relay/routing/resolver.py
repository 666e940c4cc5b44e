"""The servers to try for a domain's mail, or what to tell its senders.

``mail_hosts`` follows RFC 5321 §5.1 (MX, implicit MX, address literals) and
RFC 7505 (null MX); ``host`` finds a backend's server, a name or an address,
with resolv.conf's search list. Results are values: the hosts in the order to
try them, or the outcome of the attempt that could not be made.

A host is used when it has an address that can be reached from here; trouble
with one host's look-up matters only when no other can be used.

Known limits
    The aliases of a mail host are followed although RFC 5321 §5.1 forbids
    them, as everybody does. DNSSEC is left to the servers asked.
"""

import asyncio
import random
from collections.abc import Callable, Sequence

import msgspec

from waystation_relay.aio.clock import Clock
from waystation_relay.mail.address import normal_domain
from waystation_relay.mail.outcome import Deferred, Failed
from waystation_relay.routing import mx, reach, servers
from waystation_relay.routing.answer import Answer, Found, Missing, Trouble
from waystation_relay.routing.lookup import AAAA, MX, A, Counts, Lookup
from waystation_relay.routing.mx import Exchange, Host
from waystation_relay.routing.refusal import Case, deferred, failed

_LOCALHOST = ("127.0.0.1", "::1")  # RFC 6761 §6.3: never asked of DNS


class MailHosts(msgspec.Struct, frozen=True):
    """At least one host, each with at least one address, in the order to try them."""

    hosts: tuple[Host, ...]


class Resolver:
    def __init__(
        self,
        configured: Sequence[str],
        clock: Clock,
        *,
        is_self: Callable[[Host], bool] = lambda _: False,
        reachable: Callable[[str], bool] = reach.has_route,
        shuffle: mx.Shuffle = random.shuffle,
        system: Callable[[Sequence[str]], servers.Servers] = servers.find,
        timeout_s: float = 3.0,
        cache_entries: int = 20_000,
    ) -> None:
        """``configured``: the contract's ``dns_servers``. ``is_self``: whether a mail host is this relay."""
        found = system(configured)
        self._search, self._ndots = found.search, found.ndots
        self._lookup = Lookup(found.servers, clock, timeout_s=timeout_s, cache_entries=cache_entries)
        self._is_self, self._reachable, self._shuffle = is_self, reachable, shuffle

    @property
    def counts(self) -> Counts:
        return self._lookup.counts

    @property
    def cached(self) -> int:
        return len(self._lookup.cache)

    async def close(self) -> None:
        await self._lookup.close()

    async def mail_hosts(self, domain: str) -> MailHosts | Deferred | Failed:
        """Where mail for ``domain`` goes: its mail hosts, or the host an address literal names."""
        domain = normal_domain(domain)
        literal = mx.literal(domain)
        if literal is not None:
            return self._literal(domain, literal)
        if not domain or not domain.isascii():
            return failed(Case.NOT_A_DOMAIN, domain)
        answer = await self._lookup.ask(domain, MX)
        if isinstance(answer, Trouble):
            return deferred(Case.DNS_TROUBLE, domain, answer.why)
        if isinstance(answer, Missing) and not answer.exists:
            return failed(Case.NO_SUCH_DOMAIN, domain)
        exchanges = mx.exchanges(answer.exchanges if isinstance(answer, Found) else (), domain)
        if isinstance(exchanges, mx.NullMX):
            return failed(Case.NULL_MX, domain)
        return await self._located(domain, exchanges, implicit=isinstance(answer, Missing))

    async def host(self, name: str) -> MailHosts | Deferred:
        """A backend's server: an IP address, or a name with address records; MX records play no part."""
        address = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        if mx.is_address(address):
            return MailHosts((Host(name, 0, (address,)),))
        answer: Answer = Missing(exists=False)
        for candidate in self._candidates(normal_domain(name), absolute=name.endswith(".")):
            found = await self.addresses(candidate)
            if isinstance(found, Found):
                usable = self._usable(found)
                if usable:
                    return MailHosts((Host(normal_domain(name), 0, usable),))
                return deferred(Case.BACKEND_UNREACHABLE, name, ", ".join(found.addresses))
            if isinstance(found, Trouble):
                answer = found
        if isinstance(answer, Trouble):
            return deferred(Case.BACKEND_TROUBLE, name, answer.why)
        return deferred(Case.BACKEND_UNKNOWN, name)

    async def addresses(self, name: str) -> Answer:
        """A host's addresses of both families, as many as can be found out."""
        if name == "localhost":
            return Found(addresses=_LOCALHOST)
        answers = await asyncio.gather(self._lookup.ask(name, A), self._lookup.ask(name, AAAA))
        found = tuple(
            address
            for answer in answers
            if isinstance(answer, Found)
            for address in answer.addresses[: mx.MOST_ADDRESSES]
            if mx.is_destination(address)
        )
        if found:
            return Found(addresses=found)
        trouble = next((answer for answer in answers if isinstance(answer, Trouble)), None)
        return trouble or Missing(exists=any(not isinstance(a, Missing) or a.exists for a in answers))

    def _candidates(self, name: str, *, absolute: bool) -> list[str]:
        """resolv.conf(5): a name with ``ndots`` dots is tried as it is first, another last."""
        if absolute or name == "localhost":
            return [name]
        searched = [f"{name}.{suffix}" for suffix in self._search]
        return [name, *searched] if name.count(".") >= self._ndots else [*searched, name]

    def _literal(self, domain: str, address: str) -> MailHosts | Deferred | Failed:
        if not address or not mx.is_destination(address):
            return failed(Case.NOT_A_DOMAIN, domain)
        host = Host(domain, 0, (address,))
        if self._is_self(host):
            return failed(Case.LOOP, domain)
        if not self._reachable(address):
            return deferred(Case.UNREACHABLE, domain, address)
        return MailHosts((host,))

    async def _located(
        self, domain: str, exchanges: tuple[Exchange, ...], *, implicit: bool
    ) -> MailHosts | Deferred | Failed:
        """The exchanges that are not this server and have addresses, in trying order."""
        answers = await asyncio.gather(*(self.addresses(exchange.name) for exchange in exchanges))
        located = [
            (Host(x.name, x.preference, answer.addresses if isinstance(answer, Found) else ()), answer)
            for x, answer in zip(exchanges, answers, strict=True)
        ]
        others = mx.without_self([host for host, _ in located], self._is_self)
        if located and not others:
            return failed(Case.LOOP, domain)
        found = {host.name: answer for host, answer in located if host in others}
        usable = {name: self._usable(answer) for name, answer in found.items() if isinstance(answer, Found)}
        hosts = [Host(h.name, h.preference, usable[h.name]) for h in others if usable.get(h.name)]
        if hosts:
            return MailHosts(mx.order(hosts, self._shuffle))
        for answer in found.values():
            if isinstance(answer, Trouble):
                return deferred(Case.DNS_TROUBLE, domain, answer.why)
        if usable:
            every = ", ".join(a for h in others for a in h.addresses)
            return deferred(Case.UNREACHABLE, domain, every)
        if implicit:
            return failed(Case.NO_ADDRESS, domain)
        return failed(Case.NO_HOST, domain, ", ".join(h.name for h in others) or "no MX record names a host")

    def _usable(self, found: Found) -> tuple[str, ...]:
        families: tuple[list[str], list[str]] = ([], [])
        for address in found.addresses:
            if self._reachable(address):
                families[":" in address].append(address)
        for family in families:
            self._shuffle(family)
        return mx.interleave(*families)
