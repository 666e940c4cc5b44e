"""YAML in golden/ and reconcile/ → what is planned from it; ``python -m tests.plan.golden`` writes it anew.

golden/ has resources alone, and what relays are told; reconcile/ has a pool's whole world, and all that
is to be done about it. Read the difference before you commit it: it is what every relay would be told,
and every cluster would have, from then on.
"""

import json
from pathlib import Path
from typing import Any

from tests.plan.scenario import read, shown

from waystation_contract import codec
from waystation_operator.local.load import load
from waystation_operator.plan.reconcile import reconcile
from waystation_operator.plan.world import plan_world

FOLDER = Path(__file__).with_name("golden")
CASES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
WORLDS = Path(__file__).with_name("reconcile")
SCENARIOS = sorted(path.stem for path in WORLDS.glob("*.yaml"))


def expectation(case: str) -> Path:
    return FOLDER / f"{case}.json"


def planned(case: str) -> str:
    """The documents of all pools, the names and sizes of the files beside them, problems and notices."""
    loaded = load([str(FOLDER / f"{case}.yaml")])
    assert (loaded.problems, loaded.unreadable) == ([], [])
    plans, problems = plan_world(loaded.world)
    whole: dict[str, Any] = {
        "pools": [
            {
                "document": json.loads(codec.encode(plan.document)) if plan.document else None,
                "files": {name: len(data) for name, data in sorted(plan.files.items())},
                "notices": list(map(str, plan.notices)),
            }
            for plan in plans
        ],
        "problems": list(map(str, problems)),
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def desired(scenario: str) -> str:
    """Everything that is to be done about the world of reconcile/SCENARIO.yaml."""
    wishes = reconcile(read(WORLDS / f"{scenario}.yaml"))
    return json.dumps(shown(wishes), indent=1, ensure_ascii=False) + "\n"


def expected(scenario: str) -> Path:
    return WORLDS / f"{scenario}.json"


if __name__ == "__main__":
    for name in CASES:
        expectation(name).write_text(planned(name), encoding="utf-8")
    for name in SCENARIOS:
        expected(name).write_text(desired(name), encoding="utf-8")
