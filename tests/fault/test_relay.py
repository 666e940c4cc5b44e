"""The whole relay on a disk that loses, fails and refuses, with real clients and a real next hop."""

import errno
import random
from collections import Counter
from pathlib import Path

import pytest
from tests.fault.disk import Disk, Fate, lay_out, snapshot
from tests.fault.journal import read
from tests.fault.library import rule
from tests.fault.relays import Client, FaultyRelay, content, is_whole, refused_with
from tests.support import clients
from tests.support.ports import free_port
from tests.support.relay import route, to
from tests.support.sink import Sink
from tests.support.waiting import until

CLIENTS = 4


def test_power_cut_under_load(shim: Path, seed: int, tmp_path: Path) -> None:
    """Clients send, mail goes out, the power goes; whatever the disk kept, every 250 is delivered whole."""
    dice = random.Random(seed)
    journal = tmp_path / "journal"
    with Sink() as sink, FaultyRelay(tmp_path / "relay") as relay:
        relay.configure(route(to(sink.port)))
        before = snapshot(relay.data.parent)
        relay.watch(shim, journal=journal)
        relay.start()
        senders = [Client(relay.port, f"{letter}") for letter in "abcd"[:CLIENTS]]
        for sender in senders:
            sender.start()
        enough = dice.randint(40, 120)
        until(lambda: sum(len(s.promised) for s in senders) >= enough, f"{enough} promises", every_s=0.001)
        relay.kill()
        for sender in senders:
            sender.stop.set()
            sender.join(10)
        promised = {name for sender in senders for name in sender.promised}
        early = [r.recipients[0].partition("@")[0] for r in sink.received]
    disk = Disk(before)
    disk.feed(read(journal))
    for number, fate in enumerate((Fate.LOST, Fate.ANY)):
        folder = tmp_path / f"after-{number}"
        folder.mkdir()
        lay_out(disk.cut(fate, dice), folder / "disk")
        with Sink() as sink, FaultyRelay(folder) as relay:
            relay.configure(route(to(sink.port)))
            relay.start()
            until(lambda relay=relay: relay.queued() == 0, "an empty queue", within_s=20, every_s=0.05)
            assert relay.log("spool.corrupt") == []
            late = [r.recipients[0].partition("@")[0] for r in sink.received]
            assert all(is_whole(r.content) for r in sink.received)
        counts = Counter(early + late)
        twice = sum(count - 1 for count in counts.values())
        print(f"seed {seed}, {fate.value}: {len(promised)} promised, {len(counts)} arrived, {twice} twice")
        assert promised - set(counts) == set()
        assert twice <= len(early), "only what went out just before the cut goes out again"


def test_a_failed_sync_of_the_index_ends_the_process(shim: Path, tmp_path: Path) -> None:
    """The index's log cannot be synced: no 250, exit code 1 at once; what was promised is delivered later."""
    during = tmp_path / "failing"
    with Sink() as sink, FaultyRelay(tmp_path / "relay") as relay:
        relay.configure(route(to(free_port())))
        relay.watch(shim, rules=rule("sync", errno.EIO, name="spool/index-wal"), during=during)
        relay.start()
        clients.send(relay.port, "a@shop.test", "promised@next.test", content("promised", 40))
        during.touch()
        with pytest.raises(OSError) as refused:  # noqa: PT011 a reply, or nobody there: an outcome came first
            clients.send(relay.port, "a@shop.test", "unpromised@next.test", content("unpromised", 40))
        assert getattr(refused.value, "smtp_code", 421) in (421, 451)
        assert relay.process is not None
        assert relay.process.wait(10) == 1
        assert "disk I/O error" in relay.wait_log("spool.broken")["text"]
        during.unlink()
        relay.configure(route(to(sink.port)))
        relay.start()
        until(lambda: sink.to("promised@next.test"), "what was promised")
        assert is_whole(sink.to("promised@next.test")[0].content)


def test_a_disk_over_quota(shim: Path, tmp_path: Path) -> None:
    """While it lasts clients hear 452 and the log says why; what is queued stays; then all goes on."""
    during = tmp_path / "over"
    with Sink() as sink, FaultyRelay(tmp_path / "relay") as relay:
        relay.configure(route(to(sink.port)))
        relay.watch(shim, rules=rule("grow", errno.EDQUOT), during=during)
        relay.start()
        sink.answers["*"] = ["451 4.3.0 later"]
        clients.send(relay.port, "a@shop.test", "before@next.test", content("before", 2000))
        during.touch()
        codes = {refused_with(relay.port, lines) for lines in (1, 2000, 80_000)}
        assert codes <= {451, 452}
        assert 452 in codes
        assert relay.wait_log("spool.failing")["kind"] == "full"
        assert relay.get("/readyz")[0] == 503
        during.unlink()
        until(lambda: relay.get("/readyz")[0] == 200, "the relay to be ready again")
        clients.send(relay.port, "a@shop.test", "after@next.test", content("after", 2000))
        sink.answers.clear()
        sink.wait(2)
        assert {r.recipients[0] for r in sink.received} == {"before@next.test", "after@next.test"}
        assert all(is_whole(r.content) for r in sink.received)


def test_bodies_that_cannot_be_read_wait(shim: Path, tmp_path: Path) -> None:
    """Reading segments fails: those messages wait, with the reason; others go out, none is set aside."""
    during = tmp_path / "unreadable"
    with Sink() as sink, FaultyRelay(tmp_path / "relay") as relay:
        relay.configure(route(to(free_port())))
        relay.watch(shim, rules=rule("read", errno.EIO, name="spool/segments/*"), during=during)
        relay.start()
        for name, lines in (("small", 1), ("middle", 2000), ("large", 80_000)):
            clients.send(relay.port, "a@shop.test", f"{name}@next.test", content(name, lines))
        relay.kill()  # so that nothing is warm any more
        during.touch()
        relay.configure(route(to(sink.port)))
        relay.start()
        until(lambda: sink.to("small@next.test"), "what can be read")
        until(lambda: {m.get("reason") for m in waiting(relay)} == {"storage"}, "the others to be put off")
        during.unlink()
        relay.queue("retry", "--all")
        sink.wait(3)
        assert all(is_whole(r.content) for r in sink.received)
        assert relay.log("spool.corrupt") == []


def waiting(relay: FaultyRelay) -> list[dict[str, object]]:
    return [recipient for message in relay.queue("list") for recipient in message["recipients"]]
