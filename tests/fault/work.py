"""A busy spool: mail of every size accepted, settled, reported, held, released, deleted, all at once.

Random by a seed. Every wish and every answer goes to ``note`` (``promises``),
the answer before anything else is asked. One message has one wish open at a
time; many messages do. From time to time the spool is closed and opened anew.
"""

import asyncio
import json
import random
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path

import msgspec
from tests.fault.promises import Ledger, Pending, Picture, answer, ask, content_of, number_of
from tests.support.spools import ORIGIN, TINY, WITHIN_S, SpoolUser, envelope, report

from waystation_relay.aio.clock import ManualClock
from waystation_relay.mail.message import Message, Progress, Status
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.draft import Draft
from waystation_relay.spool.values import (
    Delete,
    Hold,
    Query,
    ReadFailure,
    ReadFailureKind,
    Release,
    RetryNow,
    Settlement,
    SpoolFailure,
    SpoolUnavailable,
)

# Small, so that in a short run segments fill and are recycled and compacted, and the index shrinks.
TUNING = msgspec.structs.replace(
    TINY, checkpoint_pages=12, shrink_free_bytes=24 * 4096, compact_below_percent=40, segment_bytes=3_000
)
SIZES = {  # bytes; the second number is a weight
    "inline": (range(20, 100), 6),
    "warm": (range(120, 480), 4),
    "segment": (range(500, 1_900), 4),
    "streamed": (range(2_100, 4_500), 2),
}
PEOPLE = ("bob@next.test", "Cy@Other.test", "dee@next.test")
REPORT = "report@shop.test"
MOST_AT_ONCE = 6


class Worker:
    """``before`` is what earlier workers noted; beyond ``lasting`` messages more leave than come."""

    def __init__(
        self,
        directory: Path,
        dice: random.Random,
        note: Callable[[str], None],
        *,
        before: Sequence[str] = (),
        lasting: int = 25,
    ) -> None:
        self._ledger = Ledger.of(before)
        self.clock = ManualClock()
        self.user: SpoolUser | None = None
        self.failures: list[SpoolFailure] = []
        self.accepted = 0
        self._directory = directory
        self._dice = dice
        self._tell = note
        self._lasting = lasting
        self._messages = self._ledger.messages
        self._free: dict[int, tuple[int, Picture]] = {}  # message number → (id, picture), no wish open
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> SpoolUser:
        self.user = SpoolUser(self._directory, clock=self.clock, tuning=TUNING)
        self._free = await everything_in(self.user)
        for note in self._ledger.settle({number: picture for number, (_, picture) in self._free.items()}):
            self._note(note)
        self.user.spool.on_accepted = lambda messages: [self._seen(m) for m in messages] and None
        return self.user

    async def close(self) -> None:
        await self.rest()
        assert self.user is not None
        await self.user.close()

    async def work(self, steps: int, *, reopen: float = 0.0) -> None:
        """Do so many things, several at a time. Ends early when the disk fails."""
        dice = self._dice
        self.user or await self.open()
        for _ in range(steps):
            assert self.user is not None
            if dice.random() < reopen:
                await self.close()
                await self.open()
            await self._one()
            if dice.random() < 0.4:
                await asyncio.sleep(0)
            while len(self._tasks) >= MOST_AT_ONCE or (self._tasks and dice.random() < 0.1):
                if self.user.spool.broken is not None or not self.user.spool.can_settle():
                    return
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED, timeout=0.1)
            self.clock.advance(round(dice.random(), 3))

    @property
    def is_busy(self) -> bool:
        """Something has not been answered."""
        return bool(self._tasks)

    async def rest(self) -> None:
        """Until everything has been answered."""
        if self._tasks:
            await asyncio.wait_for(asyncio.gather(*self._tasks), WITHIN_S)

    # One thing

    async def _one(self) -> None:
        dice = self._dice
        full = len(self._free) >= self._lasting
        word = dice.choices(
            ("accept", "settle", "change", "discard", "read"), (4, 9 if full else 3, 2, 0.5, 0.5)
        )[0]
        if word == "accept" or not self._free:
            self._start(self._accept(*await self._draft(), hold="a rule" if dice.random() < 0.1 else ""))
        elif word == "discard":
            (await self._draft())[0].discard()
        else:
            number = dice.choice(list(self._free))
            found = self._free.pop(number)
            self._start(
                {"settle": self._settle, "change": self._change, "read": self._read}[word](number, *found)
            )

    def _start(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _size(self) -> int:
        sizes, _ = self._dice.choices(list(SIZES.values()), [weight for _, weight in SIZES.values()])[0]
        return self._dice.choice(sizes)

    async def _draft(self) -> tuple[Draft, Picture, int]:
        assert self.user is not None
        self._messages += 1
        number, size = self._messages, self._size()
        draft = await self.user.draft(content_of(number, size), chunk=self._dice.choice((150, 700, 5_000)))
        people = tuple(self._dice.sample(PEOPLE, self._dice.randint(1, len(PEOPLE))))
        waiting = tuple([Pending(n, Status.WAITING, draft.arrival, 0, "") for n in range(len(people))])
        return draft, Picture("ann@shop.test", people, size, waiting), number

    async def _accept(self, draft: Draft, picture: Picture, number: int, *, hold: str) -> None:
        assert self.user is not None
        if hold:
            held = [one._replace(status=Status.HELD, hold=hold) for one in picture.pending]
            picture = picture._replace(pending=tuple(held))
        wish = self._ask({number: picture})
        failure = await self._answered(
            wish,
            lambda done: (
                self.user
                and self.user.spool.accept(
                    draft, envelope(*picture.recipients, sender=picture.sender), ORIGIN, done, hold=hold
                )
            ),
        )
        if failure is None:
            self.accepted += 1
            self._free[number] = draft.id, picture

    async def _settle(self, number: int, message_id: int, picture: Picture) -> None:
        """Some recipients leave, some are put off, some are held; a report may come of it."""
        assert self.user is not None
        dice = self._dice
        removed, updates, left = [], [], []
        for one in picture.pending:
            fate = dice.random()
            if fate < 0.6:
                removed.append(one.number)
            else:
                status = Status.HELD if fate > 0.9 else Status(one.status)
                hold = "quarantined" if fate > 0.9 and one.status == Status.WAITING else one.hold
                later = Pending(
                    one.number, status, self.clock.now() + dice.randint(1, 500), one.attempts + 1, hold
                )
                left.append(later)
                updates.append(
                    Progress(one.number, status, later.due, later.attempts, hold_reason="quarantined")
                )
        after = picture._replace(pending=tuple(left)) if left else None
        changes: dict[int, Picture | None] = {number: after}
        new = []
        reported = 0
        if removed and dice.random() < 0.4:
            self._messages += 1
            reported, size = self._messages, self._size()
            waiting = (Pending(0, Status.WAITING, self.clock.now(), 0, ""),)
            changes[reported] = Picture("", (REPORT,), size, waiting)
            new.append(report(content_of(reported, size), REPORT))
        wish = self._ask(changes)
        change = Settlement(message_id, tuple(updates), tuple(removed), tuple(new))
        failure = await self._answered(wish, lambda done: self.user and self.user.spool.settle(change, done))
        self._go_on(number, message_id, picture, after, failure)

    async def _change(self, number: int, message_id: int, picture: Picture) -> None:
        """What a person may do to the whole message."""
        assert self.user is not None
        now = self.clock.now()
        hold, release = self._dice.choice(("a person", "another")), Status.WAITING
        action, change = self._dice.choice(
            [
                (Hold(hold), lambda one: one._replace(status=Status.HELD, hold=one.hold or hold)),
                (Release(), lambda one: one._replace(status=release, hold="", due=now) if one.hold else one),
                (RetryNow(), lambda one: one if one.hold else one._replace(due=now)),
                (Delete("unwanted"), lambda _: None),
            ]
        )
        after = [changed for one in picture.pending if (changed := change(one)) is not None]
        wanted = picture._replace(pending=tuple(after)) if after else None
        wish = self._ask({number: wanted})
        failure: SpoolFailure | None = None
        try:
            await self.user.spool.change(Query(queue_ids=(self.user.spool.queue_id(message_id),)), action)
        except SpoolUnavailable as error:
            failure = error.failure
        # The change may have been made, and the search for more to change have failed.
        self._answer(wish, failure, is_sure=False)
        if failure is None:
            self._go_on(number, message_id, picture, wanted, None)

    def _go_on(
        self,
        number: int,
        message_id: int,
        before: Picture,
        after: Picture | None,
        failure: SpoolFailure | None,
    ) -> None:
        """The message may be worked on again, unless it is gone, or nobody knows what it is like now."""
        if failure is None and after is not None:
            self._free[number] = message_id, after
        if failure is not None and not failure.permanent:
            self._free[number] = message_id, before

    async def _read(self, number: int, message_id: int, picture: Picture) -> None:
        assert self.user is not None
        try:
            message = await self.user.spool.get(self.user.spool.queue_id(message_id))
            assert message is not None
            content = await self.user.read(message)
            if isinstance(content, BodyFile):
                content = whole(content)
        except SpoolUnavailable as error:
            self.failures.append(error.failure)
            content = ReadFailure(ReadFailureKind.IO, error.failure.text)
        match content:
            case ReadFailure(kind=kind, text=text):  # the disk cannot be read; what is on it is sound
                assert kind is ReadFailureKind.IO, text
            case _:
                assert content == content_of(number, picture.size_bytes)
        self._free[number] = message_id, picture

    # Asking and hearing

    def _note(self, note: str) -> None:
        self._ledger.hear(json.loads(note))
        self._tell(note)

    def _ask(self, changes: dict[int, Picture | None]) -> int:
        number = self._ledger.asks + 1
        self._note(ask(number, changes))
        return number

    async def _answered(
        self, wish: int, put: Callable[[Callable[[SpoolFailure | None], None]], object]
    ) -> SpoolFailure | None:
        answered: asyncio.Future[SpoolFailure | None] = asyncio.get_running_loop().create_future()

        def done(failure: SpoolFailure | None) -> None:
            self._answer(wish, failure)
            answered.set_result(failure)

        put(done)
        return await asyncio.wait_for(answered, WITHIN_S)

    def _answer(self, wish: int, failure: SpoolFailure | None, *, is_sure: bool = True) -> None:
        if failure is None:
            self._note(answer("done", wish))
        else:
            self.failures.append(failure)
            self._note(answer("failed" if is_sure and not failure.permanent else "unsure", wish))

    def _seen(self, message: Message) -> None:
        """Reports are named by the spool itself. (Large ones are met again when it is opened anew.)"""
        if message.envelope.reverse_path == "" and message.content is not None:
            self._free[number_of(message.content)] = message.id, picture_of(message)


def whole(body: BodyFile) -> bytes | ReadFailure:
    try:
        return body.read(0, body.size_bytes)
    except OSError as error:
        return ReadFailure(ReadFailureKind.IO, str(error))
    finally:
        body.close()


def picture_of(message: Message) -> Picture:
    pending = [Pending(p.number, int(p.status), p.due, p.attempts, p.hold_reason) for p in message.pending]
    return Picture(
        message.envelope.reverse_path,
        tuple([recipient.address for recipient in message.envelope.recipients]),
        message.size_bytes,
        tuple(pending),
    )


async def everything_in(user: SpoolUser) -> dict[int, tuple[int, Picture]]:
    """All that is in the queue, by number: id and picture; each body compared with what it should be."""
    found: dict[int, tuple[int, Picture]] = {}
    for message in await user.spool.find(Query(), 10_000):
        content = await user.content(message)
        number = number_of(content)
        assert content == content_of(number, message.size_bytes), f"message {number}: not what was accepted"
        assert number not in found, f"message {number} is there twice"
        found[number] = message.id, picture_of(message)
    return found
