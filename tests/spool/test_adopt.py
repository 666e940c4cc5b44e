"""Mail from another relay: it keeps its queue id and its history, and comes once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from tests.support.spools import ORIGIN, WITHIN_S, SpoolUser, envelope, text

from waystation_relay.aio.clock import ManualClock
from waystation_relay.mail.message import Message, Progress, Status
from waystation_relay.mail.outcome import Reason, Remote
from waystation_relay.mail.reply import Reply
from waystation_relay.spool.adopt import MOST, REMEMBERED_S, Adoption, forget
from waystation_relay.spool.identity import is_queue_id
from waystation_relay.spool.values import Delete, Hold, Query, SpoolFailure

NAME = "1KA3ZQ9W0TH-7F2QX"
OTHER = "1KA3ZQ9W0TJ-AAAAA"
ARRIVAL = 1_600_000_000.0
PENDING = (
    Progress(
        1, due=ARRIVAL + 900.5, attempts=3, warned=True, last_reply=Reply(451, "4.7.1", ("later", "please")),
        last_reason=Reason.GREYLISTED, last_remote=Remote("mx.next.test", "192.0.2.25", 25),
        last_attempt=ARRIVAL + 300,
    ),
    Progress(2, Status.HELD, ARRIVAL, hold_reason="asked by legal", quarantined=True),
)  # fmt: skip


@pytest.fixture
async def user(tmp_path: Path) -> AsyncIterator[SpoolUser]:
    made = SpoolUser(tmp_path / "spool")
    yield made
    await made.close()


def adoption(name: str = NAME, queue_id: str = NAME, pending: tuple[Progress, ...] = PENDING) -> Adoption:
    return Adoption(
        name, queue_id, envelope("Done@next.test", "Ann@Next.test", "bob@next.test"), ORIGIN, ARRIVAL, pending
    )


async def adopt(user: SpoolUser, what: Adoption, content: bytes = b"hello", chunk: int = 0) -> int:
    draft = await user.draft(content, chunk)
    done: asyncio.Future[SpoolFailure | None] = asyncio.get_running_loop().create_future()
    user.spool.adopt(draft, what, done.set_result)
    assert await asyncio.wait_for(done, WITHIN_S) is None
    return draft.id


async def found(user: SpoolUser, queue_id: str = NAME) -> Message:
    message = await user.spool.get(queue_id)
    assert message is not None
    return message


@pytest.mark.parametrize("size", [0, 90, 700, 3_000], ids=lambda size: f"{size} bytes")
async def test_an_adopted_message_is_as_it_was(user: SpoolUser, size: int) -> None:
    """Queue id, envelope, origin, arrival, each recipient's history and the body, wherever it is stored."""
    number = await adopt(user, adoption(), text(size), chunk=250)
    message = await found(user)
    assert (message.id, message.queue_id, message.arrival) == (number, NAME, ARRIVAL)
    assert (message.envelope, message.origin) == (adoption().envelope, ORIGIN)
    assert message.pending == PENDING
    assert await user.content(message) == text(size)
    stats = user.spool.stats()
    assert (stats.messages, stats.waiting, stats.held, stats.size_bytes) == (1, 1, 1, size)


async def test_dispatch_hears_of_it_with_its_history(user: SpoolUser) -> None:
    """It is not attempted before it is due, as it would not have been where it comes from."""
    await adopt(user, adoption())
    ((_, message),) = user.told
    assert isinstance(message, Message)
    assert (message.queue_id, message.arrival, message.pending) == (NAME, ARRIVAL, PENDING)
    assert [m.queue_id for m in await user.due(ARRIVAL + 900)] == []
    assert [m.queue_id for m in await user.due(ARRIVAL + 901)] == [NAME]


async def test_it_survives_a_restart(tmp_path: Path) -> None:
    """The name and the history are on disk, and the name is remembered when the mail is gone."""
    user = SpoolUser(tmp_path / "spool")
    await adopt(user, adoption())
    await user.close()
    user = SpoolUser(tmp_path / "spool")
    assert (await found(user)).pending == PENDING
    await user.remove(await found(user), 1, 2)
    await user.close()
    user = SpoolUser(tmp_path / "spool")
    assert await user.spool.get(NAME) is None
    assert await user.spool.known([(NAME, NAME)]) == {NAME}
    await user.close()


async def test_what_came_before_is_known_by_its_name(user: SpoolUser) -> None:
    """An offer whose answer got lost is recognised, also when the mail has been delivered since."""
    assert await user.spool.known([(NAME, NAME)]) == set()
    await adopt(user, adoption())
    assert await user.spool.known([(NAME, NAME), (OTHER, OTHER)]) == {NAME}
    await user.remove(await found(user), 1, 2)
    assert await user.spool.known([(NAME, NAME)]) == {NAME}


async def test_what_comes_back_after_it_was_handed_on_is_taken(user: SpoolUser) -> None:
    """It has another name by then; refusing it would lose it."""
    await adopt(user, adoption())
    await user.remove(await found(user), 1, 2)
    assert await user.spool.known([(OTHER, NAME)]) == set()
    await adopt(user, adoption(OTHER, NAME))
    assert (await found(user)).queue_id == NAME


async def test_a_twin_of_what_is_queued_is_known(user: SpoolUser) -> None:
    """The same queue id by another way: one of the two is enough."""
    await adopt(user, adoption())
    own = await user.take(b"mine")
    assert await user.spool.known([(OTHER, NAME), (OTHER.replace("J", "K"), own.queue_id)]) == {
        OTHER,
        OTHER.replace("J", "K"),
    }


async def test_own_mail_may_come_back(user: SpoolUser) -> None:
    """Handed over, then handed back: it has its old queue id and is found by it."""
    draft = await user.take(b"mine")
    await user.remove(draft)
    assert await user.spool.known([(OTHER, draft.queue_id)]) == set()
    await adopt(user, adoption(OTHER, draft.queue_id))
    assert (await found(user, draft.queue_id)).pending == PENDING


async def test_people_find_it_by_its_queue_id(user: SpoolUser) -> None:
    """Lists, filters and changes go by the queue id that the client was told, in any case of letters."""
    number = await adopt(user, adoption())
    own = await user.take(b"mine")
    names = (NAME.lower(), own.queue_id, OTHER)
    assert [m.id for m in await user.spool.find(Query(queue_ids=names), 10)] == sorted((number, own.id))
    assert [m.queue_id for m in await user.spool.again([number, own.id, 7])] == [NAME, own.queue_id]
    hold = user.spool.changing(Query(queue_ids=(NAME,)), Hold("not now"))
    assert [step async for step in hold] == [{number: NAME}]
    delete = user.spool.changing(Query(queue_ids=(NAME, own.queue_id)), Delete("spam"))
    assert [step async for step in delete] == [{number: NAME, own.id: own.queue_id}]
    assert await user.spool.find(Query(), 10) == []


async def test_names_of_long_ago_are_forgotten(tmp_path: Path) -> None:
    """A month after the adoption, but never while the mail is queued."""
    clock = ManualClock(ARRIVAL)
    user = SpoolUser(tmp_path / "spool", clock=clock)
    await adopt(user, adoption())
    await adopt(user, adoption(OTHER, OTHER))
    await user.remove(await found(user), 1, 2)
    for days, left in ((REMEMBERED_S - 10, {NAME, OTHER}), (20, {OTHER})):
        clock.advance(days)
        forgotten = asyncio.Event()
        user.spool.forget(lambda *_, forgotten=forgotten: forgotten.set())
        await asyncio.wait_for(forgotten.wait(), WITHIN_S)
        assert await user.spool.known([(NAME, NAME), (OTHER, OTHER)]) == left
    await user.close()


async def test_the_memory_of_names_is_bounded(user: SpoolUser) -> None:
    """Beyond a number the oldest go first."""
    names = [f"{n:011d}-AAAAA" for n in range(6)]
    for name in names:
        await adopt(user, adoption(name, name))
        await user.remove(await found(user, name), 1, 2)
    db = user.spool._committer.index.db
    forget(db, user.clock.now(), most=MOST)
    assert await user.spool.known([(n, n) for n in names]) == set(names)
    forget(db, user.clock.now(), most=2)
    assert await user.spool.known([(n, n) for n in names]) == set(names[-2:])


async def test_a_salvaged_index_remembers_names(tmp_path: Path) -> None:
    """Damage to the index costs neither the queue id of adopted mail nor the memory of what has left."""
    user = SpoolUser(tmp_path / "spool")
    await adopt(user, adoption())
    await adopt(user, adoption(OTHER, OTHER))
    await user.remove(await found(user, OTHER), 1, 2)
    user.spool._committer.index.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    ((root,),) = user.spool._committer.index.db.execute(
        "SELECT rootpage FROM sqlite_master WHERE name = 'messages_segment'"
    ).fetchall()
    await user.close()
    with (tmp_path / "spool" / "index").open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    user = SpoolUser(tmp_path / "spool")
    assert len(user.named("spool.index_salvaged")) == 1
    assert (await found(user)).pending == PENDING
    assert await user.spool.known([(NAME, NAME), (OTHER, OTHER)]) == {NAME, OTHER}
    await user.close()


async def test_an_earlier_version_reads_what_was_adopted(user: SpoolUser) -> None:
    """Going back to it costs the queue id, not the mail: it passes over what it does not know."""

    class Earlier(msgspec.Struct, frozen=True, array_like=True):
        envelope: type(adoption().envelope)
        origin: type(ORIGIN)

    number = await adopt(user, adoption())
    ((blob,),) = user.spool._committer.index.db.execute("SELECT sealed FROM messages").fetchall()
    read = msgspec.msgpack.decode(blob[4:], type=Earlier)
    assert (read.envelope, read.origin) == (adoption().envelope, ORIGIN)
    assert number


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (NAME, True),
        ("1KA3ZQ9W0TH-7F2Q", False),
        ("1KA3ZQ9W0T-7F2QX", False),
        ("1KA3ZQ9W0TU-7F2QX", False),  # no U in the alphabet
        ("1ka3zq9w0th-7f2qx", False),
        ("", False),
        ("1KA3ZQ9W0TH-7F2QX\n", False),
    ],
)
def test_queue_ids_are_told_from_other_text(text: str, is_one: bool) -> None:
    """What no spool can have given out is no name."""
    assert is_queue_id(text) is is_one
