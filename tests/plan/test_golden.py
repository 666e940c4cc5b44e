"""Whole examples: what a relay is told about a few YAML files, to the byte."""

import json

import pytest
from tests.plan import golden

from waystation_contract import codec


@pytest.mark.parametrize("case", golden.CASES)
def test_plan_is_what_it_was(case: str) -> None:
    """The plan of golden/CASE.yaml is golden/CASE.json; `python -m tests.plan.golden` writes it anew."""
    assert golden.planned(case) == golden.expectation(case).read_text(encoding="utf-8")


def test_every_expectation_has_its_yaml() -> None:
    """No expectation is left of an example that is gone."""
    assert sorted(path.stem for path in golden.FOLDER.glob("*.json")) == golden.CASES


@pytest.mark.parametrize("case", golden.CASES)
def test_relays_accept_what_is_planned(case: str) -> None:
    """What is planned passes the relay's strict reading."""
    for planned in json.loads(golden.planned(case))["pools"]:
        codec.decode(json.dumps(planned["document"]).encode())
