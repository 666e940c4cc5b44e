"""What the shape of the document cannot say: names that must be unique, references that must resolve,
figures that must agree.

Pure, and complete: every finding of the document is returned, in the order of
its fields. The operator's plan never writes a document with findings; the
relay looks again because it must not depend on that.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from waystation_contract import grammar
from waystation_contract.grammar import Complaint
from waystation_contract.model import (
    LMTP,
    VERSION,
    Backend,
    Discard,
    Document,
    Listener,
    ListenerTLS,
    Quarantine,
    Reject,
    Retry,
    Route,
    SmartHost,
    Unavailable,
)

Rule = Callable[[str], Complaint | None]

OPEN_RELAY = Complaint(
    "lets the whole internet relay through this listener", "name the networks of your own senders"
)
LONE_VERDICT = Complaint(
    "reject, discard or quarantine beside other backends would turn a failed delivery into a lost message",
    "give the verdict a route of its own",
)


class Finding(msgspec.Struct, frozen=True):
    """One thing wrong. ``field`` is a path such as ``listeners[0].port``, ``""`` for the whole document."""

    field: str
    value: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = [part for part in (self.field, self.value) if part]
        return ": ".join([*where, f"{self.problem}; {self.remedy}"])


class ConfigError(Exception):
    """A document that cannot be used, with everything that is wrong with it."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings


def check(document: Document) -> tuple[Finding, ...]:
    """Every finding; an empty tuple when the document can be used as it is."""
    return tuple(_document(document))


def _document(document: Document) -> Iterator[Finding]:
    if document.version != VERSION:
        yield Finding("version", str(document.version), f"is not {VERSION}", "write version 1")
    yield from _text("hostname", document.hostname, grammar.host_name)
    if document.postmaster:
        yield from _text("postmaster", document.postmaster, grammar.address)
    if not document.listeners:
        yield Finding("listeners", "", "is empty", "give at least one listener")
    yield from _unique("listeners[{}].name", [x.name for x in document.listeners])
    yield from _unique("listeners[{}].port", [x.port for x in document.listeners])
    yield from _unique("listeners[{}].service_port", [x.service_port for x in document.listeners])
    for n, listener in enumerate(document.listeners):
        yield from _listener(f"listeners[{n}]", listener)
    yield from _retry("retry", document.retry)
    if document.delivery.bind_address:
        yield from _text("delivery.bind_address", document.delivery.bind_address, grammar.ip)
    yield from _texts("delivery.dns_servers", document.delivery.dns_servers, grammar.dns_server)
    yield from _unique("routes[{}].name", [x.name for x in document.routes])
    names = {x.name for x in document.listeners}
    for n, route in enumerate(document.routes):
        yield from _route(f"routes[{n}]", route, names)


def _listener(at: str, listener: Listener) -> Iterator[Finding]:
    if not listener.name:
        yield Finding(f"{at}.name", "", "is empty", "name the listener")
    if listener.certificate is not None:
        yield from _text(f"{at}.certificate", listener.certificate, grammar.file_name)
    elif listener.tls is not ListenerTLS.NONE:
        yield Finding(f"{at}.certificate", "", f"is missing with tls {listener.tls}", "name a certificate")
    yield from _texts(f"{at}.clients", listener.clients, grammar.network)
    if grammar.everybody(listener.clients):
        yield Finding(f"{at}.clients", ", ".join(listener.clients), *OPEN_RELAY)


def _retry(at: str, retry: Retry) -> Iterator[Finding]:
    if retry.first_s > retry.max_s:
        yield Finding(
            f"{at}.first_s", f"{retry.first_s:g}", f"is above max_s ({retry.max_s:g})", "raise max_s"
        )
    if retry.warn_after_s < 0:
        yield Finding(
            f"{at}.warn_after_s", f"{retry.warn_after_s:g}", "is negative", "write 0 for no warning"
        )
    if retry.warn_after_s >= retry.expire_after_s:
        problem = f"is not before expire_after_s ({retry.expire_after_s:g})"
        yield Finding(
            f"{at}.warn_after_s", f"{retry.warn_after_s:g}", problem, "lower it, or 0 for no warning"
        )


def _route(at: str, route: Route, listeners: set[str]) -> Iterator[Finding]:
    if not route.listeners:
        yield Finding(f"{at}.listeners", "", "is empty", "name the listeners the route is attached to")
    for n, name in enumerate(route.listeners):
        if name not in listeners:
            known = ", ".join(sorted(listeners)) or "none"
            yield Finding(f"{at}.listeners[{n}]", name, "is no listener of this pool", f"use one of: {known}")
    for field, patterns in (("senders", route.senders), ("recipients", route.recipients)):
        if not patterns:
            yield Finding(f"{at}.{field}", "", "is empty", 'write ["*"] for all')
        yield from _texts(f"{at}.{field}", patterns, grammar.pattern)
    if not route.backends:
        yield Finding(f"{at}.backends", "", "is empty", "give at least one backend")
    verdicts = sum(isinstance(x, Reject | Discard | Quarantine) for x in route.backends)
    if verdicts and len(route.backends) > 1:
        yield Finding(f"{at}.backends", "", *LONE_VERDICT)
    for n, backend in enumerate(route.backends):
        yield from _backend(f"{at}.backends[{n}]", backend)
    yield from _retry(f"{at}.retry", route.retry)


def _backend(at: str, backend: Backend) -> Iterator[Finding]:
    if isinstance(backend, SmartHost | LMTP):
        yield from _text(f"{at}.host", backend.host, grammar.host)
    if isinstance(backend, SmartHost) and backend.credential is not None:
        yield from _text(f"{at}.credential", backend.credential, grammar.file_name)
    if isinstance(backend, Reject):
        yield from _text(f"{at}.enhanced", backend.enhanced, grammar.enhanced_code)
        yield from _text(f"{at}.message", backend.message, grammar.reply_text)
        if backend.enhanced[:1] != str(backend.code)[:1]:
            problem = f"is of another class than code {backend.code} (RFC 3463 §2)"
            yield Finding(f"{at}.enhanced", backend.enhanced, problem, "begin both with the same digit")
    if isinstance(backend, Unavailable):
        yield from _text(f"{at}.reason", backend.reason, grammar.reason)


def _text(field: str, value: str, rule: Rule) -> Iterator[Finding]:
    complaint = rule(value)
    if complaint:
        yield Finding(field, value, *complaint)


def _texts(field: str, values: Iterable[str], rule: Rule) -> Iterator[Finding]:
    for n, value in enumerate(values):
        yield from _text(f"{field}[{n}]", value, rule)


def _unique(field: str, values: Sequence[str | int]) -> Iterator[Finding]:
    first: dict[str | int, int] = {}
    for n, value in enumerate(values):
        if first.setdefault(value, n) != n:
            problem = f"is also {field.format(first[value])}"
            yield Finding(field.format(n), str(value), problem, "choose another")
