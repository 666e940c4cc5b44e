"""Opens a connection for a target: hosts from DNS, security and credentials from the snapshot."""

import dataclasses
from collections.abc import Callable, Sequence

from waystation_relay.config.snapshot import Snapshot
from waystation_relay.delivery.connect import ConnectFailure, Settings, connect
from waystation_relay.delivery.connection import Connection
from waystation_relay.delivery.target import Target
from waystation_relay.mail.outcome import Deferred, Failed
from waystation_relay.routing.mx import Host
from waystation_relay.routing.resolver import Resolver


@dataclasses.dataclass(frozen=True, slots=True)
class Connector:
    """``snapshot`` gives the configuration in force at each call."""

    snapshot: Callable[[], Snapshot]
    resolver: Callable[[], Resolver]

    def identity(self) -> object:
        """Who we are to other servers; when it is no longer equal, connections opened before are not ours."""
        snapshot = self.snapshot()
        document = snapshot.document
        return document.hostname, document.delivery.bind_address, snapshot.credentials

    async def open(self, target: Target) -> Connection | ConnectFailure:
        hosts = await self._hosts(target)
        if isinstance(hosts, Deferred | Failed):
            return ConnectFailure(hosts)
        snapshot = self.snapshot()
        delivery = snapshot.document.delivery
        credential = snapshot.credentials.get(target.credential) if target.credential else None
        return await connect(
            target,
            hosts,
            Settings(
                ehlo_name=snapshot.document.hostname,
                bind_address=delivery.bind_address,
                username=credential.username if credential else None,
                password=credential.password if credential else None,
            ),
        )

    async def _hosts(self, target: Target) -> Sequence[Host] | Deferred | Failed:
        resolver = self.resolver()
        if target.mx:
            found = await resolver.mail_hosts(target.host)
        else:
            found = await resolver.host(target.host)
        return found.hosts if not isinstance(found, Deferred | Failed) else found
