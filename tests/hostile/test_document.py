"""docs/hardening.md against the tests: what it claims is shown by a test that exists."""

import re
from pathlib import Path

import pytest
from tests.hostile.hop import WAYS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "hardening.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_named_exists(file: str, test: str) -> None:
    """A row's last column leads to the test that would fail if the row were not true."""
    source = (ROOT / file).read_text(encoding="utf-8")
    assert not test or re.search(rf"^(?:async )?def {test}\(", source, re.MULTILINE)


def test_every_row_names_a_test() -> None:
    """No claim stands alone."""
    tables = re.findall(r"^\| what \| what happens \| test \|\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert len(tables) == 5
    assert [row for table in tables for row in table.splitlines() if "`tests/" not in row] == []


def test_the_page_counts_the_hostile_servers() -> None:
    """Its eighteen are the eighteen that are tested."""
    assert len(WAYS) == 18
    assert PAGE.count("eighteen") >= 3
