"""How hard the suites try that could go on for ever: once in ``make test``, longer in ``make durability``."""

import os

ROUNDS = int(os.environ.get("DURABILITY_ROUNDS", "1"))
LONG = ROUNDS > 1
