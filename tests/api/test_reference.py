"""docs/configuration.md agrees with the models."""

import re
from pathlib import Path

import pytest

from waystation_operator.api import reference

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_page_is_up_to_date() -> None:
    """The tables say what the models say; `python -m waystation_operator.cli.generate` writes them."""
    text = PAGE.read_text(encoding="utf-8")
    assert reference.fill(text) == text


def test_every_group_has_its_place() -> None:
    """A group of fields added to a resource must be found on the page, in the order of the fields."""
    assert re.findall(r"<!-- fields of ([\w.]+) -->", PAGE.read_text(encoding="utf-8")) == reference.places()


def test_tables_are_tables() -> None:
    """Every row has the header's four cells, whatever stands in a description."""
    rows = [
        line for line in reference.fill(PAGE.read_text(encoding="utf-8")).splitlines() if "`spec." in line
    ]
    rows = [row for row in rows if row.startswith("|")]
    assert len(rows) > 80
    assert [row for row in rows if len(re.split(r"(?<!\\)\|", row)) != 6] == []


@pytest.mark.parametrize(
    ("place", "row"),
    [
        (
            "RelayPool",
            "| `spec.hostname` | DNS name | required | The pool's name in the greeting, EHLO, Received ",
        ),
        (
            "RelayPool.retry",
            "| `spec.retry.first` | duration | `1m` | Wait after the first failed attempt. |",
        ),
        (
            "RelayPool.listeners",
            "| `spec.listeners[].tls.mode` | `None`, `Opportunistic`, `Required`, `Implicit` | `None`",
        ),
        ("MailRoute.retry", "| `spec.retry.first` | duration |  | Wait after the first failed attempt. |"),
        (
            "MailRoute.match",
            '| `spec.match.senders[]` | list: address pattern, at most 1000 | `["*"]` | Envelope',
        ),
    ],
)
def test_rows(place: str, row: str) -> None:
    """A row has the field, its type with its range, its default as one would write it, and its meaning."""
    assert row in reference.fill(f"<!-- fields of {place} -->\n<!-- end of fields -->")


def test_unknown_place_is_an_error() -> None:
    """A place for a field that does not exist (any more) is noticed, not left empty."""
    with pytest.raises(KeyError):
        reference.fill("<!-- fields of RelayPool.colour -->\n<!-- end of fields -->")


def test_prose_is_left_alone() -> None:
    """Only what stands between the marks is written."""
    page = "before\n<!-- fields of MailRoute.tls -->\nold\n<!-- end of fields -->\nafter\n"
    filled = reference.fill(page)
    assert filled.startswith("before\n<!-- fields of MailRoute.tls -->\n\n| field |")
    assert filled.endswith("<!-- end of fields -->\nafter\n")
    assert "old" not in filled
    assert reference.fill(filled) == filled
