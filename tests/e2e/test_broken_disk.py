"""The disk fails a sync: nobody knows what it holds now, so the process ends and the next one recovers."""

import smtplib
import sys
from pathlib import Path

import pytest
from tests.support import clients
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

# The relay, with a disk whose second sync of a body file fails.
FAILING = """
import errno, itertools, os
from waystation.__main__ import main
count, sync = itertools.count(1), os.fdatasync
def failing(fd):
    if next(count) >= SYNCS:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    sync(fd)
os.fdatasync = failing
main(prog_name="waystation")
"""
LARGE = clients.mail("large", "0123456789abcde\n" * 4000)  # above what is kept in the index


class OnFailingDisk(RelayProcess):
    syncs = 1_000_000

    def command(self) -> list[str]:
        _, _, _, *arguments = super().command()
        return [sys.executable, "-c", FAILING.replace("SYNCS", str(self.syncs)), *arguments]


def test_a_failed_sync_ends_the_process_and_loses_nothing(tmp_path: Path, sink: Sink) -> None:
    """No 250 for what could not be synced; exit code 1 at once, for the kubelet to start it anew; then all is
    delivered that ever got a 250."""
    relay = OnFailingDisk(tmp_path / "relay-0")
    try:
        relay.configure(route(to(free_port())))
        relay.syncs = 3  # the spool's format file and the first message's body
        relay.start()
        clients.send(relay.port, "a@shop.test", "promised@next.test", LARGE)
        with pytest.raises((smtplib.SMTPException, OSError)):
            clients.send(relay.port, "a@shop.test", "unpromised@next.test", LARGE)
        assert relay.process is not None
        assert relay.process.wait(10) == 1
        assert relay.log("spool.broken")
        assert relay.log("relay.stopping")
        assert relay.log()[-1]["event"] == "relay.stopped"
        relay.syncs = 1_000_000
        relay.configure(route(to(sink.port)))
        relay.start()
        until(lambda: sink.to("promised@next.test"), "what was promised")
        assert relay.stop() == 0
    finally:
        relay.close()
