"""Named moments at which a test kills the process, as a power cut would.

``reach(name)`` does nothing unless ``WAYSTATION_FAILPOINT`` was set to
``name`` or ``name:count`` when this module was imported; then the ``count``-th
arrival at ``name`` (the first by default) ends the process with SIGKILL.
``docs/spool-states.md`` lists every name; ``tests/crash`` kills at each.
"""

import os
import signal
from collections.abc import Callable

VARIABLE = "WAYSTATION_FAILPOINT"


def _armed(setting: str) -> Callable[[str], None]:
    wanted, _, count = setting.partition(":")
    left = int(count or "1")

    def reach(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach


def _unarmed(name: str) -> None:
    pass


reach: Callable[[str], None] = _armed(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else _unarmed
