"""A relay that leaves gives its mail to one that stays: all of it, as it was, once."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.handoff.pair import drain, feed, ids, known, listed, relay_in, wait_empty
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until


@pytest.fixture
def leaving(tmp_path: Path) -> Iterator[RelayProcess]:
    with relay_in(tmp_path, "pool-1") as relay:
        yield relay.start()


@pytest.fixture
def staying(tmp_path: Path) -> Iterator[RelayProcess]:
    with relay_in(tmp_path, "pool-0") as relay:
        yield relay.start()


def peak_bytes(relay: RelayProcess) -> int:
    assert relay.process is not None
    status = Path(f"/proc/{relay.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def test_everything_is_as_it_was(leaving: RelayProcess, staying: RelayProcess) -> None:
    """Deferred, held and large mail: what GET /queue/ID says is the same afterwards, word for word."""
    feed(leaving, 500)
    feed(leaving, 3, content="0123456789abcdef\r\n" * 100_000, first=500)
    leaving.queue("hold", "--recipient", "n7@next.test", "--reason", "asked by legal")
    before = known(leaving)
    assert len(before) == 503
    assert drain(leaving, staying)["state"] == "draining"
    said = wait_empty(leaving)
    assert (said["remaining"], said["handed_off"], said["refused"]) == (0, 503, {})
    assert known(staying) == before
    assert sum(message["recipients"][0]["status"] == "held" for message in listed(staying)) == 1
    assert leaving.metric("waystation_handoff_messages_total", direction="out", result="accepted") == 503
    assert staying.metric("waystation_handoff_messages_total", direction="in", result="accepted") == 503
    assert {line["queue_id"] for line in leaving.log("message.handed_off")} == before.keys()
    assert {line["queue_id"] for line in staying.log("message.adopted")} == before.keys()
    assert staying.log("internal.error") == leaving.log("internal.error") == []


def test_what_was_handed_over_is_delivered_whole(leaving: RelayProcess, staying: RelayProcess) -> None:
    """The relay that stays delivers it, with the body the client has sent."""
    feed(leaving, 3, content="x" * 70 + "\r\n.dotted\r\n" + "0123456789abcdef\r\n" * 100_000)
    drain(leaving, staying)
    wait_empty(leaving)
    with Sink() as sink:
        staying.apply(route(to(sink.port)))
        assert len(staying.queue("retry", "--all")) == 2
        until(lambda: staying.queued() == 0, "an empty queue")
        assert len(sink.received) == 3
        assert all(r.content.count(b"0123456789abcdef\r\n") == 100_000 for r in sink.received)
        assert {n for r in sink.received for n in r.recipients} == {
            f"{letter}{n}@{domain}.test"
            for n in range(3)
            for letter, domain in (("n", "next"), ("m", "other"))
        }
    assert ids(staying) == []
