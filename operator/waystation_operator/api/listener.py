"""``spec.listeners[]`` of a RelayPool: where mail comes in, from whom, and whose routes may take it."""

import enum
from collections.abc import Callable
from typing import Any, ClassVar, Literal

from pydantic import Field

from waystation_contract import grammar
from waystation_contract.check import OPEN_RELAY
from waystation_contract.model import ListenerTLS
from waystation_operator.api.group import Broken, Group, Rule
from waystation_operator.api.wire import CIDR, Count, Label, OptionalObjectName, Port


class AuthMode(enum.StrEnum):
    NONE = "None"
    OPTIONAL = "Optional"
    REQUIRED = "Required"


class NamespacesFrom(enum.StrEnum):
    SAME = "Same"
    ALL = "All"
    SELECTOR = "Selector"


def _without_secret(mode: str) -> Callable[[Any], Broken]:
    def broken(group: "TLS | Auth") -> Broken:
        if group.mode != mode and not group.secret_name:
            yield "secretName", group.secret_name

    return broken


class TLS(Group):
    mode: ListenerTLS = Field(
        default=ListenerTLS.NONE,
        description="None: plain text only. Opportunistic: STARTTLS is offered. Required: MAIL is refused "
        "before STARTTLS. Implicit: TLS from the first byte, as on port 465.",
    )
    secret_name: OptionalObjectName = Field(
        default="",
        description="Secret of type kubernetes.io/tls in the pool's namespace: `tls.crt`, the chain, and "
        "`tls.key`.",
    )

    RULES: ClassVar = (
        Rule(
            subject="secretName",
            cel="self.mode == 'None' || size(self.secretName) > 0",
            problem="is missing, and TLS needs a certificate",
            remedy="name a Secret of type kubernetes.io/tls, or set mode: None",
            broken=_without_secret("None"),
        ),
    )


def _auth_asked_for(auth: "Auth") -> Broken:
    if auth.mode is not AuthMode.NONE:
        yield "mode", auth.mode


class Auth(Group):
    mode: AuthMode = Field(
        default=AuthMode.NONE,
        description="Whether clients log in: None, Optional or Required. This version checks no passwords, "
        "so it refuses any other mode than None.",
    )
    secret_name: OptionalObjectName = Field(
        default="", description="Secret with the users, in the pool's namespace."
    )

    RULES: ClassVar = (
        Rule(
            subject="secretName",
            cel="self.mode == 'None' || size(self.secretName) > 0",
            problem="is missing, and AUTH needs users",
            remedy="name a Secret, or set mode: None",
            broken=_without_secret("None"),
        ),
        Rule(
            subject="mode",
            cel="self.mode == 'None'",
            problem="is not available in this version: no client could log in",
            remedy="use None, and name the networks that may relay in clients.cidrs",
            broken=_auth_asked_for,
        ),
    )


class Clients(Group):
    cidrs: tuple[CIDR, ...] = Field(
        default=(),
        max_length=256,
        description="Networks whose hosts may relay without AUTH. With none, nobody may. A list that "
        "covers all of IPv4 or IPv6 is refused unless auth.mode is Required: that is an open "
        "relay.",
    )


def _trusting(proxy: "ProxyProtocol") -> Broken:
    if proxy.trusted_cidrs:
        yield "trustedCIDRs", ", ".join(proxy.trusted_cidrs)


class ProxyProtocol(Group):
    trusted_cidrs: tuple[CIDR, ...] = Field(
        default=(),
        alias="trustedCIDRs",
        max_length=64,
        description="Load balancers whose PROXY header names the real client. This version reads no PROXY "
        "header, so it refuses any entry: every client would seem to be the load balancer.",
    )

    RULES: ClassVar = (
        Rule(
            subject="trustedCIDRs",
            cel="size(self.trustedCIDRs) == 0",
            problem="are not available in this version: the PROXY header would not be read",
            remedy="remove them, and let the load balancer keep the client's address "
            "(externalTrafficPolicy: Local)",
            broken=_trusting,
        ),
    )


class Requirement(Group):
    """One ``matchExpressions`` entry of a Kubernetes label selector."""

    key: str = Field(min_length=1, max_length=317, description="The label's key.")
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(
        description="How the label is compared with values."
    )
    values: tuple[str, ...] = Field(
        default=(), max_length=64, description="For In and NotIn: the values; otherwise empty."
    )

    RULES: ClassVar = (
        Rule(
            subject="values",
            cel="(self.operator in ['In', 'NotIn']) == (size(self.values) > 0)",
            problem="do not fit the operator",
            remedy="give values with In and NotIn, none with Exists and DoesNotExist",
            broken=lambda x: (
                [("values", list(x.values))] if (x.operator in ("In", "NotIn")) != bool(x.values) else []
            ),
        ),
    )


class Selector(Group):
    match_labels: dict[str, str] = Field(
        default_factory=dict, description="Labels the namespace must have, with these values."
    )
    match_expressions: tuple[Requirement, ...] = Field(
        default=(), max_length=16, description="Further requirements; all must hold."
    )


class RouteNamespaces(Group):
    from_: NamespacesFrom = Field(
        default=NamespacesFrom.SAME,
        alias="from",
        description="Same: routes of the pool's own namespace. All: of any. Selector: of namespaces whose "
        "labels match.",
    )
    selector: Selector | None = Field(
        default=None, description="Which namespaces, with from: Selector. An empty selector matches all."
    )

    RULES: ClassVar = (
        Rule(
            subject="selector",
            cel="(self.from == 'Selector') == has(self.selector)",
            problem="and from: Selector go together",
            remedy="give both, or neither",
            broken=lambda x: (
                [("selector", "")] if (x.from_ is NamespacesFrom.SELECTOR) != (x.selector is not None) else []
            ),
        ),
    )


class AllowedRoutes(Group):
    namespaces: RouteNamespaces = Field(
        default=RouteNamespaces(), description="The namespaces whose MailRoutes may attach."
    )


class Limits(Group):
    max_message_bytes: int = Field(
        default=26_214_400,
        ge=1024,
        le=2**31,
        description="Largest message taken, in bytes; announced as SIZE. 25 MiB is what the large "
        "providers take.",
    )
    max_recipients: Count = Field(
        default=1000, description="Recipients of one message; further ones are asked to come again (452)."
    )
    max_sessions: Count = Field(
        default=2000, description="Open connections of the listener, per pod; the next one gets 421."
    )
    max_sessions_per_client: Count = Field(
        default=100, description="Open connections from one IP address, per pod; the next one gets 421."
    )


def _open_relay(listener: "Listener") -> Broken:
    cidrs = listener.clients.cidrs
    if listener.auth.mode is not AuthMode.REQUIRED and grammar.everybody(cidrs):
        yield "clients.cidrs", ", ".join(cidrs)


class Listener(Group):
    name: Label = Field(description="Unique in the pool; routes name it as sectionName.")
    port: Port = Field(
        description="Port of the pool's Service. Below 1024 the relay itself listens 2500 higher (25 → "
        "2525), so that it needs no privilege."
    )
    tls: TLS = Field(default=TLS(), description="TLS towards clients.")
    auth: Auth = Field(default=Auth(), description="Who may log in.")
    clients: Clients = Field(default=Clients(), description="Who may relay.")
    proxy_protocol: ProxyProtocol = Field(
        default=ProxyProtocol(), description="PROXY protocol of a load balancer."
    )
    allowed_routes: AllowedRoutes = Field(
        default=AllowedRoutes(), description="Whose routes may take mail from this listener."
    )
    limits: Limits = Field(default=Limits(), description="Bounds of a session.")

    RULES: ClassVar = (
        Rule(
            subject="clients.cidrs",
            cel="self.auth.mode == 'Required' || self.clients.cidrs.all(c, !c.endsWith('/0'))",
            problem=OPEN_RELAY.problem,
            remedy=OPEN_RELAY.remedy,
            broken=_open_relay,
        ),
    )
