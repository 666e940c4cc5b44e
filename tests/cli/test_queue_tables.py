"""How messages look to people: what a line says of a deferred, an active and a held recipient."""

import datetime

import pytest

from waystation_relay.cli import queue_tables
from waystation_relay.cli.queue_tables import _duration, _size

NOW = datetime.datetime(2027, 1, 15, 8, tzinfo=datetime.UTC)


def at(seconds: float) -> str:
    return (NOW + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def message(*, active: bool = False, **recipient: object) -> dict[str, object]:
    """As ``/queue`` gives it: a message with one recipient, deferred once."""
    deferred = {
        "address": "ann@corp.test",
        "status": "waiting",
        "hold_reason": "",
        "due": at(3605),
        "attempts": 3,
        "reason": "greylisted",
        "reply": "451 4.7.1 try again later",
        "remote": "mx.corp.test[192.0.2.25]:25",
        "last_attempt": at(-60),
        "warned": False,
        **recipient,
    }
    return {
        "queue_id": "1KA3ZQ9W0TH-7F2QX",
        "arrival": at(-90_000),
        "sender": "app@shop.test",
        "size_bytes": 123_456,
        "active": active,
        "pending": 1,
        "recipients": [deferred],
        "finished": ["done@corp.test"],
        "envelope": {"body": "8BITMIME", "smtputf8": True, "ret": "HDRS", "envid": "e1"},
        "origin": {"listener": "smtp", "protocol": "ESMTP", "client": "192.0.2.7", "helo": "app", "user": ""},
    }


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        pytest.param(
            message(),
            ["1d 1h", "120.6 KiB", "waiting", "3", "in 1h", "greylisted: 451 4.7.1 try again later"],
            id="deferred",
        ),
        pytest.param(message(due=at(-5)), ["waiting", "now"], id="due"),
        pytest.param(message(active=True, due=at(-5)), ["active"], id="being delivered"),
        pytest.param(
            message(status="held", hold_reason="asked by legal", due=None), ["held", "-"], id="held"
        ),
        pytest.param(message(reply="", reason="", attempts=0), ["waiting", "0"], id="not tried yet"),
    ],
)
def test_a_line_of_the_list(
    shown: dict[str, object], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Age, size, state, attempts, the next time and the reason, each in its column."""
    queue_tables.print_messages([shown], NOW)
    line = capsys.readouterr().out.splitlines()[1]
    for word in words:
        assert word in line
    if shown["recipients"][0]["status"] == "held":  # type: ignore[index] # a message's recipients are a list
        assert "asked by legal" in line
        assert "greylisted" not in line, "why it is held, not why it was deferred before"


def test_the_details_of_a_deferred_message(capsys: pytest.CaptureFixture[str]) -> None:
    """Who answered what at the last attempt; what was asked for; who has got it already."""
    queue_tables.print_details([message(), message(active=True)])
    text = capsys.readouterr().out
    for words in (
        "192.0.2.7 (app), ESMTP at listener smtp",
        "body=8BITMIME ret=HDRS envid=e1 smtputf8",
        "3 times, last ",
        "451 4.7.1 try again later from mx.corp.test[192.0.2.25]:25 (greylisted)",
        "done@corp.test",
        "being delivered, or waiting for a connection",
    ):
        assert words in text


def test_a_report_of_our_own_came_from_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    """A bounce has no client: it is said to be ours."""
    own = message()
    own["origin"] = {"listener": "", "protocol": "", "client": "", "helo": "", "user": ""}
    queue_tables.print_details([own])
    assert "this relay itself" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m"), (61, "1m 1s"), (3600, "1h"), (3661, "1h 1m"),
     (90_000, "1d 1h"), (864_000, "10d")],
)  # fmt: skip
def test_durations_are_short(seconds: float, text: str) -> None:
    """The two largest units are enough."""
    assert _duration(seconds) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**20, "5.0 MiB"), (3 * 2**30, "3.0 GiB")],
)
def test_sizes_are_short(size_bytes: int, text: str) -> None:
    """Binary units, one digit."""
    assert _size(size_bytes) == text
