"""A relay that leaves gives its mail to one that stays: all of it, as it was, once."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.handoff.pair import (
    LATER,
    drain,
    feed,
    ids,
    known,
    listed,
    progress,
    relay_in,
    url,
    wait_empty,
)
from tests.support.effort import LONG
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, listener, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import Limits, Queue

LINES = "0123456789abcdef\r\n" * 100_000
SMALL = 500 if LONG else 100
ALL = SMALL + 3
HUGE_BYTES = (50 if LONG else 25) * 2**20


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
    """Deferred, held and large mail: what GET /queue/ID says is the same, and it is delivered whole."""
    feed(leaving, SMALL)
    feed(leaving, 3, content=LINES, first=SMALL)
    leaving.queue("hold", "--recipient", "n7@next.test", "--reason", "asked by legal")
    before = known(leaving)
    assert len(before) == ALL
    assert drain(leaving, staying)["state"] == "draining"
    wait_empty(leaving)
    until(lambda: progress(leaving)["handed_off"] == ALL, "the last to be counted")
    assert progress(leaving)["refused"] == {}
    assert known(staying) == before
    assert sum(message["recipients"][0]["status"] == "held" for message in listed(staying)) == 1
    assert leaving.metric("waystation_handoff_messages_total", direction="out", result="accepted") == ALL
    assert staying.metric("waystation_handoff_messages_total", direction="in", result="accepted") == ALL
    assert {line["queue_id"] for line in leaving.log("message.handed_off")} == before.keys()
    assert {line["queue_id"] for line in staying.log("message.adopted")} == before.keys()
    with Sink() as sink:
        staying.apply(route(to(sink.port)))
        staying.queue("release", "--all")
        staying.queue("retry", "--all")
        until(lambda: staying.queued() == 0, "an empty queue", within_s=30)
    assert all((LINES.encode() in r.content) or len(r.content) < 1_000 for r in sink.received)
    assert sum((LINES.encode() in r.content) for r in sink.received) == 3
    assert sorted(name for r in sink.received for name in r.recipients) == sorted(
        f"{letter}{n}@{domain}.test" for n in range(ALL) for letter, domain in (("n", "next"), ("m", "other"))
    ), "each once"
    assert staying.log("internal.error") == leaving.log("internal.error") == []


def test_a_full_relay_takes_nothing(leaving: RelayProcess, tmp_path: Path) -> None:
    """Its own rules for new mail count: everything stays where it is, until there is room."""
    with relay_in(tmp_path, "pool-2", queue=Queue(max_bytes=2**20, full_at_percent=50)) as full:
        full.start()
        feed(full, 1, content="x" * 78 + "\r\n" + ("y" * 78 + "\r\n") * 8_000)
        assert full.get("/readyz")[0] == 503
        feed(leaving, 5)
        before = ids(leaving)
        drain(leaving, full)
        until(lambda: progress(leaving)["peers"] == {url(full): "full"}, "the refusal")
        assert ids(leaving) == before
        full.queue("delete", "--all")
        wait_empty(leaving)
        assert ids(full) == before


def test_cancelled_in_the_middle(leaving: RelayProcess, staying: RelayProcess) -> None:
    """What has left is at the other relay, the rest is here, and the relay takes mail again."""
    feed(leaving, 400, content="x" * 70 + ("y" * 70 + "\r\n") * 1_000)
    before = known(leaving)
    drain(leaving, staying)
    until(lambda: progress(leaving)["handed_off"] > 0, "some to be handed over", every_s=0.001)
    leaving.request("DELETE", "/drain")
    assert leaving.get("/readyz")[0] == 200
    until(lambda: not any(message["active"] for message in listed(leaving)), "batches to be settled")
    here, there = known(leaving), known(staying)
    assert {**here, **there} == before
    assert not here.keys() & there.keys()
    drain(leaving, staying)
    wait_empty(leaving)
    assert known(staying) == before


def test_memory_is_bounded(tmp_path: Path) -> None:
    """Messages of many megabytes pass through both relays in pieces."""
    size = HUGE_BYTES
    fields = {"limits": Limits(max_message_bytes=2 * size)}
    with relay_in(tmp_path, "pool-1") as leaving, relay_in(tmp_path, "pool-0") as staying:
        for relay in (leaving, staying):
            relay.configure(route(to(free_port()), retry=LATER), listeners=(listener(relay.port, **fields),))
            relay.start()
        feed(leaving, 1, content="0123456789abcde\r\n" * (size // 17))
        before = known(leaving)
        assert [message["size_bytes"] > 0.99 * size for message in before.values()] == [True]
        peaks = [peak_bytes(relay) for relay in (leaving, staying)]
        drain(leaving, staying)
        wait_empty(leaving)
        assert known(staying) == before
        grown = [peak_bytes(relay) - peak for relay, peak in zip((leaving, staying), peaks, strict=True)]
        assert max(grown) < 16 * 2**20, grown
