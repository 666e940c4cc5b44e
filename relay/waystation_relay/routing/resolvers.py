"""The resolver in force: replaced when what it was built from changes.

Questions under way keep the old one until they are answered; its cache goes
with it, since the new servers may see other zones. Counts go on.
"""

from waystation_contract.model import Delivery, Document
from waystation_relay.aio.clock import Clock
from waystation_relay.mail.address import normal_domain
from waystation_relay.routing.lookup import Counts
from waystation_relay.routing.mx import Host
from waystation_relay.routing.reach import reachable_from
from waystation_relay.routing.resolver import Resolver


class Resolvers:
    def __init__(self, document: Document, clock: Clock) -> None:
        self._clock = clock
        self._hostname = normal_domain(document.hostname)
        self._built_from = _matters(document.delivery)
        self._before = Counts()
        self.current = self._build(document.delivery)

    def apply(self, document: Document) -> None:
        """The configuration was swapped."""
        self._hostname = normal_domain(document.hostname)
        if _matters(document.delivery) != self._built_from:
            self._before = self.counts
            self._built_from = _matters(document.delivery)
            self.current = self._build(document.delivery)

    @property
    def counts(self) -> Counts:
        """Of all resolvers there have been."""
        before, now = self._before, self.current.counts
        return Counts(
            before.hits + now.hits,
            before.misses + now.misses,
            before.failures + now.failures,
            before.stale + now.stale,
        )

    async def close(self) -> None:
        await self.current.close()

    def _build(self, delivery: Delivery) -> Resolver:
        return Resolver(
            delivery.dns_servers,
            self._clock,
            is_self=self._is_self,
            reachable=reachable_from(delivery.bind_address),
        )

    def _is_self(self, host: Host) -> bool:
        """By name; a host that has our address but another name is found out by its greeting."""
        return normal_domain(host.name) == self._hostname


def _matters(delivery: Delivery) -> tuple[tuple[str, ...], str]:
    return delivery.dns_servers, delivery.bind_address
