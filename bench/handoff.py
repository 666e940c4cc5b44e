"""How fast one relay gives its queue to another: ``python -m bench.handoff [--messages N] [--size BYTES]``.

Two real relays on this machine and its disk share its processors. The first
is filled with messages that are due in an hour and is then drained; what
counts is the time from ``POST /drain`` until it says that it is empty. The
processor time of both is printed beside it, as they seldom share two cores
with nothing else.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from tests.handoff.pair import drain, progress, relay_in, wait_empty
from tests.support.relay import RelayProcess
from tests.support.spools import envelope, text
from tests.support.waiting import until

from waystation_relay.aio.clock import SystemClock
from waystation_relay.mail.envelope import Origin
from waystation_relay.mail.message import Progress
from waystation_relay.spool.adopt import Adoption
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import SpoolFailure, SpoolLimits

WITHIN_S = 600.0


async def fill(spool_folder: Path, messages: int, size_bytes: int) -> None:
    """Messages attempted once and due in an hour, straight into the spool."""
    loop = asyncio.get_running_loop()
    spool = Spool.open(spool_folder, clock=SystemClock(), limits=SpoolLimits(max_bytes=2**40), loop=loop)
    spool.start()
    now = time.time()
    what = Adoption(
        "", "", envelope("bob@next.test"), Origin("smtp", "ESMTP", "192.0.2.1", "client.test"), now - 60,
        (Progress(0, due=now + 3600, attempts=1, last_attempt=now - 50),),
    )  # fmt: skip
    for start in range(0, messages, 500):
        waits = []
        for n in range(start, min(start + 500, messages)):
            draft = spool.draft()
            draft.append(text(size_bytes, n))
            done: asyncio.Future[SpoolFailure | None] = loop.create_future()
            named = msgspec.structs.replace(what, name=draft.queue_id, queue_id=draft.queue_id)
            spool.adopt(draft, named, done.set_result)
            waits.append(done)
        assert set(await asyncio.gather(*waits)) == {None}
    await spool.close()


def processor_s(relay: RelayProcess) -> float:
    return relay.metric("process_cpu_seconds_total")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    options.add_argument("--messages", type=int, default=20_000)
    options.add_argument("--size", type=int, default=4096, help="bytes of each")
    given = options.parse_args()
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as folder,
        relay_in(Path(folder), "pool-1") as leaving,
        relay_in(Path(folder), "pool-0") as staying,
    ):
        asyncio.run(fill(leaving.data, given.messages, given.size))
        leaving.start()
        staying.start()
        before = [processor_s(relay) for relay in (leaving, staying)]
        began = time.monotonic()
        drain(leaving, staying)
        wait_empty(leaving, within_s=WITHIN_S)
        took_s = time.monotonic() - began
        spent = [processor_s(relay) - s for relay, s in zip((leaving, staying), before, strict=True)]
        until(lambda: progress(leaving)["handed_off"] == given.messages, "the last to be counted")
    per_message = [s / given.messages * 1e6 for s in spent]
    print(
        f"{given.messages} messages of {given.size} bytes in {took_s:.1f} s: "
        f"{given.messages / took_s:,.0f} a second; "
        f"processor time a message: {per_message[0]:.0f} µs leaving, {per_message[1]:.0f} µs staying"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
