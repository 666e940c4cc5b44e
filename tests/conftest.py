"""What holds for all tests: how hypothesis looks for counterexamples.

It has no deadline for an example, since a machine that runs other things too
is slow at times. In continuous integration it tries the same examples each
time, so that a run says something about the change; everywhere else it looks
for new ones.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "waystation",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("waystation")
