"""MailRoute: where mail goes. A route attaches to listeners of pools and takes the mail that matches."""

import enum
from typing import ClassVar

from pydantic import Field

from waystation_contract import model as contract
from waystation_contract.check import LONE_VERDICT
from waystation_operator.api.group import Broken, Group, Rule
from waystation_operator.api.retry import RetryOverrides
from waystation_operator.api.wire import (
    AddressPattern,
    EnhancedCode,
    Host,
    ObjectName,
    OptionalLabel,
    OptionalObjectName,
    Port,
    ReplyText,
)


class ParentRef(Group):
    name: ObjectName = Field(description="The RelayPool.")
    namespace: OptionalLabel = Field(default="", description="Its namespace; empty: the route's own.")
    section_name: OptionalLabel = Field(
        default="", description="One listener of it; empty: all that allow the route."
    )


class Match(Group):
    senders: tuple[AddressPattern, ...] = Field(
        default=("*",),
        min_length=1,
        max_length=1000,
        description="Envelope senders; one must match. The null sender of bounces is matched by `*` alone.",
    )
    recipients: tuple[AddressPattern, ...] = Field(
        default=("*",), min_length=1, max_length=1000, description="Envelope recipients; one must match."
    )


class MX(Group):
    """Delivery to the mail exchangers of the recipient's domain. No fields."""


class SmartHost(Group):
    host: Host = Field(description="The server that takes all mail; its addresses are looked up, not its MX.")
    port: Port = Field(default=25, description="Its port: usually 25, 587 or, with Implicit TLS, 465.")
    tls: contract.UpstreamTLS = Field(
        default=contract.UpstreamTLS.OPPORTUNISTIC,
        description="None: plain text. Opportunistic: STARTTLS when offered, any certificate. Required: "
        "STARTTLS with a valid certificate for host, or the mail waits. Implicit: the same "
        "from the first byte.",
    )
    auth_secret_name: OptionalObjectName = Field(
        default="",
        description="Secret with `username` and `password`, in the route's namespace; empty: no AUTH.",
    )


class LMTP(Group):
    host: Host = Field(description="The mailbox server.")
    port: Port = Field(default=24, description="Its LMTP port.")


class Reject(Group):
    code: int = Field(
        default=550, ge=400, le=599, description="Reply code: 4xx asks to come again, 5xx is final."
    )
    enhanced: EnhancedCode = Field(
        default="5.7.1", description="Enhanced status code (RFC 3463), of the same class as code."
    )
    message: ReplyText = Field(default="Rejected by policy", description="What the reply says.")

    RULES: ClassVar = (
        Rule(
            subject="enhanced",
            cel="self.enhanced.startsWith(self.code < 500 ? '4.' : '5.')",
            problem="is of another class than code",
            remedy="begin both with the same digit, 4 or 5",
            broken=lambda x: [("enhanced", x.enhanced)] if x.enhanced[0] != str(x.code)[0] else [],
        ),
    )


class Discard(Group):
    """Accept, log and forget. No fields."""


class Quarantine(Group):
    """Accept and hold until somebody releases it. No fields."""


KINDS = ("mx", "smartHost", "lmtp", "reject", "discard", "quarantine")
VERDICTS = ("reject", "discard", "quarantine")


def _not_one_kind(backend: "Backend") -> Broken:
    if len(backend.kinds) != 1:
        yield "", ", ".join(backend.kinds)


class Backend(Group):
    mx: MX | None = Field(
        default=None, description="To the recipient domain's mail exchangers. Write `mx: {}`."
    )
    smart_host: SmartHost | None = Field(default=None, description="To one server that relays further.")
    lmtp: LMTP | None = Field(default=None, description="To a mailbox server.")
    reject: Reject | None = Field(default=None, description="Refuse the recipient with this reply.")
    discard: Discard | None = Field(default=None, description="Accept, log and forget. Write `discard: {}`.")
    quarantine: Quarantine | None = Field(
        default=None, description="Accept and hold until somebody releases it. Write `quarantine: {}`."
    )
    priority: int = Field(default=0, ge=0, le=65535, description="Failover order: the lowest is tried first.")
    weight: int = Field(
        default=1,
        ge=0,
        le=1_000_000,
        description="Share of the mail among backends of one priority; 0: none, unless alone.",
    )

    RULES: ClassVar = (
        Rule(
            subject="the backend",
            cel="[" + ", ".join(f"has(self.{kind})" for kind in KINDS) + "].filter(given, given).size() == 1",
            problem="must be of exactly one kind",
            remedy="give one of mx, smartHost, lmtp, reject, discard, quarantine, such as `mx: {}`",
            broken=_not_one_kind,
        ),
    )

    @property
    def kinds(self) -> tuple[str, ...]:
        given = (self.mx, self.smart_host, self.lmtp, self.reject, self.discard, self.quarantine)
        return tuple(kind for kind, value in zip(KINDS, given, strict=True) if value is not None)


class TLSPolicy(enum.StrEnum):
    OPPORTUNISTIC = "Opportunistic"
    REQUIRED = "Required"
    DANE = "DANE"
    MTA_STS = "MTA-STS"


_UNAVAILABLE = (TLSPolicy.DANE, TLSPolicy.MTA_STS)


class RouteTLS(Group):
    policy: TLSPolicy = Field(
        default=TLSPolicy.OPPORTUNISTIC,
        description="How mail to MX hosts is secured. Opportunistic: TLS when offered. Required: TLS with "
        "a valid certificate for the MX host, or the mail waits. DANE and MTA-STS are refused "
        "by this version.",
    )

    RULES: ClassVar = (
        Rule(
            subject="policy",
            cel="!(self.policy in ['DANE', 'MTA-STS'])",
            problem="is not available in this version",
            remedy="use Required or Opportunistic",
            broken=lambda x: [("policy", x.policy)] if x.policy in _UNAVAILABLE else [],
        ),
    )

    def mx_policy(self) -> contract.MXPolicy:
        return contract.MXPolicy(self.policy.value)


def _verdict_among_others(spec: "MailRouteSpec") -> Broken:
    if len(spec.backends) > 1:
        for n, backend in enumerate(spec.backends):
            for kind in backend.kinds:
                if kind in VERDICTS:
                    yield f"backends[{n}].{kind}", ""


def _repeated_parents(spec: "MailRouteSpec") -> Broken:
    seen: set[tuple[str, str, str]] = set()
    for n, ref in enumerate(spec.parent_refs):
        key = (ref.namespace, ref.name, ref.section_name)
        if key in seen:
            yield f"parentRefs[{n}]", ref.name
        seen.add(key)


class MailRouteSpec(Group):
    parent_refs: tuple[ParentRef, ...] = Field(
        min_length=1,
        max_length=16,
        description="The pools, or listeners of them, whose mail this route takes.",
    )
    match: Match = Field(
        default=Match(),
        description="Which mail. The best match wins: recipients before senders; address, then `*@domain`, "
        "then the longest `*@*.domain`, then `*`; then the oldest route, then namespace/name.",
    )
    backends: tuple[Backend, ...] = Field(
        min_length=1, max_length=16, description="Where it goes, one kind each."
    )
    retry: RetryOverrides = Field(
        default=RetryOverrides(),
        description="What differs from the pool's retry; absent fields are the pool's.",
    )
    tls: RouteTLS = Field(default=RouteTLS(), description="TLS towards MX hosts.")

    RULES: ClassVar = (
        Rule(
            subject="backends:",
            cel="size(self.backends) == 1 || self.backends.all(b, "
            + " && ".join(f"!has(b.{kind})" for kind in VERDICTS)
            + ")",
            problem=LONE_VERDICT.problem,
            remedy=LONE_VERDICT.remedy,
            broken=_verdict_among_others,
        ),
        Rule(
            subject="parentRefs",
            cel="self.parentRefs.all(p, self.parentRefs.exists_one(q, p == q))",
            problem="names a parent that is named already",
            remedy="remove one of the two",
            broken=_repeated_parents,
        ),
    )
