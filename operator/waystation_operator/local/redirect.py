"""Changes that the local mode makes to a planned document. Pure."""

from collections.abc import Sequence

import msgspec

from waystation_contract.model import LMTP, MX, Backend, Document, SmartHost, UpstreamTLS


def to_sink(document: Document, host: str, port: int) -> Document:
    """Every delivery goes to the sink instead, so that nothing leaves the machine.

    Reject, discard and quarantine stay, as does what is not ready: they deliver nowhere. Priorities and
    weights stay too, so that the routes read as before.
    """

    def redirected(backend: Backend) -> Backend:
        if not isinstance(backend, MX | SmartHost | LMTP):
            return backend
        return SmartHost(
            host=host, port=port, tls=UpstreamTLS.NONE, priority=backend.priority, weight=backend.weight
        )

    routes = tuple(
        msgspec.structs.replace(route, backends=tuple(map(redirected, route.backends)))
        for route in document.routes
    )
    return msgspec.structs.replace(document, routes=routes)


def with_dns(document: Document, servers: Sequence[str]) -> Document:
    """Names are looked up at ``servers``, whatever the pool says."""
    delivery = msgspec.structs.replace(document.delivery, dns_servers=tuple(servers))
    return msgspec.structs.replace(document, delivery=delivery)


def credentials(document: Document) -> set[str]:
    """The credentials and certificates the document still names; others need not be written."""
    certificates = {listener.certificate for listener in document.listeners}
    logins = {
        backend.credential
        for route in document.routes
        for backend in route.backends
        if isinstance(backend, SmartHost)
    }
    return {name for name in certificates | logins if name is not None}
