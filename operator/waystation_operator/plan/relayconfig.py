"""A pool with its routes → the contract document of its relays and the files beside it.

What is wrong with one route is reported, and makes those of its backends that
it concerns ``Unavailable``: the route keeps its place, so that its mail waits
instead of taking another one. What is wrong with the pool itself leaves no
document. A Secret that has become unusable is replaced by its last good
version, if that is known. A document that comes out of here passes the relay's
own check: that it does is asserted, not hoped.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from waystation_contract import check, model
from waystation_operator.api.mailroute import Backend
from waystation_operator.api.objects import MailRoute, RelayPool, Secret
from waystation_operator.api.problem import Identity, Problem, dotted
from waystation_operator.api.relaypool import container_port
from waystation_operator.api.retry import Retry
from waystation_operator.plan.attach import Attachment, Labels, attach
from waystation_operator.plan.material import CERTIFICATE, CREDENTIAL, Material
from waystation_operator.plan.precedence import conflicts

Place = Callable[[int], int]  # Service port → the port a relay listens on


@dataclass(frozen=True, slots=True)
class Notice:
    """For people: nothing is wrong, but it may not be what was meant."""

    about: Identity
    text: str

    def __str__(self) -> str:
        return f"{self.about}: {self.text}"


@dataclass(frozen=True, slots=True)
class Plan:
    pool: RelayPool
    document: model.Document | None
    files: Mapping[str, bytes] = field(repr=False)
    notices: tuple[Notice, ...] = ()
    problems: tuple[Problem, ...] = ()
    attachments: tuple[Attachment, ...] = ()


def plan_pool(
    pool: RelayPool,
    routes: Sequence[MailRoute],
    namespaces: Mapping[str, Labels],
    secrets: Mapping[str, Secret],
    place: Place = container_port,
    *,
    forbidden: Collection[str] = (),
    kept: Mapping[str, bytes] = MappingProxyType({}),
) -> Plan:
    """The plan of one pool. ``namespaces`` are labels by name, ``secrets`` by ``namespace/name``;
    ``forbidden`` and ``kept`` are as in ``Material``."""
    material = Material(secrets, forbidden, kept)
    listeners = _listeners(pool, material, place)
    attachments = attach(pool, routes, namespaces)
    problems = [problem for attachment in attachments for problem in attachment.problems]
    planned = [
        _route(attachment, pool, material, problems) for attachment in attachments if attachment.listeners
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
    return Plan(pool, document, material.files, notices, (*material.problems, *problems), tuple(attachments))


def _listeners(pool: RelayPool, material: Material, place: Place) -> tuple[model.Listener, ...] | None:
    planned: list[model.Listener] = []
    lacking = False
    for n, listener in enumerate(pool.spec.listeners):
        certificate = None
        if listener.tls.mode is not model.ListenerTLS.NONE:
            path = ("spec", "listeners", n, "tls", "secretName")
            certificate = material.take(CERTIFICATE, pool.identity, path, listener.tls.secret_name)
            lacking = lacking or certificate is None
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
    return None if lacking else tuple(planned)


def _route(
    attachment: Attachment, pool: RelayPool, material: Material, problems: list[Problem]
) -> model.Route:
    route, spec = attachment.route, attachment.route.spec
    before = len(problems)
    retry = spec.retry.merged(pool.spec.retry)
    for rule in Retry.RULES:
        for name, value in rule.broken(retry):
            problem = f"{rule.problem}, as what the route leaves out is taken from {pool.identity}"
            path = ("spec", "retry", name)
            problems.append(Problem(route.identity, path, value, problem, rule.remedy, "InvalidRetry"))
    made = [_backend(n, backend, route, material) for n, backend in enumerate(spec.backends)]
    if broken := problems[before:]:  # none of it can be meant: not even how long its mail may wait
        made, retry = [model.Unavailable(reason=_why(broken[0]))], pool.spec.retry.effective()
    return model.Route(
        name=route.identity.key,
        created=route.created,
        listeners=attachment.listeners,
        senders=spec.match.senders,
        recipients=spec.match.recipients,
        backends=tuple(made),
        retry=retry,
    )


def _why(problem: Problem) -> str:
    """For the relay's log: which condition tells more, and of what."""
    return f"{problem.reason}: {dotted(problem.path)}"


def unavailable(route: model.Route) -> bool:
    """Whether none of its backends can be had, so that all its mail waits."""
    return all(isinstance(backend, model.Unavailable) for backend in route.backends)


def _backend(n: int, backend: Backend, route: MailRoute, material: Material) -> model.Backend:
    shared = {"priority": backend.priority, "weight": backend.weight}
    if backend.mx is not None:
        return model.MX(tls=route.spec.tls.mx_policy(), **shared)
    if (host := backend.smart_host) is not None:
        path = ("spec", "backends", n, "smartHost", "authSecretName")
        credential = None
        if host.auth_secret_name:
            credential = material.take(CREDENTIAL, route.identity, path, host.auth_secret_name)
            if credential is None:
                return model.Unavailable(reason=_why(material.problems[-1]), **shared)
        return model.SmartHost(host=host.host, port=host.port, tls=host.tls, credential=credential, **shared)
    if (lmtp := backend.lmtp) is not None:
        return model.LMTP(host=lmtp.host, port=lmtp.port, **shared)
    if (reject := backend.reject) is not None:
        return model.Reject(code=reject.code, enhanced=reject.enhanced, message=reject.message, **shared)
    return model.Discard(**shared) if backend.discard is not None else model.Quarantine(**shared)


def _notices(
    pool: RelayPool, attachments: Sequence[Attachment], document: model.Document | None
) -> Iterator[Notice]:
    for listener in pool.spec.listeners:
        if not listener.clients.cidrs:
            text = "nobody may relay through it; name the senders' networks in clients.cidrs"
            yield Notice(pool.identity, f"listener {listener.name}: {text}")
    if not attachments:
        yield Notice(pool.identity, "no MailRoute names it, so it will accept no mail")
    routes = document.routes if document else ()
    yield from _unverified(routes)
    for name, conflict in conflicts(routes).items():
        for other in conflict.earlier:
            text = f"MailRoute {other} matches the same mail and comes first"
            yield Notice(route_identity(name), text)


_UNVERIFIED = (model.UpstreamTLS.NONE, model.UpstreamTLS.OPPORTUNISTIC)


def _unverified(routes: Sequence[model.Route]) -> Iterator[Notice]:
    for route in routes:
        for backend in route.backends:
            if isinstance(backend, model.SmartHost) and backend.credential and backend.tls in _UNVERIFIED:
                text = (
                    f"smartHost {backend.host} is logged in to with tls {backend.tls}, "
                    "which does not prove who it is; Required or Implicit does"
                )
                yield Notice(route_identity(route.name), text)


def route_identity(key: str) -> Identity:
    """Of the MailRoute that the document calls ``namespace/name``."""
    namespace, _, name = key.partition("/")
    return Identity("MailRoute", namespace, name)
