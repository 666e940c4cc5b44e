"""What a relay tells the operator: true, by route, and no dearer than the queue can bear."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.office import Office
from tests.support.relay import document, route, to

from waystation_contract.model import Document, Quarantine
from waystation_operator.plan import report
from waystation_relay.admin import waiting
from waystation_relay.mail.outcome import Reason, Remote
from waystation_relay.mail.reply import reply
from waystation_relay.spool import survey
from waystation_relay.spool.values import Settlement, SpoolFailure

BUSY = reply(451, "4.7.1", "come back later")
NOBODY_HOME = reply(451, "4.4.1", "connection refused")
SERVER = Remote("mx.bank.test", "192.0.2.25", 25)


def two_routes() -> Document:
    """One route for bank.test, one for corp.test; nothing else has a way out."""
    return document(
        2525,
        route(to(25), recipients=["*@bank.test"], name="test/bank"),
        route(to(26), recipients=["*@corp.test"], name="test/corp"),
    )


@pytest.fixture
async def routed(tmp_path: Path) -> AsyncIterator[Office]:
    made = Office(tmp_path)
    await made.open()
    configure(made, two_routes())
    yield made
    await made.close()


def configure(office: Office, made: Document) -> None:
    office.config.write_bytes(msgspec.json.encode(made))
    office.watcher.look()
    assert not office.watcher.last_error


async def deferred(
    office: Office, address: str, said: Any = BUSY, reason: Reason = Reason.GREYLISTED, remote: Any = SERVER
) -> None:
    """A message for one recipient that was attempted once."""
    message = await office.spool.get(await office.put(address))
    assert message is not None
    update = msgspec.structs.replace(
        message.pending[0], attempts=1, last_reply=said, last_reason=reason, last_remote=remote
    )
    done: asyncio.Future[SpoolFailure | None] = asyncio.get_running_loop().create_future()
    office.spool.settle(Settlement(message.id, (update,)), done.set_result)
    assert await asyncio.wait_for(done, 10) is None


async def status(office: Office, *, later: bool = True) -> Any:
    """``later``: long enough after the last one to be counted anew."""
    if later:
        office.clock.advance(waiting.INTERVAL_S)
    return await office.get("/status")


async def test_an_idle_relay(office: Office) -> None:
    """Everything is there from the start, and says that there is nothing."""
    seen = await status(office)
    assert seen == {
        "pod": "relay-0",
        "config": {"hash": office.watcher.current.hash, "error": ""},
        "ready": True,
        "reasons": [],
        "queue": {
            "messages": 0, "waiting": 0, "held": 0, "bytes": 0,
            "oldest_due_seconds": 0, "oldest_arrival": None,
        },
        "sessions": {"active": 0, "limit": 2000},
        "listeners": {"smtp": {"active": 0, "limit": 2000}},
        "delivery": {"busy": 0, "slots": 500},
        "drain": {
            "state": "active", "epoch": 0, "remaining": 0,
            "handed_off": 0, "refused": {}, "unreadable": 0, "peers": {},
        },
        "routes": {
            "test/route": {
                "last_success": None, "last_failure": None,
                "waiting": 0, "oldest_arrival": None, "top_deferral": None,
            }
        },
        "unrouted": {"waiting": 0, "oldest_arrival": None, "top_deferral": None},
        "counted_at": office.clock.now(),
    }  # fmt: skip


async def test_what_other_calls_tell_is_in_it_too(office: Office) -> None:
    """Readiness, draining, the queue and what an autoscaler looks at."""
    arrival = office.clock.now()
    await office.put("a@corp.test", "b@corp.test", deliver=True)
    await office.put("c@corp.test", hold="by hand")
    await office.call("POST", "/drain")
    office.gate.sessions = {("smtp",): 3.0, ("apps",): 1.0}
    office.gate.session_limits = {("smtp",): 10.0, ("apps",): 20.0}
    seen = await status(office)
    assert (seen["ready"], seen["reasons"]) == (False, ["draining"])
    assert seen["drain"] == {
        "state": "draining", "epoch": 1, "remaining": 2,
        "handed_off": 0, "refused": {}, "unreadable": 0, "peers": {},
    }  # fmt: skip
    assert seen["queue"]["oldest_due_seconds"] == waiting.INTERVAL_S
    assert {name: seen["queue"][name] for name in ("messages", "waiting", "held", "oldest_arrival")} == {
        "messages": 2, "waiting": 2, "held": 1, "oldest_arrival": arrival,
    }  # fmt: skip
    assert seen["sessions"] == {"active": 4, "limit": 30}
    assert seen["listeners"]["apps"] == {"active": 1, "limit": 20}
    assert seen["delivery"]["busy"] == 1


async def test_waiting_recipients_are_counted_by_route(routed: Office) -> None:
    """Each once, with the arrival of the oldest; held ones wait for a person, not for a route."""
    first = routed.clock.now()
    await routed.put("a@bank.test", "b@bank.test", "c@corp.test")
    routed.clock.advance(60)
    await routed.put("d@corp.test")
    await routed.put("e@corp.test", hold="by hand")
    await routed.put("f@nowhere.test")
    seen = await status(routed)
    counted = {name: (found["waiting"], found["oldest_arrival"]) for name, found in seen["routes"].items()}
    assert counted == {"test/bank": (2, first), "test/corp": (2, first)}
    assert (seen["unrouted"]["waiting"], seen["unrouted"]["oldest_arrival"]) == (1, first + 60)


async def test_why_most_of_a_route_waits(routed: Office) -> None:
    """The commonest reason of those that wait now, as the latest was told it, and by which server."""
    await deferred(routed, "a@bank.test", NOBODY_HOME, Reason.CONNECT, None)
    await deferred(routed, "b@bank.test")
    await deferred(routed, "c@bank.test", reply(451, "4.7.1", "x" * 1000))
    await deferred(routed, "d@corp.test", NOBODY_HOME, Reason.CONNECT, None)
    await routed.put("fresh@corp.test")
    seen = (await status(routed))["routes"]
    top = seen["test/bank"]["top_deferral"]
    assert (top["reason"], top["count"], top["destination"]) == (
        "greylisted", 2, "mx.bank.test[192.0.2.25]:25",
    )  # fmt: skip
    assert top["text"].startswith("451 4.7.1 xxx")
    assert len(top["text"]) == 300
    assert seen["test/corp"]["top_deferral"] == {
        "reason": "connect", "text": "451 4.4.1 connection refused", "count": 1, "destination": "corp.test",
    }  # fmt: skip


async def test_the_operator_reads_what_the_relay_says(routed: Office) -> None:
    """Each field it knows is there, called as it calls it."""
    await deferred(routed, "a@bank.test")
    await routed.put("b@nowhere.test", hold="by hand")
    routed.metrics.delivery("test/bank", "delivered", "", 0.1, 1, 10.0)
    said = await status(routed)
    understood = report.read(msgspec.json.encode(said))
    assert isinstance(understood, report.RelayReport), understood

    def held_against(read: Any, told: Any) -> None:
        for name, value in read.items():
            if isinstance(value, dict):
                held_against(value, told[name])
            else:
                assert told[name] == value, name

    held_against(msgspec.json.decode(msgspec.json.encode(understood)), said)


async def test_mail_let_out_of_quarantine_waits_for_the_next_route(office: Office) -> None:
    """The route that will deliver it is the one to ask."""
    configure(
        office, document(2525, route(Quarantine(), name="test/review"), route(to(25), name="test/rest"))
    )
    message = await office.spool.get(await office.put("a@bank.test"))
    assert message is not None
    passed = msgspec.structs.replace(message.pending[0], quarantined=True)
    done: asyncio.Future[SpoolFailure | None] = asyncio.get_running_loop().create_future()
    office.spool.settle(Settlement(message.id, (passed,)), done.set_result)
    await asyncio.wait_for(done, 10)
    seen = await status(office)
    assert {name: found["waiting"] for name, found in seen["routes"].items()} == {
        "test/review": 0, "test/rest": 1,
    }  # fmt: skip


async def test_when_a_route_last_worked_and_last_did_not(routed: Office) -> None:
    """A refusal for good is a failure as much as a deferral is."""
    for outcome, at in (("delivered", 10.0), ("deferred", 30.0), ("failed", 20.0)):
        routed.metrics.delivery("test/bank", outcome, "", 0.1, 1, at)
    seen = (await status(routed))["routes"]
    assert (seen["test/bank"]["last_success"], seen["test/bank"]["last_failure"]) == (10.0, 30.0)
    assert (seen["test/corp"]["last_success"], seen["test/corp"]["last_failure"]) == (None, None)


async def test_a_route_that_is_gone_is_not_told_of(routed: Office) -> None:
    """What waited for it waits for the routes there are."""
    await routed.put("a@bank.test")
    await status(routed)
    configure(routed, document(2525, route(to(26), name="test/corp")))
    seen = await status(routed, later=False)
    assert {name: found["waiting"] for name, found in seen["routes"].items()} == {"test/corp": 1}


async def test_a_long_queue_is_counted_in_windows(routed: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parts are put together as if they had been one."""
    monkeypatch.setattr(survey, "WINDOW", 2)
    first = routed.clock.now()
    for _ in range(3):
        await deferred(routed, "a@bank.test")
        await routed.put("b@corp.test")
        routed.clock.advance(1)
    await deferred(routed, "last@bank.test", reply(451, "4.7.1", "the latest"))
    seen = (await status(routed))["routes"]
    assert (seen["test/bank"]["waiting"], seen["test/bank"]["oldest_arrival"]) == (4, first)
    assert (seen["test/corp"]["waiting"], seen["test/corp"]["oldest_arrival"]) == (3, first)
    top = seen["test/bank"]["top_deferral"]
    assert (top["count"], top["text"]) == (4, "451 4.7.1 the latest")


async def test_asking_often_costs_nothing(routed: Office) -> None:
    """The queue is counted every ten seconds at most, and ``counted_at`` tells when."""
    before = await status(routed)
    await routed.put("a@bank.test")
    routed.clock.advance(waiting.INTERVAL_S - 1)
    again = await status(routed, later=False)
    assert again["routes"] == before["routes"]
    assert again["counted_at"] == before["counted_at"]
    assert again["queue"]["messages"] == 1
    routed.clock.advance(1)
    assert (await status(routed, later=False))["routes"]["test/bank"]["waiting"] == 1


async def test_a_queue_that_takes_long_to_count_delays_nobody(
    routed: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last figures are told meanwhile, and how old they are."""
    before = await status(routed)
    monkeypatch.setattr(waiting, "PATIENCE_S", 0.01)
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(routed.spool, "survey", lambda _after, _responsible: answer)
    await routed.put("a@bank.test")
    meanwhile = await status(routed)
    assert (meanwhile["routes"], meanwhile["counted_at"]) == (before["routes"], before["counted_at"])
    answer.set_result(({"test/bank": survey.Tally(7, 1.0)}, None))
    assert (await status(routed, later=False))["routes"]["test/bank"]["waiting"] == 7


async def test_damaged_rows_are_passed_over(routed: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are mended by whoever delivers them; the others are counted."""
    await routed.put("a@bank.test")
    await routed.put("b@bank.test")
    unseal = survey.rows.unseal
    damaged = iter([True, False])

    def spoiled(message_id: int, blob: object) -> Any:
        return unseal(message_id, b"" if next(damaged) else blob)

    monkeypatch.setattr(survey.rows, "unseal", spoiled)
    assert (await status(routed))["routes"]["test/bank"]["waiting"] == 1


async def test_a_reload_takes_a_new_configuration_at_once(office: Office) -> None:
    """The answer says what is in force when the files have been looked at."""
    office.config.write_bytes(msgspec.json.encode(two_routes()))
    answer = await office.call("POST", "/config/reload")
    assert answer.status == 200
    assert answer.body == {"hash": office.watcher.current.hash, "error": ""}
    assert set((await status(office))["routes"]) == {"test/bank", "test/corp"}


async def test_a_reload_tells_why_a_configuration_is_not_taken(office: Office) -> None:
    """The one before stays in force, and its hash is what is told."""
    before = office.watcher.current.hash
    office.config.write_bytes(b"{")
    answer = await office.call("POST", "/config/reload")
    assert answer.body["hash"] == before
    assert "JSON" in answer.body["error"]
    assert (await status(office))["config"] == answer.body
