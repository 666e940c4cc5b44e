"""Makes a queue on disk: any number of deferred messages, written through ``Spool`` itself.

    python -m bench.fill FOLDER MESSAGES [--bytes 4096] [--domain later.test] [--due-in 1800 3500]

Every message is accepted as from a client and then put off as after three
failed attempts, so that the rows are those a real backlog has. Due times are
spread evenly over the interval. (Keep it within the retry settings: what is due
later than they could have put it a relay takes for the trace of a wrong clock,
and attempts at once.) No relay may run on the folder meanwhile; the spool's
lock sees to that. Repeating it adds to the queue.
"""

import argparse
import asyncio
import dataclasses
import time
from pathlib import Path

from waystation_relay.aio.clock import SystemClock
from waystation_relay.mail.envelope import Envelope, Origin, Recipient
from waystation_relay.mail.message import Progress
from waystation_relay.mail.outcome import Reason, Remote
from waystation_relay.mail.reply import reply
from waystation_relay.spool.spool import Spool
from waystation_relay.spool.values import Settlement, SpoolFailure, SpoolLimits

WINDOW = 1000  # messages under way at once: what a batch of the writer takes
LIMITS = SpoolLimits(max_bytes=2**40, full_at_percent=100)
REPLY = reply(451, "4.3.0", "try again later")
HEAD = (
    b"Received: from source.test ([127.0.0.1]) by relay.test with ESMTP id x; "
    b"Thu, 01 Jan 2026 00:00:00 +0000\r\n"
    b"From: <load@source.test>\r\nTo: <load@later.test>\r\nSubject: load\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <load@source.test>\r\n\r\n"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """``due_in_s``: the first and the last due time, from now."""

    messages: int
    size_bytes: int = 4096
    domain: str = "later.test"
    due_in_s: tuple[float, float] = (1800.0, 3500.0)


def fill(folder: Path, plan: Plan) -> float:
    """Adds the messages; how many seconds it took."""
    start = time.monotonic()
    asyncio.run(_fill(folder, plan))
    return time.monotonic() - start


def content_of(size_bytes: int) -> bytes:
    line = b"X" * 76 + b"\r\n"
    body = HEAD + line * (max(0, size_bytes - len(HEAD)) // len(line) + 1)
    return body[: max(size_bytes, len(HEAD)) - 2] + b"\r\n"


async def _fill(folder: Path, plan: Plan) -> None:
    spool = Spool.open(folder, clock=SystemClock(), limits=LIMITS, loop=asyncio.get_running_loop())
    spool.start()
    try:
        content = content_of(plan.size_bytes)
        now = time.time()
        first, last = (now + seconds for seconds in plan.due_in_s)
        for begin in range(0, plan.messages, WINDOW):
            numbers = range(begin, min(plan.messages, begin + WINDOW))
            due = {number: first + (last - first) * number / plan.messages for number in numbers}
            await _window(spool, content, plan.domain, due)
    finally:
        await spool.close()


async def _window(spool: Spool, content: bytes, domain: str, due: dict[int, float]) -> None:
    loop = asyncio.get_running_loop()
    finished: asyncio.Future[None] = loop.create_future()
    left = len(due)

    def done(failure: SpoolFailure | None) -> None:
        nonlocal left
        left -= 1
        if failure is not None and not finished.done():
            finished.set_exception(RuntimeError(f"the spool refused: {failure.text}"))
        elif left == 0 and not finished.done():
            finished.set_result(None)

    origin = Origin("smtp", "ESMTP", "127.0.0.1", "source.test")
    remote = Remote(f"mx.{domain}", "127.0.0.1", 25)
    ids: list[tuple[int, float]] = []
    for number, when in due.items():
        draft = spool.draft()
        draft.append(content)
        ids.append((draft.id, when))
        envelope = Envelope(f"user{number % 1000}@source.test", (Recipient(f"user{number}@{domain}"),))
        spool.accept(draft, envelope, origin, done)
    await finished
    finished, left = loop.create_future(), len(due)
    for message_id, when in ids:
        progress = Progress(
            0, due=when, attempts=3, last_reply=REPLY, last_reason=Reason.OTHER, last_remote=remote,
            last_attempt=time.time(),
        )  # fmt: skip
        spool.settle(Settlement(message_id, updates=(progress,)), done)
    await finished


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the relay's --data folder")
    parser.add_argument("messages", type=int)
    parser.add_argument("--bytes", type=int, default=4096, help="size of each (default: %(default)s)")
    parser.add_argument("--domain", default="later.test", help="of the recipients (default: %(default)s)")
    parser.add_argument("--due-in", type=float, nargs=2, default=(1800.0, 3500.0), metavar=("FROM", "TO"))
    options = parser.parse_args()
    plan = Plan(options.messages, options.bytes, options.domain, tuple(options.due_in))
    seconds = fill(options.folder, plan)
    print(f"{plan.messages:,} messages in {seconds:.1f} s")


if __name__ == "__main__":
    main()
