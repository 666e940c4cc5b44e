"""When the log says that the API server is away, and that it is back."""

import io
import json

import pytest

from waystation_operator.cluster.log import Log
from waystation_operator.handlers.reached import Reached

DOWN = "connection refused"


@pytest.mark.parametrize(
    ("calls", "lines"),
    [
        pytest.param([(0.0, ""), (1.0, "")], [], id="always there"),
        pytest.param([(0.0, DOWN), (1.0, DOWN), (2.0, DOWN)], ["api.unreachable"], id="away is said once"),
        pytest.param([(0.0, DOWN), (5.0, ""), (6.0, "")], ["api.unreachable", "api.reachable"], id="back"),
        pytest.param(
            [(0.0, DOWN), (5.0, DOWN), (5.1, ""), (5.2, "503"), (5.3, ""), (7.0, "")],
            ["api.unreachable", "api.reachable"],
            id="half back while it starts",
        ),
        pytest.param(
            [(0.0, DOWN), (2.0, ""), (3.0, DOWN)],
            ["api.unreachable", "api.reachable", "api.unreachable"],
            id="away again",
        ),
    ],
)
def test_an_api_server_that_comes_and_goes(calls: list[tuple[float, str]], lines: list[str]) -> None:
    """Each outage is two lines, however long it lasts and however many calls fail."""
    now = 0.0
    out = io.StringIO()
    reached = Reached(Log(stream=out), lambda: now)
    for now, problem in calls:  # noqa: B007 -- it is the clock
        reached.told(problem)
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == lines
