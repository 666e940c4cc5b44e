"""How hard the suites try that could go on for ever: once in ``make test``, longer in ``make durability``."""

import os

ROUNDS = int(os.environ.get("DURABILITY_ROUNDS", "1"))
LONG = ROUNDS > 1


def examples(many: int) -> int:
    """How many a property is tried with."""
    return many if LONG else many // 3
