"""A pool with its routes → the contract document of its relays and the files beside it.

What is wrong with one route leaves that route out and is reported; what is
wrong with the pool itself leaves no document. A document that comes out of
here passes the relay's own check: that it does is asserted, not hoped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from waystation_contract import check, model
from waystation_operator.api.mailroute import Backend
from waystation_operator.api.objects import MailRoute, RelayPool, Secret
from waystation_operator.api.problem import Problem
from waystation_operator.api.relaypool import container_port
from waystation_operator.api.retry import Retry
from waystation_operator.plan.attach import Attachment, Labels, attach
from waystation_operator.plan.material import CERTIFICATE, CREDENTIAL, Material

Place = Callable[[int], int]  # Service port → the port a relay listens on


@dataclass(frozen=True, slots=True)
class Plan:
    """``notices`` are for people: nothing is wrong, but it may not be what was meant."""

    pool: RelayPool
    document: model.Document | None
    files: Mapping[str, bytes] = field(repr=False)
    notices: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def plan_pool(
    pool: RelayPool,
    routes: Sequence[MailRoute],
    namespaces: Mapping[str, Labels],
    secrets: Mapping[str, Secret],
    place: Place = container_port,
) -> Plan:
    """The plan of one pool. ``namespaces`` are labels by name, ``secrets`` by ``namespace/name``."""
    material = Material(secrets)
    listeners = _listeners(pool, material, place)
    attachments = attach(pool, routes, namespaces)
    problems = [problem for attachment in attachments for problem in attachment.problems]
    planned = [
        route
        for attachment in attachments
        if attachment.listeners and (route := _route(attachment, pool, material, problems))
    ]
    document = None
    if listeners is not None:
        document = model.Document(
            version=model.VERSION,
            pool=pool.identity.key,
            hostname=pool.spec.hostname,
            postmaster=pool.spec.postmaster,
            listeners=listeners,
            queue=model.Queue(
                max_bytes=pool.spec.queue.size_bytes, full_at_percent=pool.spec.queue.full_at_percent
            ),
            retry=pool.spec.retry.effective(),
            delivery=model.Delivery(**pool.spec.delivery.model_dump()),
            routes=tuple(planned),
        )
        findings = check.check(document)
        assert not findings, findings  # the models refuse everything that the check refuses
    notices = tuple(_notices(pool, attachments, document))
    return Plan(pool, document, material.files, notices, (*material.problems, *problems))


def _listeners(pool: RelayPool, material: Material, place: Place) -> tuple[model.Listener, ...] | None:
    planned: list[model.Listener] = []
    for n, listener in enumerate(pool.spec.listeners):
        certificate = None
        if listener.tls.mode is not model.ListenerTLS.NONE:
            path = ("spec", "listeners", n, "tls", "secretName")
            certificate = material.take(CERTIFICATE, pool.identity, path, listener.tls.secret_name)
        planned.append(
            model.Listener(
                name=listener.name,
                port=place(listener.port),
                service_port=listener.port,
                tls=listener.tls.mode,
                certificate=certificate,
                clients=listener.clients.cidrs,
                limits=model.Limits(**listener.limits.model_dump()),
            )
        )
    return None if material.problems else tuple(planned)


def _route(
    attachment: Attachment, pool: RelayPool, material: Material, problems: list[Problem]
) -> model.Route | None:
    route, spec = attachment.route, attachment.route.spec
    before = len(material.problems) + len(problems)
    retry = spec.retry.merged(pool.spec.retry)
    for rule in Retry.RULES:
        for name, value in rule.broken(retry):
            problem = f"{rule.problem}, as what the route leaves out is taken from {pool.identity}"
            problems.append(Problem(route.identity, ("spec", "retry", name), value, problem, rule.remedy))
    backends = tuple(_backend(n, backend, route, material) for n, backend in enumerate(spec.backends))
    if len(material.problems) + len(problems) > before:
        return None
    return model.Route(
        name=route.identity.key,
        created=route.created,
        listeners=attachment.listeners,
        senders=spec.match.senders,
        recipients=spec.match.recipients,
        backends=backends,
        retry=retry,
    )


def _backend(n: int, backend: Backend, route: MailRoute, material: Material) -> model.Backend:
    shared = {"priority": backend.priority, "weight": backend.weight}
    if backend.mx is not None:
        return model.MX(tls=route.spec.tls.mx_policy(), **shared)
    if (host := backend.smart_host) is not None:
        path = ("spec", "backends", n, "smartHost", "authSecretName")
        credential = (
            material.take(CREDENTIAL, route.identity, path, host.auth_secret_name)
            if host.auth_secret_name
            else None
        )
        return model.SmartHost(host=host.host, port=host.port, tls=host.tls, credential=credential, **shared)
    if (lmtp := backend.lmtp) is not None:
        return model.LMTP(host=lmtp.host, port=lmtp.port, **shared)
    if (reject := backend.reject) is not None:
        return model.Reject(code=reject.code, enhanced=reject.enhanced, message=reject.message, **shared)
    return model.Discard(**shared) if backend.discard is not None else model.Quarantine(**shared)


def _notices(
    pool: RelayPool, attachments: Sequence[Attachment], document: model.Document | None
) -> list[str]:
    notices = [
        f"{pool.identity}: listener {listener.name}: nobody may relay through it; "
        "name the senders' networks in clients.cidrs"
        for listener in pool.spec.listeners
        if not listener.clients.cidrs
    ]
    if not attachments:
        notices.append(f"{pool.identity}: no MailRoute names it, so it will accept no mail")
    routes = document.routes if document else ()
    return [*notices, *_unverified(routes), *_shadowed(routes)]


_UNVERIFIED = (model.UpstreamTLS.NONE, model.UpstreamTLS.OPPORTUNISTIC)


def _unverified(routes: Sequence[model.Route]) -> Iterator[str]:
    for route in routes:
        for backend in route.backends:
            if isinstance(backend, model.SmartHost) and backend.credential and backend.tls in _UNVERIFIED:
                yield (
                    f"MailRoute {route.name}: smartHost {backend.host} is logged in to with tls "
                    f"{backend.tls}, "
                    "which does not prove who it is; Required or Implicit does"
                )


def _shadowed(routes: Sequence[model.Route]) -> Iterator[str]:
    """Routes, in the order of precedence among equals, of which an earlier one matches the very same."""
    first: dict[tuple[str, str, str], str] = {}
    for route in routes:
        matches = [(x, r, s) for x in route.listeners for r in route.recipients for s in route.senders]
        for name in sorted({first[match] for match in matches if match in first}):
            yield f"MailRoute {route.name}: MailRoute {name} matches the same mail and comes first"
        for match in matches:
            first.setdefault(match, route.name)
