"""A process that uses a spool until it is killed: ``python -m tests.crash.driver DIRECTORY WORK FIRST_SEED``.

It says on standard output, a line at a time and only when it is so:

    accepted QUEUE_ID                     a client would have heard 250
    removing QUEUE_ID ADDRESS [REPORT]    about to settle it, with a report of this address or none
    removed QUEUE_ID                      that is committed

Every message is named ``SEED.SIZE`` in its recipient's address, and its
content follows from that: who finds it can tell whether every byte is there.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from tests.support.spools import TINY, SpoolUser, envelope, report, text

from waystation_relay.mail.message import Message
from waystation_relay.spool.values import Query, Settlement

TUNING = msgspec.structs.replace(TINY, inline_bytes=600, spare_segments=1, shrink_free_bytes=12_000)
SIZES = (300, 20, 1_500, 700, 580, 2_600, 450, 1_900, 9_000, 601, 0, 1_200)
ROUNDS = 60


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


def address(seed: int, size: int) -> str:
    return f"{seed}.{size}@seed.test"


def content(address: str) -> bytes:
    """What a message to this address consists of."""
    seed, size = address.partition("@")[0].split(".")
    return text(int(size), int(seed))


class Mail:
    """Accepts and settles, so that every step a spool takes with mail is taken again and again."""

    def __init__(self, user: SpoolUser, seed: int) -> None:
        self.user = user
        self.seed = seed
        self.settled = 0
        self.live: list[Message] = []
        user.spool.on_accepted = self.accepted

    def accepted(self, messages: Sequence[Message]) -> None:
        self.live += messages

    def next_address(self) -> str:
        self.seed += 1
        return address(self.seed, SIZES[self.seed % len(SIZES)])

    async def accept(self) -> None:
        to = self.next_address()
        draft = await self.user.draft(content(to), chunk=800)
        if await self.user.accept(draft, envelope(to)) is None:
            say("accepted", draft.queue_id)

    async def settle(self, message: Message) -> None:
        self.settled += 1
        to = self.next_address() if self.settled % 3 else ""
        new = (report(content(to), to),) if to else ()
        say("removing", message.queue_id, message.envelope.recipients[0].address, to)
        if await self.user.settling(Settlement(message.id, removed=(0,), new=new)) is None:
            say("removed", message.queue_id)

    async def run(self) -> None:
        for number in range(ROUNDS):
            await asyncio.gather(*[self.accept() for _ in SIZES])
            keep = 2 if number % 10 == 9 else len(self.live) * 3 // 4
            # Some stay in every segment, so that it has to be compacted.
            going = [m for n, m in enumerate(self.live) if n % 4 or n >= keep * 2][: len(self.live) - keep]
            self.live = [m for m in self.live if m not in going]
            await asyncio.gather(*[self.settle(message) for message in going])


async def work(directory: Path, name: str, seed: int) -> None:
    user = SpoolUser(directory, tuning=TUNING)
    if name == "mail":
        await Mail(user, seed).run()
    else:
        await user.due()
        for message in await user.spool.find(Query(), 1_000):
            await user.read(message)
        await user.settle(0)  # what was found damaged on the way has been dealt with
    await user.close()
    say("end")


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
