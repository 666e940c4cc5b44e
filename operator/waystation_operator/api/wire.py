"""The scalar types of the resources: how each looks on the wire, is checked, and is described.

A type is an ``Annotated`` alias: the Python type a spec holds, the check that
turns the written text into it, and a :class:`Wire` from which the CRD's
schema and the documentation are made. The checks are the relay's own
(``waystation_contract.grammar``), so a resource that passes here gives a
document that passes there.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from waystation_contract import grammar
from waystation_operator.api import units


@dataclass(frozen=True, slots=True, eq=False)
class Wire:
    """``name`` is the type's name in the documentation, ``schema`` its fragment of the CRD, ``cel`` what
    the API server checks of each value as (expression over self, message), ``write`` a Python value as text.
    """

    name: str
    schema: Mapping[str, Any]
    cel: tuple[tuple[str, str], ...] = ()
    write: Callable[[Any], Any] = field(default=lambda value: value)


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do when a number is out of its range."""

    text: str


def refusal(problem: str, remedy: str) -> PydanticCustomError:
    """The one form in which a check of ours reports; ``problem`` reads after the value."""
    return PydanticCustomError("refused", "{problem}; {remedy}", {"problem": problem, "remedy": remedy})


def _grammatical(rule: Callable[[str], grammar.Complaint | None]) -> AfterValidator:
    def check(text: str) -> str:
        complaint = rule(text)
        if complaint:
            raise refusal(*complaint)
        return text

    return AfterValidator(check)


def _or_empty(rule: Callable[[str], grammar.Complaint | None]) -> AfterValidator:
    return _grammatical(lambda text: rule(text) if text else None)


def _read(reader: Callable[[str], Any], example: str) -> BeforeValidator:
    def check(value: object) -> Any:
        if not isinstance(value, str):
            raise refusal("has no unit", f"write it as text with its unit, such as {example}")
        try:
            return reader(value)
        except ValueError as error:
            problem, _, remedy = str(error).partition("; ")
            raise refusal(problem, remedy) from None

    return BeforeValidator(check)


def _string(pattern: str, max_length: int) -> dict[str, Any]:
    return {"type": "string", "pattern": f"^{pattern}$", "maxLength": max_length}


_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_HOST_LABEL = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = rf"{_HOST_LABEL}(\.{_HOST_LABEL})*"
_ADDRESS = r"[^@*\s]+@[^@*\s]+"

Duration = Annotated[
    float,
    _read(units.seconds, "90s"),
    Wire("duration", _string(units.DURATION, 24), write=units.duration),
]
Quantity = Annotated[
    int,
    _read(units.size_bytes, "10Gi"),
    Wire("quantity", _string(units.QUANTITY, 24), write=units.quantity),
]
Port = Annotated[int, Field(ge=1, le=65535)]
Percent = Annotated[int, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
HostName = Annotated[
    str,
    _grammatical(grammar.host_name),
    Wire(
        "DNS name",
        _string(_HOST_NAME, 253),
        cel=(
            ("!self.matches('^[0-9.]+$')", "must be a DNS name such as mail.example.com, not an IP address"),
        ),
    ),
]
Host = Annotated[
    str,
    _grammatical(grammar.host),
    Wire(
        "DNS name or IP address",
        _string(r"[0-9A-Za-z_.:\-]+", 253),
        cel=(
            (
                "!self.matches('^[^:]*:[^:]*$')",
                "must be a DNS name or an IP address alone; the port has a field of its own",
            ),
        ),
    ),
]
OptionalIP = Annotated[str, _or_empty(grammar.ip), Wire("IP address", _string("([0-9A-Fa-f:.]+)?", 45))]
DNSServer = Annotated[
    str, _grammatical(grammar.dns_server), Wire("IP address[:port]", _string(r"[0-9A-Fa-f:.\[\]]+", 60))
]
CIDR = Annotated[
    str,
    _grammatical(grammar.network),
    Wire(
        "CIDR",
        _string("[0-9A-Fa-f:.]+/(0|[1-9][0-9]{0,2})", 43),
        cel=(
            (
                "isCIDR(self) && cidr(self) == cidr(self).masked()",
                "must be a network in CIDR notation with no bit set behind its prefix, such as 192.0.2.0/24",
            ),
        ),
    ),
]
OptionalAddress = Annotated[
    str, _or_empty(grammar.address), Wire("mail address", _string(f"({_ADDRESS})?", 320))
]
AddressPattern = Annotated[
    str,
    _grammatical(grammar.pattern),
    Wire("address pattern", _string(r'(\*|\*@(\*\.)?[^@*\s]+|("[^"]*"|[^@*"\s]+)@[^@*\s]+)', 320)),
]
EnhancedCode = Annotated[
    str,
    _grammatical(grammar.enhanced_code),
    Wire("enhanced status code", _string(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", 9)),
]
ReplyText = Annotated[str, _grammatical(grammar.reply_text), Wire("text", _string("[ -~]*[!-~][ -~]*", 400))]


def _label(text: str) -> grammar.Complaint | None:
    if re.fullmatch(_LABEL, text):
        return None
    remedy = (
        "use at most 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
    )
    return grammar.Complaint("is not a name", remedy)


# A StatefulSet's pods carry its name and a hash of ten characters in a label, which has at most 63.
POOL_NAME = "[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?"
POOL_NAME_REMEDY = (
    "use at most 52 lower-case letters, digits and hyphens, beginning and ending with a letter or digit"
)


def _pool_name(text: str) -> grammar.Complaint | None:
    return (
        None if re.fullmatch(POOL_NAME, text) else grammar.Complaint("is not a pool's name", POOL_NAME_REMEDY)
    )


def _object_name(text: str) -> grammar.Complaint | None:
    if len(text) <= 253 and all(_label(part) is None for part in text.split(".")):
        return None
    return grammar.Complaint(
        "is not an object's name", "use at most 253 lower-case letters, digits, hyphens and dots"
    )


Label = Annotated[str, _grammatical(_label), Wire("name", _string(_LABEL, 63))]
PoolName = Annotated[str, _grammatical(_pool_name), Wire("pool name", _string(POOL_NAME, 52))]
OptionalLabel = Annotated[str, _or_empty(_label), Wire("name", _string(f"({_LABEL})?", 63))]
ObjectName = Annotated[
    str, _grammatical(_object_name), Wire("object name", _string(rf"{_LABEL}(\.{_LABEL})*", 253))
]
OptionalObjectName = Annotated[
    str, _or_empty(_object_name), Wire("object name", _string(rf"({_LABEL}(\.{_LABEL})*)?", 253))
]
FreeForm = Annotated[
    dict[str, Any], Wire("object", {"type": "object", "x-kubernetes-preserve-unknown-fields": True})
]


_AMOUNT = r"[0-9]+(\.[0-9]+)?(m|k|[KMGTP]i?)?"


def _amount(value: object) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and re.fullmatch(_AMOUNT, value):
        return value
    raise refusal("is not a resource quantity", "write one such as 500m, 2 or 256Mi")


Amount = Annotated[
    Any,
    AfterValidator(_amount),
    Wire("resource quantity", {"x-kubernetes-int-or-string": True, "pattern": f"^{_AMOUNT}$"}),
]
