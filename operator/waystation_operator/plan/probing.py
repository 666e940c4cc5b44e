"""What is to be probed, when next, and how often a login may be tried. Pure: time and chance are arguments.

The same server, asked in the same way for several routes, is one probe. Only
what routes that a pool admits name is probed: a route that nobody lets in
must not make the operator connect anywhere.

Known limits
    Loopback and link-local hosts are not probed: to the operator they are not what they are to a relay.
    Mail hosts are looked up for exact recipient domains alone.
"""

import dataclasses
import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from waystation_operator.api.mailroute import Backend
from waystation_operator.api.objects import MailRoute, RelayPool, Secret
from waystation_operator.plan import diagnosis
from waystation_operator.plan.attach import Labels, attach
from waystation_operator.plan.findings import Finding, Target

WORKING_EVERY_S = (300.0, 330.0)  # spread, so that probes do not come in waves
FAILING_EVERY_S = (50.0, 60.0)
MOST_A_MINUTE = 120
MOST_AT_ONCE = 8
SAME_LOGIN_EVERY_S = 300.0
ANY_LOGIN_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Credential:
    username: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, secret: Secret | None) -> "Credential | None":
        """As the relay reads it: without a line end. None when there is nothing to log in with."""
        if secret is None:
            return None
        try:
            values = [secret.data[key].decode().rstrip("\r\n") for key in ("username", "password")]
        except (KeyError, UnicodeDecodeError):
            return None
        return cls(*values) if all(values) else None


@dataclass(frozen=True, slots=True)
class Probe:
    """``target`` without its route; beside it what the answer may depend on: whom we say we are, in which
    namespace a short name is looked up, which DNS servers are asked, what is logged in with."""

    target: Target
    hostname: str
    namespace: str
    dns_servers: tuple[str, ...] = ()
    credential: Credential | None = None

    def __str__(self) -> str:
        return f"{self.target.kind} {self.target.host}:{self.target.port}"

    @property
    def account(self) -> tuple[str, str] | None:
        """What a server would lock after too many wrong passwords."""
        return (self.target.host.lower(), self.credential.username) if self.credential else None


def targets(
    pool: RelayPool, routes: Sequence[MailRoute], namespaces: Mapping[str, Labels]
) -> tuple[Target, ...]:
    """What the routes that ``pool`` admits depend on, each once a route."""
    found = (
        target
        for attachment in attach(pool, routes, namespaces)
        if attachment.listeners
        for target in _of_route(attachment.route)
    )
    return tuple(dict.fromkeys(found))


def probes(
    pool: RelayPool, wanted: Sequence[Target], secrets: Mapping[str, Secret]
) -> dict[Probe, tuple[Target, ...]]:
    """Each probe with the targets of which it tells."""
    found: dict[Probe, tuple[Target, ...]] = {}
    for target in wanted:
        probe = Probe(
            dataclasses.replace(target, route=""),
            pool.spec.hostname,
            pool.identity.namespace,
            pool.spec.delivery.dns_servers,
            Credential.of(secrets.get(target.credential)),
        )
        found[probe] = (*found.get(probe, ()), target)
    return found


def _of_route(route: MailRoute) -> Iterator[Target]:
    for backend in route.spec.backends:
        yield from _of_backend(backend, route)


def _of_backend(backend: Backend, route: MailRoute) -> Iterator[Target]:
    key, namespace = route.identity.key, route.identity.namespace
    if (host := backend.smart_host) is not None and is_elsewhere(host.host):
        credential = f"{namespace}/{host.auth_secret_name}" if host.auth_secret_name else ""
        yield Target("smartHost", host.host, host.port, host.tls.value, credential, key)
    if (lmtp := backend.lmtp) is not None and is_elsewhere(lmtp.host):
        yield Target("lmtp", lmtp.host, lmtp.port, route=key)
    if backend.mx is not None:
        for domain in exact_domains(route.spec.match.recipients):
            yield Target("mx", domain, 25, route=key)


def exact_domains(patterns: Sequence[str]) -> tuple[str, ...]:
    """The domains that patterns name without a wildcard, in lower case."""
    domains = (pattern.rpartition("@")[2].lower() for pattern in patterns)
    return tuple(dict.fromkeys(d for d in domains if d and "*" not in d and not d.startswith("[")))


def is_elsewhere(host: str) -> bool:
    """Whether it is the same machine for everybody."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return name != "localhost" and not name.endswith(".localhost")
    return not (
        address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    )


def every_s(finding: Finding, roll: float) -> float:
    """How long a finding is good for. ``roll``, from 0 to 1, spreads the probes.

    A refused login is not asked again in a minute: servers lock accounts.
    """
    slow = finding.ok or finding.reason in diagnosis.NEEDS_LOGIN_AGAIN
    least, most = WORKING_EVERY_S if slow else FAILING_EVERY_S
    return least + (most - least) * roll


def startable(
    due: Mapping[Probe, float], running: Collection[Probe], started: Sequence[float], now: float
) -> tuple[Probe, ...]:
    """Which probes to start: servers before mail hosts, the longest overdue first, within the bounds.

    ``due``: when each is to be made. ``started``: when probes were started of late. Two probes of one
    account never run at once.
    """
    room = min(MOST_AT_ONCE - len(running), MOST_A_MINUTE - sum(at > now - 60 for at in started))
    busy = {probe.account for probe in running if probe.account}
    chosen: list[Probe] = []
    for probe in sorted(
        (probe for probe, at in due.items() if at <= now and probe not in running),
        key=lambda probe: (probe.target.kind == "mx", due[probe]),
    ):
        if len(chosen) >= room:
            break
        if probe.account in busy:
            continue
        if probe.account:
            busy.add(probe.account)
        chosen.append(probe)
    return tuple(chosen)


def login_waits_s(same_at: float | None, any_at: float | None, now: float) -> float:
    """How long until a login may be tried. ``same_at``: when this very password last was, ``any_at`` any
    of the account; None: never."""
    return max(
        0.0 if same_at is None else same_at + SAME_LOGIN_EVERY_S - now,
        0.0 if any_at is None else any_at + ANY_LOGIN_EVERY_S - now,
        0.0,
    )
