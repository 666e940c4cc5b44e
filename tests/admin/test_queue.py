"""What a postmaster sees of the queue and does to it, through the admin port."""

import asyncio
import re

import pytest
from tests.support.office import Answer, Office

from waystation_relay.spool.identity import queue_id_of

UNKNOWN = queue_id_of(1, "ZZZZZ")


async def refused(office: Office, action: str, body: object) -> str:
    answer = await office.call("POST", f"/queue/{action}", body)
    assert answer.status == 400
    return str(answer.body["error"])


# Looking


async def test_the_list_tells_what_waits_and_why(office: Office) -> None:
    """A message never tried: where it goes, since when it waits, that it is due."""
    queue_id = await office.put("ann@corp.test")
    (message,) = (await office.get("/queue"))["messages"]
    assert message == {
        "queue_id": queue_id,
        "arrival": "2027-01-15T08:00:00Z",
        "sender": "app@shop.test",
        "size_bytes": 25,
        "active": False,
        "pending": 1,
        "recipients": [
            {
                "address": "ann@corp.test",
                "status": "waiting",
                "hold_reason": "",
                "due": "2027-01-15T08:00:00Z",
                "attempts": 0,
                "reason": "",
                "reply": "",
                "remote": "",
                "last_attempt": None,
                "warned": False,
            }
        ],
    }


async def test_one_message_with_its_whole_history(office: Office) -> None:
    """Envelope and origin too, for who has to explain what happened."""
    queue_id = await office.put("ann@corp.test", "bob@corp.test")
    await office.change("delete", recipient="bob@corp.test")
    message = await office.get(f"/queue/{queue_id}")
    assert [r["address"] for r in message["recipients"]] == ["ann@corp.test"]
    assert message["finished"] == ["bob@corp.test"]
    assert message["origin"] == {
        "listener": "smtp", "protocol": "ESMTP", "client": "192.0.2.7", "helo": "app.shop.test", "user": "",
    }  # fmt: skip
    assert message["envelope"] == {"body": "7BIT", "smtputf8": False, "ret": None, "envid": None}


async def test_what_is_being_delivered_is_active(office: Office) -> None:
    """``active`` tells a message that is being worked on from one that only waits."""
    await office.put("ann@corp.test", deliver=True)
    (message,) = (await office.get("/queue"))["messages"]
    assert message["active"] is True


@pytest.mark.parametrize("queue_id", ["nonesuch", UNKNOWN, "%2e%2e", "%00"])
async def test_an_unknown_queue_id_is_not_found(office: Office, queue_id: str) -> None:
    """404, and the answer names what was asked for."""
    assert (await office.call("GET", f"/queue/{queue_id}")).status == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [
        pytest.param("domain=corp.test", ["ann", "bob"], id="domain"),
        pytest.param("domain=CORP.test", ["ann", "bob"], id="domain, without regard to case"),
        pytest.param("recipient=Ann@corp.test", ["ann"], id="recipient"),
        pytest.param("sender=news@shop.test", ["bob"], id="sender"),
        pytest.param("sender=%3C%3E", ["cid"], id="null sender"),
        pytest.param("sender-domain=shop.test", ["ann", "bob"], id="sender's domain"),
        pytest.param("status=held", ["cid"], id="held"),
        pytest.param("status=waiting", ["ann", "bob"], id="waiting"),
        pytest.param("reason=quarantined", ["cid"], id="text of the hold"),
        pytest.param("older-than=1m", ["ann"], id="older"),
        pytest.param("younger-than=1m", ["bob", "cid"], id="younger"),
        pytest.param("domain=corp.test&younger-than=1m", ["bob"], id="both"),
        pytest.param("domain=nowhere.test", [], id="nothing"),
    ],
)
async def test_filters_choose(office: Office, query: str, found: list[str]) -> None:
    """Every filter alone, and all of several."""
    await office.put("ann@corp.test")
    office.clock.advance(120)
    await office.put("bob@corp.test", sender="news@shop.test")
    await office.put("cid@else.test", sender="", hold="quarantined")
    assert [a.partition("@")[0] for a in await office.queued(f"?{query}")] == found


async def test_a_list_by_ids(office: Office) -> None:
    """Several ids at once; unknown ones are simply not there."""
    ids = [await office.put(f"r{n}@corp.test") for n in range(3)]
    assert await office.queued(f"?id={ids[0]}&id={ids[2]}&id={UNKNOWN}") == ["r0@corp.test", "r2@corp.test"]


async def test_pages_follow_each_other(office: Office) -> None:
    """A long queue is read in pages; each names where the next begins, and the last says it is the last."""
    for n in range(7):
        await office.put(f"r{n}@corp.test")
    seen: list[str] = []
    after: str | None = "0"
    sizes = []
    while after is not None:
        page = await office.get(f"/queue?limit=3&after={after}")
        seen += [m["recipients"][0]["address"] for m in page["messages"]]
        sizes.append(len(page["messages"]))
        after = page["next"]
    assert seen == [f"r{n}@corp.test" for n in range(7)]
    assert sizes == [3, 3, 1]


async def test_a_message_with_many_recipients_does_not_swell_the_list(office: Office) -> None:
    """The list shows the first recipients and says how many there are; ``show`` has them all."""
    queue_id = await office.put(*(f"r{n}@corp.test" for n in range(200)))
    (message,) = (await office.get("/queue"))["messages"]
    assert (message["pending"], len(message["recipients"])) == (200, 50)
    assert len((await office.get(f"/queue/{queue_id}"))["recipients"]) == 200


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=many",
        "after=-1",
        "after=²",
        f"after={'9' * 30}",
        "nope=1",
        "domain=a.test&domain=b.test",
    ],
)
async def test_a_wrong_question_is_refused(office: Office, query: str) -> None:
    """400 with what would be right."""
    answer = await office.call("GET", f"/queue?{query}")
    assert answer.status == 400
    assert answer.body["remedy"]


# Changing


async def test_hold_and_release(office: Office) -> None:
    """Held mail says why; released mail is due at once."""
    queue_id = await office.put("ann@corp.test")
    answer = await office.call(
        "POST", "/queue/hold", {"filter": {"id": [queue_id]}, "reason": "asked by legal"}
    )
    assert answer.body == {"changed": 1, "unknown": []}
    (recipient,) = (await office.get(f"/queue/{queue_id}"))["recipients"]
    assert (recipient["status"], recipient["hold_reason"], recipient["due"]) == (
        "held",
        "asked by legal",
        None,
    )
    office.clock.advance(60)
    await office.change("release", id=queue_id)
    (recipient,) = (await office.get(f"/queue/{queue_id}"))["recipients"]
    assert (recipient["status"], recipient["hold_reason"]) == ("waiting", "")
    assert recipient["due"] == "2027-01-15T08:01:00Z"


async def test_a_change_is_for_the_recipients_that_match(office: Office) -> None:
    """One of three recipients is held; the others wait on."""
    queue_id = await office.put("a@corp.test", "b@else.test", "c@corp.test")
    assert (await office.change("hold", domain="else.test"))["changed"] == 1
    message = await office.get(f"/queue/{queue_id}")
    assert [r["status"] for r in message["recipients"]] == ["waiting", "held", "waiting"]


async def test_delete_removes_without_a_word(office: Office) -> None:
    """What is deleted is gone, and nobody gets a report."""
    for n in range(3):
        await office.put(f"r{n}@corp.test")
    keep = await office.put("keep@else.test")
    assert (await office.change("delete", domain="corp.test"))["changed"] == 3
    (message,) = (await office.get("/queue"))["messages"]
    assert message["queue_id"] == keep


async def test_bounce_tells_the_sender(office: Office) -> None:
    """The recipient leaves, and a report with the person's words is in the queue in its place."""
    await office.put("ann@corp.test")
    answer = await office.call(
        "POST", "/queue/bounce", {"filter": {"domain": "corp.test"}, "reason": "the server is no more"}
    )
    assert answer.body["changed"] == 1
    (report,) = (await office.get("/queue"))["messages"]
    assert report["sender"] == ""
    assert [r["address"] for r in report["recipients"]] == ["app@shop.test"]
    (failed,) = office.log.of("message.failed")
    assert "the server is no more" in str(failed["reply"])


async def test_bounce_is_for_the_recipients_that_match(office: Office) -> None:
    """Of one message's two recipients the other waits on."""
    queue_id = await office.put("a@corp.test", "b@else.test")
    await office.change("bounce", domain="else.test")
    message = await office.get(f"/queue/{queue_id}")
    assert [r["address"] for r in message["recipients"]] == ["a@corp.test"]
    assert message["finished"] == ["b@else.test"]


async def test_all_must_be_said(office: Office) -> None:
    """A change without a filter is a mistake, unless it says that it means every message."""
    await office.put("ann@corp.test")
    for action in ("hold", "release", "retry", "delete", "bounce"):
        assert "without a filter" in await refused(office, action, {})
        assert "without a filter" in await refused(office, action, {"filter": {}, "all": False})
    assert len(await office.queued()) == 1
    answer = await office.call("POST", "/queue/delete", {"all": True})
    assert answer.body["changed"] == 1
    assert await office.queued() == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"al": true}', id="unknown field"),
        pytest.param(b'{"all": "yes"}', id="text for a truth value"),
        pytest.param(b'{"filter": {"domian": "x"}, "all": true}', id="unknown filter"),
        pytest.param(b'{"filter": {"domain": "x"}, "reason": "two\\nlines"}', id="a reason of two lines"),
        pytest.param(b'{"all": true, "reason": "' + b"x" * 1001 + b'"}', id="a reason too long"),
        pytest.param(b'{"all": true}\xff', id="not UTF-8"),
    ],
)
async def test_a_body_that_is_not_understood_changes_nothing(office: Office, body: bytes) -> None:
    """400, and the message is still there."""
    await office.put("ann@corp.test")
    answer = await office.call("POST", "/queue/delete", data=body)
    assert answer.status == 400
    assert await office.queued() == ["ann@corp.test"]


async def test_a_body_is_bounded(office: Office) -> None:
    """Nobody makes the relay read more than it needs: 413."""
    answer = await office.call("POST", "/queue/delete", data=b" " * 100_000)
    assert answer.status == 413
    assert answer.body["remedy"]


async def test_unknown_ids_are_named(office: Office) -> None:
    """What could be changed is changed; what is not there is said."""
    queue_id = await office.put("ann@corp.test")
    answer = await office.change("hold", id=[queue_id, UNKNOWN, "nonesuch"])
    assert answer == {"changed": 1, "unknown": [UNKNOWN, "nonesuch"]}


async def test_who_changed_what_is_in_the_log(office: Office) -> None:
    """One line names the action, the messages meant, how many there were, and from where it came."""
    await office.put("ann@corp.test")
    await office.change("hold", domain="corp.test")
    (line,) = office.log.of("queue.changed")
    assert line == {
        "action": "hold",
        "filter": {"domain": "corp.test"},
        "reason": "",
        "count": 1,
        "client": "127.0.0.1",
    }


async def test_the_way_of_a_message_in_the_log_includes_what_people_did(office: Office) -> None:
    """Who searches the log for a queue id finds that it was held, released and deleted, and why."""
    queue_id = await office.put("ann@corp.test")
    await office.call("POST", "/queue/hold", {"filter": {"id": queue_id}, "reason": "asked by legal"})
    await office.change("release", id=queue_id)
    await office.call("POST", "/queue/delete", {"filter": {"id": queue_id}, "reason": "spam"})
    assert [(event, fields) for event, fields in office.log.lines if event != "queue.changed"] == [
        ("message.held", {"queue_id": queue_id, "reason": "asked by legal"}),
        ("message.released", {"queue_id": queue_id}),
        ("message.deleted", {"queue_id": queue_id, "reason": "spam"}),
    ]


async def test_a_closed_spool_is_no_crash(office: Office) -> None:
    """A relay that is stopping answers 503, not 500."""
    await office.put("ann@corp.test")
    await office.spool.close()
    answers: list[Answer] = await asyncio.gather(
        office.call("GET", "/queue"), office.call("POST", "/queue/hold", {"all": True})
    )
    assert [answer.status for answer in answers] == [503, 503]
    assert office.log.of("internal.error") == []


async def test_a_queue_id_can_be_written_in_small_letters(office: Office) -> None:
    """People type."""
    queue_id = await office.put("ann@corp.test")
    assert (await office.get(f"/queue/{queue_id.lower()}"))["queue_id"] == queue_id
    assert re.fullmatch(r"[0-9A-Z]{11}-[0-9A-Z]{5}", queue_id)
