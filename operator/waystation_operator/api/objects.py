"""The objects we read: RelayPools and MailRoutes, and the Secrets and Namespaces that they refer to."""

import base64
import binascii
import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator

from waystation_operator.api.group import Group
from waystation_operator.api.mailroute import MailRouteSpec
from waystation_operator.api.problem import Identity
from waystation_operator.api.relaypool import RelayPoolSpec
from waystation_operator.api.wire import Label, ObjectName, PoolName, refusal

GROUP = "waystation.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class RelayPool:
    identity: Identity
    spec: RelayPoolSpec
    created: float = 0.0  # Unix seconds; 0: unknown


@dataclass(frozen=True, slots=True)
class MailRoute:
    identity: Identity
    spec: MailRouteSpec
    created: float = 0.0


@dataclass(frozen=True, slots=True)
class Secret:
    identity: Identity
    data: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Namespace:
    identity: Identity
    labels: Mapping[str, str]


Object = RelayPool | MailRoute | Secret | Namespace


def timestamp(text: str) -> float:
    """RFC 3339 → Unix seconds; 0 for what is none."""
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


class _Open(Group):
    """What Kubernetes itself owns: fields of no interest here are passed over."""

    model_config = ConfigDict(extra="ignore")


class _Meta(_Open):
    namespace: Label = DEFAULT_NAMESPACE
    labels: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: str = ""

    def created(self) -> float:
        return timestamp(self.creation_timestamp)

    @field_validator("creation_timestamp")
    @classmethod
    def _is_a_time(cls, text: str) -> str:
        try:
            datetime.datetime.fromisoformat(text or "1970-01-01T00:00:00Z")
        except ValueError:
            raise refusal("is not a time", "remove it, or write one such as 2030-01-31T12:00:00Z") from None
        return text


class PoolMeta(_Meta):
    name: PoolName


class NamedAsObject(_Meta):
    name: ObjectName


class PoolBody(Group):
    api_version: Literal["waystation.dev/v1alpha1"]
    kind: Literal["RelayPool"]
    metadata: PoolMeta
    spec: RelayPoolSpec
    status: Any = None

    def to_object(self) -> RelayPool:
        identity = Identity(self.kind, self.metadata.namespace, self.metadata.name)
        return RelayPool(identity, self.spec, self.metadata.created())


class RouteBody(Group):
    api_version: Literal["waystation.dev/v1alpha1"]
    kind: Literal["MailRoute"]
    metadata: NamedAsObject
    spec: MailRouteSpec
    status: Any = None

    def to_object(self) -> MailRoute:
        identity = Identity(self.kind, self.metadata.namespace, self.metadata.name)
        return MailRoute(identity, self.spec, self.metadata.created())


class SecretBody(Group):
    api_version: Literal["v1"]
    kind: Literal["Secret"]
    metadata: NamedAsObject
    type: str = "Opaque"
    immutable: bool = False
    data: dict[str, str] = Field(default_factory=dict)
    string_data: dict[str, str] = Field(default_factory=dict)

    @field_validator("data")
    @classmethod
    def _is_base64(cls, data: dict[str, str]) -> dict[str, str]:
        for key, text in data.items():
            try:
                base64.b64decode("".join(text.split()), validate=True)
            except (binascii.Error, ValueError):
                problem = f"has a value for {key} that is not base64"
                raise refusal(problem, "encode it, or write it as it is under stringData") from None
        return data

    def to_object(self) -> Secret:
        decoded = {key: base64.b64decode("".join(text.split())) for key, text in self.data.items()}
        plain = {key: text.encode() for key, text in self.string_data.items()}
        return Secret(Identity(self.kind, self.metadata.namespace, self.metadata.name), decoded | plain)


class _NamespaceMeta(_Open):
    name: Label
    labels: dict[str, str] = Field(default_factory=dict)


class NamespaceBody(_Open):
    api_version: Literal["v1"]
    kind: Literal["Namespace"]
    metadata: _NamespaceMeta

    def to_object(self) -> Namespace:
        return Namespace(Identity(self.kind, "", self.metadata.name), self.metadata.labels)


Body = PoolBody | RouteBody | SecretBody | NamespaceBody

BODIES: dict[tuple[str, str], type[Body]] = {
    (API_VERSION, "RelayPool"): PoolBody,
    (API_VERSION, "MailRoute"): RouteBody,
    ("v1", "Secret"): SecretBody,
    ("v1", "Namespace"): NamespaceBody,
}
