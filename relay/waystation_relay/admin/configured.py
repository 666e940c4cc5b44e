"""What ``/config`` tells: which configuration is in force, and why a newer one is not."""

from waystation_relay.admin.view import time_of
from waystation_relay.aio.clock import Clock
from waystation_relay.config.watch import Watcher


class Configured:
    """Never tells a credential; what is named is in the document, which holds none."""

    def __init__(self, watcher: Watcher, clock: Clock, version: str) -> None:
        self._watcher, self._clock, self._version = watcher, clock, version
        self.loaded_at = clock.now()

    def swapped(self) -> None:
        self.loaded_at = self._clock.now()

    @property
    def hash(self) -> str:
        return self._watcher.current.hash

    @property
    def last_error(self) -> str:
        return self._watcher.last_error

    @property
    def limit_bytes(self) -> int:
        queue = self._watcher.current.document.queue
        return queue.max_bytes * queue.full_at_percent // 100

    def describe(self) -> dict[str, object]:
        document = self._watcher.current.document
        return {
            "hash": self.hash,
            "pool": document.pool,
            "hostname": document.hostname,
            "loaded_at": time_of(self.loaded_at),
            "last_error": self.last_error,
            "version": self._version,
            "listeners": [
                {"name": x.name, "port": x.port, "service_port": x.service_port, "tls": x.tls.value}
                for x in document.listeners
            ],
            "routes": [route.name for route in document.routes],
        }
