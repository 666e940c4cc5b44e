"""Asks DNS servers: one question on the wire for any number of waiting askers, answers kept by TTL.

A stub resolver over UDP, falling back to TCP for answers that do not fit. The
servers are asked in order, beginning with the one that answered last, each for
``timeout_s``, twice round. What is not an answer (SERVFAIL, REFUSED, silence,
nonsense) sends the question to the next server.

Invariants
    At most one query task a question; at most ``MOST_QUERIES`` at a time.
    Every ``ask`` ends within ``deadline_s`` of its query's start.
    A cancelled asker never cancels the question of the others.
"""

import asyncio
import dataclasses
import re

import dns.asyncquery
import dns.exception
import dns.message
import dns.name
import dns.rdatatype

from waystation_relay.aio.clock import Clock
from waystation_relay.routing.answer import Alias, Answer, Missing, Trouble, name_text, read
from waystation_relay.routing.cache import Cache, Key
from waystation_relay.routing.servers import Server

MX, A, AAAA = dns.rdatatype.MX, dns.rdatatype.A, dns.rdatatype.AAAA

MOST_QUERIES = 200
MOST_ALIASES = 8
_ROUNDS = 2
_PAYLOAD_BYTES = 1232  # what crosses every network in one piece (the DNS flag day of 2020)
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\Z")


@dataclasses.dataclass(slots=True)
class Counts:
    """Since the start. ``stale`` counts answers served past their TTL because DNS was failing."""

    hits: int = 0
    misses: int = 0
    failures: int = 0
    stale: int = 0


class Lookup:
    def __init__(
        self,
        servers: tuple[Server, ...],
        clock: Clock,
        *,
        cache_entries: int = 20_000,
        timeout_s: float = 3.0,
        deadline_s: float = 20.0,
    ) -> None:
        assert servers
        self.counts = Counts()
        self.cache = Cache(cache_entries)
        self._servers, self._clock = servers, clock
        self._timeout_s, self._deadline_s = timeout_s, deadline_s
        self._first = 0  # the server that answered last
        self._flights: dict[Key, asyncio.Task[Answer]] = {}
        self._room = asyncio.Semaphore(MOST_QUERIES)

    async def ask(self, name: str, kind: dns.rdatatype.RdataType) -> Answer:
        """What DNS says of ``name``, an A-label name in lower case; what is no name at all is missing."""
        key = name, int(kind)
        cached = self.cache.get(key, self._clock.monotonic())
        if cached is not None:
            self.counts.hits += 1
            return cached
        if not _NAME.match(name):
            return Missing(exists=False)
        flight = self._flights.get(key)
        if flight is None:
            self.counts.misses += 1
            flight = asyncio.get_running_loop().create_task(self._fly(name, kind), name=f"dns {name}")
            self._flights[key] = flight
            flight.add_done_callback(lambda _: self._flights.pop(key, None))
        # wait() neither cancels the flight with its asker nor the asker with the flight
        await asyncio.wait((flight,))
        return Trouble("the resolver was shut down") if flight.cancelled() else flight.result()

    async def close(self) -> None:
        """Ends all questions under way: their askers get ``Trouble``."""
        flights = tuple(self._flights.values())
        for flight in flights:
            flight.cancel()
        if flights:
            await asyncio.wait(flights)

    async def _fly(self, name: str, kind: dns.rdatatype.RdataType) -> Answer:
        async with self._room:
            try:
                async with asyncio.timeout(self._deadline_s):
                    answer, ttl_s = await self._resolve(name, kind)
            except TimeoutError:
                answer, ttl_s = Trouble(f"no answer within {self._deadline_s:g} seconds"), 0.0
        kept = self.cache.put((name, int(kind)), answer, ttl_s, self._clock.monotonic())
        if isinstance(answer, Trouble):
            self.counts.failures += 1
            self.counts.stale += kept is not answer
        return kept

    async def _resolve(self, name: str, kind: dns.rdatatype.RdataType) -> tuple[Answer, float]:
        """Asks, and asks for the target of an alias that the server did not follow itself."""
        asked, least_s = {name}, float("inf")
        while len(asked) <= MOST_ALIASES:
            answer, ttl_s = await self._query(dns.name.from_text(name), kind)
            least_s = min(least_s, ttl_s)
            if not isinstance(answer, Alias):
                return answer, least_s
            name = name_text(answer.target)
            if name in asked:
                return Trouble("a CNAME loop"), 0.0
            if not _NAME.match(name):
                return Missing(exists=False), least_s
            asked.add(name)
        return Trouble(f"more than {MOST_ALIASES} CNAMEs one after the other"), 0.0

    async def _query(
        self, name: dns.name.Name, kind: dns.rdatatype.RdataType
    ) -> tuple[Answer | Alias, float]:
        trouble = Trouble("no DNS server")
        first = self._first
        for turn in range(len(self._servers) * _ROUNDS):
            place = (first + turn) % len(self._servers)
            server = self._servers[place]
            query = dns.message.make_query(name, kind, use_edns=0, payload=_PAYLOAD_BYTES)
            try:
                # What does not come from this server or does not answer this question is waited past:
                # it is late, or somebody's forgery.
                response, _ = await dns.asyncquery.udp_with_fallback(
                    query,
                    server.address,
                    self._timeout_s,
                    server.port,
                    ignore_unexpected=True,
                    ignore_errors=True,
                )
            except dns.exception.Timeout:
                trouble = Trouble(f"the DNS server {server.address} does not answer")
            except (dns.exception.DNSException, OSError, EOFError) as error:
                trouble = Trouble(
                    f"the DNS server {server.address} cannot be asked ({error or type(error).__name__})"
                )
            else:
                self._first = place
                answer, ttl_s = read(response, kind)
                if not isinstance(answer, Trouble):
                    return answer, ttl_s
                trouble = answer
        return trouble, 0.0
