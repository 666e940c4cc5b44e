"""The relay on a real volume that is full, has no inodes left, or is turned read-only by the kernel."""

import shutil
import smtplib
from pathlib import Path

from tests.fault.relays import FaultyRelay, content, is_whole, refused_with
from tests.fault.volume import Volume, volume
from tests.support import clients
from tests.support.relay import route, to
from tests.support.sink import Sink
from tests.support.waiting import until

SIZES = {
    "small": 5,
    "middle": 4000,
    "large": 80_000,
}  # lines: in the index, in a segment, in a file of its own


def relay_on(disk: Volume, folder: Path) -> FaultyRelay:
    return FaultyRelay(folder / "relay", data=disk.folder / "spool")


def queue_some(relay: FaultyRelay, sink: Sink, when: str) -> set[str]:
    """Mail of each size that stays in the queue for now."""
    sink.answers["*"] = ["451 4.3.0 later"]
    for size, lines in SIZES.items():
        clients.send(relay.port, "a@shop.test", f"{when}-{size}@next.test", content(f"{when}-{size}", lines))
    until(lambda: relay.queued() == len(SIZES), "the mail in the queue")
    return {f"{when}-{size}@next.test" for size in SIZES}


def delivered(relay: FaultyRelay, sink: Sink, wanted: set[str]) -> None:
    """All of it goes out, whole."""
    sink.answers.clear()
    relay.queue("retry", "--all")
    sink.wait(len(wanted))
    assert {r.recipients[0] for r in sink.received} == wanted
    assert all(is_whole(r.content) for r in sink.received)
    until(lambda: relay.queued() == 0, "an empty queue")


def test_a_volume_full_to_the_last_byte(tmp_path: Path) -> None:
    """New mail is refused for now, the queue goes out all the same; with room again, mail is taken."""
    with volume(tmp_path) as disk, Sink() as sink, relay_on(disk, tmp_path) as relay:
        relay.configure(route(to(sink.port)))
        relay.start()
        wanted = queue_some(relay, sink, "before")
        filler = disk.fill()
        codes = {refused_with(relay.port, lines) for lines in SIZES.values()}
        assert codes <= {451, 452}
        assert relay.get("/readyz")[0] == 503
        delivered(relay, sink, wanted)
        filler.unlink()
        until(lambda: relay.get("/readyz")[0] == 200, "the relay to be ready again")
        clients.send(relay.port, "a@shop.test", "after@next.test", content("after", 4000))
        until(lambda: sink.to("after@next.test"), "new mail")
        assert relay.stop() == 0


def test_a_volume_without_inodes(tmp_path: Path) -> None:
    """No new file can be made: told as a full disk; queued mail goes out, and later all is taken again."""
    with volume(tmp_path) as disk, Sink() as sink, relay_on(disk, tmp_path) as relay:
        relay.configure(route(to(sink.port)))
        relay.start()
        wanted = queue_some(relay, sink, "before")
        many = disk.use_up_inodes()
        assert refused_with(relay.port, SIZES["large"]) == 452
        assert "No space left" in relay.wait_log("spool.failing", kind="full")["text"]
        delivered(relay, sink, wanted)
        shutil.rmtree(many)
        until(lambda: relay.get("/readyz")[0] == 200, "the relay to be ready again")
        clients.send(relay.port, "a@shop.test", "after@next.test", content("after", SIZES["large"]))
        until(lambda: sink.to("after@next.test"), "new mail")
        assert relay.stop() == 0


def test_a_volume_that_the_kernel_gives_up(tmp_path: Path) -> None:
    """Turned read-only in the midst of work: nothing is promised any more, and nothing that was is lost."""
    with volume(tmp_path) as disk, Sink() as sink, relay_on(disk, tmp_path) as relay:
        relay.configure(route(to(sink.port)))
        relay.start()
        wanted = queue_some(relay, sink, "before")
        disk.fail()
        for lines in SIZES.values():
            try:
                assert refused_with(relay.port, lines) in (421, 451, 452)
            except smtplib.SMTPException:
                raise
            except OSError:  # it has ended, as it must when a sync fails
                break
        assert relay.log("spool.failing") or relay.log("spool.broken")
        relay.kill()
        code, said = relay.run_to_end()
        assert code == 1
        assert "Read-only file system" in said
        disk.unmount()
        disk.repair()
        disk.mount()
        relay.start()
        delivered(relay, sink, wanted)
        assert relay.stop() == 0
