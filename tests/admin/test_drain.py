"""Draining: no new sessions, the queue empties, and emptiness is only said when it is proven."""

from tests.support.office import Office


async def test_draining_keeps_new_sessions_out(office: Office) -> None:
    """POST begins, DELETE ends it, and both may be said twice."""
    for _ in range(2):
        assert (await office.call("POST", "/drain")).body["state"] == "empty"
        assert office.gate.cordoned
    for _ in range(2):
        assert (await office.call("DELETE", "/drain")).body["state"] == "active"
        assert not office.gate.cordoned
    assert [fields["epoch"] for fields in office.log.of("drain.started")] == [1]
    assert len(office.log.of("drain.cancelled")) == 1


async def test_empty_means_no_message_and_no_session(office: Office) -> None:
    """A session that is still open may bring a message: the relay is not empty before it has ended."""
    await office.put("ann@corp.test", hold="by hand")
    await office.call("POST", "/drain")
    assert (await office.get("/drain"))["remaining"] == 1
    office.gate.sessions = {("smtp",): 1.0}
    await office.call("POST", "/queue/delete", {"all": True})
    seen = await office.get("/drain")
    assert (seen["state"], seen["remaining"], seen["sessions"]) == ("draining", 0, 1)
    office.gate.sessions = {("smtp",): 0.0}
    assert (await office.get("/drain"))["state"] == "empty"


async def test_held_mail_keeps_a_relay_from_being_empty(office: Office) -> None:
    """What waits for a person must not vanish with the pod."""
    await office.put("ann@corp.test", hold="quarantined")
    assert (await office.call("POST", "/drain")).body["state"] == "draining"


async def test_each_draining_has_its_own_number(office: Office) -> None:
    """Two readings of empty prove something only when nothing came in between: the epoch says so."""
    first = (await office.call("POST", "/drain")).body
    await office.call("DELETE", "/drain")
    office.clock.advance(60)
    second = (await office.call("POST", "/drain")).body
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert second["since"] == first["since"] + 60


async def test_an_active_relay_tells_what_there_would_be_to_do(office: Office) -> None:
    """``remaining`` can be read before draining begins; the state is active whatever it is."""
    await office.put("ann@corp.test")
    assert await office.get("/drain") == {
        "state": "active", "epoch": 0, "since": None, "remaining": 1, "sessions": 0,
        "handed_off": 0, "refused": {}, "unreadable": 0, "peers": {},
    }  # fmt: skip
