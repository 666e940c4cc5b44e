"""Any sequence of operations leaves the queue that a dictionary would: contents, progress and figures."""

import asyncio
import dataclasses
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule
from tests.support.spools import TINY, SpoolUser, report, text

from waystation_relay.aio.clock import ManualClock
from waystation_relay.mail.message import Progress, Status
from waystation_relay.mail.outcome import Reason
from waystation_relay.spool.values import Action, Delete, Hold, Query, Release, RetryNow

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
SIZES = st.sampled_from([0, 1, 90, 101, 300, 700, 1_500, 2_001, 2_600, 5_000])
NAMES = ("ann", "bob", "carl")
PEOPLE = st.lists(
    st.sampled_from([f"{n}@{d}.test" for n in NAMES for d in ("near", "far")]), min_size=1, max_size=4
)
FILTERS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"domain": "far.test"},
        {"recipient": "ann@near.test"},
        {"status": Status.HELD},
        {"status": Status.WAITING},
        {"reason": "greylisted"},
        {"reason": "by hand"},
        {"recipient": "bob@far.test", "status": Status.WAITING},
    ]
)
ACTIONS: st.SearchStrategy[Action] = st.sampled_from(
    [Hold("by hand"), Release(), RetryNow(), Delete("unwanted")]
)


@dataclasses.dataclass
class Expected:
    """A message as it should be."""

    content: bytes
    recipients: list[str]
    pending: dict[int, Progress]
    arrival: float


def matches(wanted: dict[str, Any], address: str, progress: Progress) -> bool:
    """The same question as ``query.conditions`` asks of one recipient, in other words."""
    reasons = {progress.hold_reason, progress.last_reason.value if progress.last_reason else ""}
    return all(
        {
            "domain": lambda value: address.endswith(f"@{value}"),
            "recipient": lambda value: address == value,
            "status": lambda value: progress.status is value,
            "reason": lambda value: value in reasons,
        }[key](value)
        for key, value in wanted.items()
    )


class Queue(RuleBasedStateMachine):
    """A spool, and a dictionary of what it should hold."""

    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.clock = ManualClock()
        self.model: dict[int, Expected] = {}
        self.seed = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @initialize()
    def start(self) -> None:
        async def opened() -> SpoolUser:
            return SpoolUser(self.folder / "spool", clock=self.clock, tuning=TINY)

        self.user = self.run(opened())

    def teardown(self) -> None:
        self.run(self.user.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def expect(self, message_id: int, content: bytes, recipients: list[str], hold: str) -> None:
        status = Status.HELD if hold else Status.WAITING
        self.model[message_id] = Expected(
            content,
            recipients,
            {n: Progress(n, status, self.clock.now(), hold_reason=hold) for n in range(len(recipients))},
            self.clock.now(),
        )

    @rule(target=messages, size=SIZES, people=PEOPLE, hold=st.sampled_from(["", "", "", "by hand"]))
    def accept(self, size: int, people: list[str], hold: str) -> int:
        self.seed += 1
        content = text(size, self.seed)
        draft = self.run(self.user.take(content, *people, hold=hold, chunk=900))
        self.expect(draft.id, content, people, hold)
        return int(draft.id)

    @rule(size=SIZES)
    def discard(self, size: int) -> None:
        self.run(self.user.draft(text(size), chunk=400)).discard()

    @rule(message=messages, numbers=st.sets(st.integers(0, 3)))
    def deliver(self, message: int, numbers: set[int]) -> None:
        assert self.run(self.user.settle(message, removed=tuple(numbers))) is None
        if message in self.model:
            pending = self.model[message].pending
            for number in numbers:
                pending.pop(number, None)
            if numbers and not pending:
                del self.model[message]

    @rule(message=messages, number=st.integers(0, 3), seconds=st.integers(0, 7_200))
    def defer(self, message: int, number: int, seconds: int) -> None:
        due = self.clock.now() + seconds
        update = Progress(number, due=due, attempts=3, last_reason=Reason.GREYLISTED, last_attempt=5.0)
        assert self.run(self.user.settle(message, updates=(update,))) is None
        found = self.model[message].pending.get(number) if message in self.model else None
        if found is not None:
            self.model[message].pending[number] = msgspec.structs.replace(
                update, status=found.status, hold_reason=found.hold_reason
            )

    @rule(message=messages, number=st.integers(0, 3))
    def quarantine(self, message: int, number: int) -> None:
        update = Progress(number, Status.HELD, due=5.0, hold_reason="by hand", quarantined=True)
        assert self.run(self.user.settle(message, updates=(update,))) is None
        found = self.model[message].pending.get(number) if message in self.model else None
        if found is not None:
            kept = found.hold_reason if found.status is Status.HELD else "by hand"
            self.model[message].pending[number] = msgspec.structs.replace(update, hold_reason=kept)

    @rule(target=messages, message=consumes(messages), size=SIZES)
    def bounce(self, message: int, size: int) -> int:
        self.seed += 1
        content = text(size, self.seed)
        self.user.told.clear()
        new = (report(content, "ann@near.test"),)
        assert self.run(self.user.settle(message, removed=(0, 1, 2, 3), new=new)) is None
        self.model.pop(message, None)
        ((_, made),) = self.user.told
        self.expect(made.id, content, ["ann@near.test"], "")
        return int(made.id)

    @rule(wanted=FILTERS, action=ACTIONS)
    def change(self, wanted: dict[str, Any], action: Action) -> None:
        now = self.clock.now()
        changed = []
        for number, expected in list(self.model.items()):
            hit = False
            for n, progress in list(expected.pending.items()):
                if not matches(wanted, expected.recipients[n], progress):
                    continue
                waits = progress.status is Status.WAITING
                match action:
                    case Hold(reason) if waits:
                        replaced = {"status": Status.HELD, "hold_reason": reason}
                    case Release() if not waits:
                        replaced = {"status": Status.WAITING, "hold_reason": "", "due": now}
                    case RetryNow() if waits:
                        replaced = {"due": now}
                    case Delete():
                        del expected.pending[n]
                        hit = True
                        continue
                    case _:
                        continue
                expected.pending[n] = msgspec.structs.replace(progress, **replaced)
                hit = True
            if hit:
                changed.append(number)
            if not expected.pending:
                del self.model[number]
        assert self.run(self.user.spool.change(Query(**wanted), action)) == changed

    @rule(seconds=st.integers(1, 5_000))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.integers(1, 5_000))
    def clock_set_back(self, seconds: int) -> None:
        self.clock.jump(-seconds)

    @rule()
    def restart(self) -> None:
        self.run(self.user.close())
        self.start()

    @rule(wanted=FILTERS)
    def find(self, wanted: dict[str, Any]) -> None:
        found = self.run(self.user.spool.find(Query(**wanted), 1_000))
        assert [m.id for m in found] == [
            number
            for number, expected in self.model.items()
            if any(matches(wanted, expected.recipients[n], p) for n, p in expected.pending.items())
        ]

    @rule(seconds=st.integers(0, 8_000), page=st.sampled_from([1, 3, 100]))
    def load(self, seconds: int, page: int) -> None:
        now = self.clock.now() + seconds
        due = sorted(
            {
                (progress.due, number)
                for number, expected in self.model.items()
                for progress in expected.pending.values()
                if progress.status is Status.WAITING and progress.due <= now
            }
        )
        found = [m.id for m in self.run(self.user.due(now=now, page=page))]
        if page == 1:
            assert found == [number for _, number in due]
        else:  # several due times of a message on one page are one
            assert sorted(set(found)) == sorted({number for _, number in due})

    @invariant()
    def queue_is_as_expected(self) -> None:
        found = self.run(self.user.spool.find(Query(), 1_000))
        assert [m.id for m in found] == list(self.model)
        for message in found:
            expected = self.model[message.id]
            assert [r.address for r in message.envelope.recipients] == expected.recipients
            assert message.pending == tuple(expected.pending[n] for n in sorted(expected.pending))

    @invariant()
    def figures_are_as_counted(self) -> None:
        stats = self.user.spool.stats()
        recipients = [p for expected in self.model.values() for p in expected.pending.values()]
        assert stats.messages == len(self.model)
        assert stats.waiting == sum(p.status is Status.WAITING for p in recipients)
        assert stats.held == sum(p.status is Status.HELD for p in recipients)
        assert stats.size_bytes == sum(len(expected.content) for expected in self.model.values())
        in_files = [e.content for e in self.model.values() if len(e.content) > TINY.inline_bytes]
        assert stats.segment_live_bytes == sum(map(len, in_files))
        assert stats.oldest_arrival == next((e.arrival for e in self.model.values()), None)
        assert self.user.events == []

    @rule()
    def bodies_are_as_written(self) -> None:
        for message in self.run(self.user.spool.find(Query(), 1_000)):
            assert self.run(self.user.content(message)) == self.model[message.id].content


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=25, stateful_step_count=40, deadline=None, derandomize=True)
