"""What Python's logging says, as lines of the operator's log."""

import io
import json
import logging

import pytest

from waystation_operator.cluster.log import Bridge, Log
from waystation_operator.probe import watch


@pytest.mark.parametrize(
    ("logger", "level", "event"),
    [
        pytest.param("kopf._core.engines", logging.WARNING, "library", id="a library"),
        pytest.param(watch.__name__, logging.WARNING, "server.tried", id="a server that does not work"),
        pytest.param(watch.__name__, logging.INFO, "server.tried", id="a server that works"),
    ],
)
def test_logged_lines_have_an_event(logger: str, level: int, event: str) -> None:
    """What a probe found is an event of its own, to be searched for; lines of libraries share one."""
    stream = io.StringIO()
    record = logging.LogRecord(logger, level, __file__, 1, "%s: %s", ("HostNotFound", "correct it"), None)
    Bridge(Log(stream=stream)).emit(record)
    line = json.loads(stream.getvalue())
    assert (line["event"], line["text"]) == (event, "HostNotFound: correct it")
    assert line["level"] == logging.getLevelName(level).lower()
