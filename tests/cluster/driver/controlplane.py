"""A control plane alone: in a folder of the caller's, on free ports of loopback, gone with its caller."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.driver import components, credentials, daemon, readiness
from tests.cluster.driver.place import Place, Ports
from tests.support.ports import free_port


@contextmanager
def running(root: Path) -> Iterator[Place]:
    """Its place, once the API server is ready; the controllers follow within seconds."""
    api = free_port()
    ports = Ports(
        etcd=free_port(),
        etcd_peers=free_port(),
        api=api,
        gate=api,
        controllers=free_port(),
        scheduler=free_port(),
    )
    place = Place(root, ports, dies_with_parent=True)
    credentials.write(place)
    etcd, api_server, *others = components.control_plane(place)
    try:
        daemon.start(place, etcd)
        daemon.start(place, api_server)
        readiness.api_server(place)
        for other in others:
            daemon.start(place, other)
        yield place
    finally:
        for component in reversed(components.control_plane(place)):
            daemon.kill(place, component.name)
