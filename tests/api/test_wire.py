"""The forms of text in our resources: what each takes and refuses; the API server lets in what we take."""

import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from tests.api import apiserver

from waystation_operator.api import shape as shapes
from waystation_operator.api import wire

# type → (texts it takes, texts it refuses)
FORMS: dict[str, tuple[list[str], list[str]]] = {
    "Duration": (["0s", "1h30m", "3650d"], ["", "1", "1 h", "3651d"]),
    "Quantity": (["16Mi", "1.5Gi", "1024"], ["", "1GB", "lots"]),
    "HostName": (
        ["relay", "relay.example.com", "a_b.example", "xn--bcher-kva.example", "1and1.com", "a" * 63 + ".de"],
        ["", ".", "a.", "a..b", "-a.b", "a-.b", "192.0.2.1", "a b", "bücher.example", "a" * 64, "a/b",
         "a.b:25"],
    ),
    "Host": (
        ["smtp.example.net", "192.0.2.1", "2001:db8::1", "dovecot.mail.svc"],
        ["", "[2001:db8::1]", "smtp.example.net:25", "unix:/run/lmtp", "a b", "fe80::1%eth0"],
    ),
    "OptionalIP": (["", "192.0.2.1", "2001:db8::1"], ["eth0", "192.0.2.0/24", "[::1]", "192.0.2.256"]),
    "DNSServer": (
        ["192.0.2.53", "192.0.2.53:5353", "2001:db8::53", "[2001:db8::53]:53"],
        ["", "dns.example.com", "192.0.2.53:0", "192.0.2.53:65536", "192.0.2.53:", "::1:"],
    ),
    "CIDR": (
        ["192.0.2.0/24", "192.0.2.7/32", "0.0.0.0/0", "2001:db8::/32", "::/0", "::1/128"],
        ["", "192.0.2.0", "192.0.2.1/24", "192.0.2.0/33", "192.0.2.0/255.255.255.0", "192.0.2.0/024", "x/8",
         "2001:db8::1/32", "::ffff:10.0.0.0/104", "192.0.2.0/24 "],
    ),
    "OptionalAddress": (
        ["", "postmaster@example.com", "a+b@example.com", "jörg@bücher.example", "a@[192.0.2.1]"],
        ["postmaster", "@example.com", "a@", "a@b@c", "a b@example.com", "<a@example.com>", "a.@example.com"],
    ),
    "AddressPattern": (
        ["*", "*@example.com", "*@*.example.com", "ann@example.com", "*@bücher.example", '"a b"@example.com',
         "*@[192.0.2.1]", "postmaster@localhost"],
        ["", "example.com", "*.example.com", "*@*", "*@", "@example.com", "a*@example.com", "*@example.*",
         "<>",
         "*@*.*.example.com", "* ", "**@example.com", "*@*example.com"],
    ),
    "EnhancedCode": (["5.7.1", "4.0.0", "2.999.999"], ["", "5.7", "6.0.0", "5.7.01", "5.7.1000", "5.7.1 "]),
    "ReplyText": (["Rejected by policy", "x", "a" * 400], ["", "   ", "ä", "a\nb", "a" * 401, "a\tb"]),
    "Label": (["a", "smtp", "a-1", "a" * 63], ["", "A", "-a", "a-", "a.b", "a_b", "a" * 64]),
    "PoolName": (["a", "out-1", "a" * 52], ["", "Out", "a.b", "-a", "a-", "a" * 53]),
    "OptionalLabel": (["", "mail"], ["Mail", "a.b"]),
    "ObjectName": (["a", "a.b", "a-1.b-2"], ["", "A", "a..b", ".a", "a/b", "a_b", ".".join(["a" * 63] * 4)]),
    "OptionalObjectName": (["", "relay-tls"], ["Relay", "a b"]),
    "Amount": (["500m", "2", "256Mi", "0.5"], ["", "lots", "-1", "1 Gi"]),
}  # fmt: skip


def given(place: int) -> list[Any]:
    return [
        pytest.param(name, text, id=f"{name}: {text[:40]!r}") for name in FORMS for text in FORMS[name][place]
    ]


def test_every_text_type_is_tried() -> None:
    """A type without examples could take anything."""
    declared = {name for name, value in vars(wire).items() if _wire_of(value) is not None}
    assert declared - {"FreeForm"} == set(FORMS)


def _wire_of(value: Any) -> wire.Wire | None:
    return next((x for x in getattr(value, "__metadata__", ()) if isinstance(x, wire.Wire)), None)


@pytest.mark.parametrize(("name", "text"), given(0))
def test_taken_by_us_and_by_the_server(name: str, text: str) -> None:
    """What we take, the API server must let through: it would be refused before we see it."""
    form = getattr(wire, name)
    TypeAdapter(form).validate_python(text)
    schema = dict(_schema(form))
    assert list(apiserver.shape_errors(text, schema, "")) == []
    assert list(apiserver.rule_errors(text, schema, "")) == []


@pytest.mark.parametrize(("name", "text"), given(1))
def test_refused_with_a_remedy(name: str, text: str) -> None:
    """What we refuse says what is wrong and what to write."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(getattr(wire, name)).validate_python(text)
    (error,) = refused.value.errors()
    assert re.fullmatch(r"\S.*; \S.*", error["msg"])


def _schema(form: Any) -> dict[str, Any]:
    shape = shapes.of(form)
    assert shape.wire is not None
    rules = [{"rule": rule, "message": message} for rule, message in shape.wire.cel]
    return {**shape.wire.schema, "x-kubernetes-validations": rules}
