"""The document as bytes: nothing is lost, nothing unknown gets in, and equal documents have one digest."""

import contextlib
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.contract.documents import SMALL, documents, small

from waystation_contract import codec
from waystation_contract.check import ConfigError, Finding
from waystation_contract.model import Document


def findings(data: bytes) -> tuple[Finding, ...]:
    with pytest.raises(ConfigError) as refused:
        codec.decode(data)
    return refused.value.findings


def raw(document: Document = SMALL) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(codec.encode(document))
    return body


@given(documents())
def test_what_is_written_is_read(document: Document) -> None:
    """Every valid document survives encoding, and the digest belongs to what was read."""
    decoded, digest = codec.decode(codec.encode(document))
    assert decoded == document
    assert digest == codec.digest(document)


@given(documents(), st.randoms(use_true_random=False))
def test_digest_does_not_depend_on_the_order_of_keys(document: Document, dice: random.Random) -> None:
    """The same document with its keys in another order and white space between has the same digest."""

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            items = [(key, shuffled(item)) for key, item in value.items()]
            dice.shuffle(items)
            return dict(items)
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    data = json.dumps(shuffled(raw(document)), indent=3).encode()
    assert codec.decode(data) == (document, codec.digest(document))


def test_digest_of_the_small_document_is_stable() -> None:
    """A digest that changes without a reason would make every relay of every pool look out of date."""
    assert codec.digest(SMALL) == "c4ff64e2a385c18eb9e2f0515f57fc5d5b5a71434d8749c839bcd4c88fd44e1d"


FILES = {
    "mail.tls.crt": b"chain",
    "mail.tls.key": b"key",
    "mail.up.username": b"app",
    "mail.up.password": b"secret",
}


def test_the_files_that_have_to_lie_beside_the_document() -> None:
    """Each once, in order, however often it is named."""
    assert codec.material(small(routes=SMALL.routes * 2)) == tuple(sorted(FILES))
    assert codec.material(small(routes=SMALL.routes[1:])) == ("mail.tls.crt", "mail.tls.key")


def test_digest_of_a_document_with_files_is_stable() -> None:
    """The operator and relays of another version have to come to the same one."""
    assert codec.digest(SMALL, FILES) == ("882542b63faed5ff17f0c4154839f6a669571786bd5aa02ca169c8fea0edb666")


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({}, id="no files"),
        pytest.param({"mail.tls.crt": b"chain"}, id="one of them"),
        pytest.param({**FILES, "mail.up.password": b"secret\n"}, id="another password"),
        pytest.param({**FILES, "mail.tls.crt": b"key", "mail.tls.key": b"chain"}, id="exchanged"),
    ],
)
def test_other_files_are_another_configuration(files: dict[str, bytes]) -> None:
    """A Secret that was rotated shows as a new digest, though the document is the same."""
    assert codec.digest(SMALL, files) != codec.digest(SMALL, FILES)


def test_files_that_the_document_does_not_name_do_not_count() -> None:
    """What else is in a folder is no part of the configuration."""
    beside = {**FILES, "old.crt": b"x", "config.json": b"{}"}
    assert codec.digest(SMALL, beside) == codec.digest(SMALL, FILES)
    assert codec.digest(SMALL, {"old.crt": b"x"}) == codec.digest(SMALL)


def test_defaults_may_be_left_out() -> None:
    """A document without the fields that have defaults is the one that has them written out."""
    body = raw()
    for group in ("queue", "retry", "delivery", "postmaster"):
        del body[group]
    assert codec.decode(json.dumps(body).encode()) == (SMALL, codec.digest(SMALL))


def objects(value: Any, at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object in a JSON value, with its path as findings write it."""
    if isinstance(value, dict):
        yield at, value
        for key, item in value.items():
            yield from objects(item, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for n, item in enumerate(value):
            yield from objects(item, f"{at}[{n}]")


@pytest.mark.parametrize("where", [at for at, _ in objects(raw())])
def test_unknown_field_is_refused_wherever_it_stands(where: str) -> None:
    """A field of a later version, or a typing error, never passes unnoticed."""
    body = raw()
    dict(objects(body))[where]["colour"] = "blue"
    (finding,) = findings(json.dumps(body).encode())
    assert finding.field == where
    assert finding.problem == "object contains unknown field `colour`"
    assert finding.remedy == "remove it, or run a relay that knows it"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        pytest.param(("hostname",), None, ("hostname", "null", "expected `str`, got `null`"), id="null"),
        pytest.param(
            ("listeners", 0, "port"), 0, ("listeners[0].port", "0", "expected `int` >= 1"), id="range"
        ),
        pytest.param(
            ("listeners", 0, "port"),
            "25",
            ("listeners[0].port", '"25"', "expected `int`, got `str`"),
            id="type",
        ),
        pytest.param(
            ("listeners", 0, "tls"),
            "none",
            ("listeners[0].tls", '"none"', "invalid enum value 'none'"),
            id="choice",
        ),
        pytest.param(
            ("routes", 0, "backends", 0, "kind"),
            "pigeon",
            ("routes[0].backends[0].kind", '"pigeon"', "invalid value 'pigeon'"),
            id="kind of backend",
        ),
        pytest.param(
            ("queue", "max_bytes"),
            1.5,
            ("queue.max_bytes", "1.5", "expected `int`, got `float`"),
            id="fraction",
        ),
        pytest.param(("retry", "first_s"), 0, ("retry.first_s", "0", "expected `float` > 0.0"), id="zero"),
    ],
)
def test_wrong_shape_names_field_and_value(
    path: tuple[str | int, ...], value: Any, expected: tuple[str, ...]
) -> None:
    """What is wrong, where, and what stands there."""
    body = at = raw()
    for step in path[:-1]:
        at = at[step]  # type: ignore[index]
    at[path[-1]] = value  # type: ignore[index]
    (finding,) = findings(json.dumps(body).encode())
    assert (finding.field, finding.value, finding.problem) == expected
    assert finding.remedy


def test_missing_field_is_named() -> None:
    """A document without one of its required fields says which."""
    body = raw()
    del body["hostname"]
    (finding,) = findings(json.dumps(body).encode())
    assert str(finding) == "object missing required field `hostname`; add it"


@pytest.mark.parametrize(
    ("version", "remedy"), [(2, "upgrade the relay"), (0, "upgrade the operator")], ids=["later", "earlier"]
)
def test_other_version_says_who_is_behind(version: int, remedy: str) -> None:
    """The version is looked at first: a later document is no heap of unknown fields."""
    (finding,) = findings(json.dumps({"version": version, "anything": "else"}).encode())
    assert finding == Finding("version", str(version), "is not the version this relay reads (1)", remedy)


def test_cross_field_findings_are_reported_together() -> None:
    """Once the shape is right, everything that does not fit together is said at once."""
    route = SMALL.routes[0]
    body = raw(small(hostname="no name", routes=(route, route)))
    assert [finding.field for finding in findings(json.dumps(body).encode())] == [
        "hostname",
        "routes[1].name",
    ]


def test_oversized_document_is_not_read() -> None:
    """A bound for what a relay will parse."""
    (finding,) = findings(b" " * (codec.MAX_BYTES + 1))
    assert "is larger than 16777216 bytes" in str(finding)


@given(st.binary(max_size=200))
@example(b"")
@example(b"null")
@example(b"[]")
@example(b'{"version": 1}')
@example(b'{"version": 1e999}')
@example(b'"\xff"')
@example(b"[" * 100_000)
@example(b'{"version": 1, "hostname": "\\ud800"}')
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    """Whatever lies there instead of a document: a ConfigError with one finding, never another exception."""
    assert len(findings(data)) == 1


@given(documents(), st.data())
def test_damaged_documents_raise_nothing_else(document: Document, data: st.DataObject) -> None:
    """A document with a piece cut out or replaced is refused properly, or is still one."""
    whole = codec.encode(document)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    damaged = whole[:start] + data.draw(st.binary(max_size=5)) + whole[end:]
    with contextlib.suppress(ConfigError):
        decoded, digest = codec.decode(damaged)
        assert digest == codec.digest(decoded)
