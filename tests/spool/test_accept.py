"""Accepting mail: what is promised, when, and that every byte is kept whatever a body's size."""

import asyncio
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.spool.conftest import OpenSpool
from tests.support.spools import ORIGIN, TINY, SpoolUser, envelope, text

from waystation_relay.mail.envelope import BodyType, Envelope, Notify, Recipient, Ret
from waystation_relay.mail.message import Message, Status
from waystation_relay.spool.bodies import BodyFile
from waystation_relay.spool.index import Delta, Index
from waystation_relay.spool.schema import open_writer

# One size on each side of every threshold of TINY.
SIZES = {
    "empty": 0,
    "one byte": 1,
    "largest inline": TINY.inline_bytes,
    "smallest in a segment": TINY.inline_bytes + 1,
    "largest warm": TINY.warm_bytes,
    "smallest cold": TINY.warm_bytes + 1,
    "largest in memory": TINY.memory_bytes,
    "smallest streamed": TINY.memory_bytes + 1,
    "streamed with a tail": TINY.memory_bytes + TINY.stream_chunk_bytes // 2,
    "larger than a segment": TINY.segment_bytes * 3,
}
CHUNKS = {"whole": 0, "in sevens": 7, "in chunks": TINY.stream_chunk_bytes, "in large chunks": 1_999}


@pytest.mark.parametrize("chunk", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
async def test_every_byte_is_kept(open_spool: OpenSpool, size: int, chunk: int) -> None:
    """A body comes back byte for byte, at once and after a restart, however it arrived."""
    content = text(size, seed=size)
    user = open_spool()
    draft = await user.take(content, chunk=chunk)
    kind, message = user.told[0]
    assert kind == "accepted"
    assert isinstance(message, Message)
    assert message.size_bytes == size
    assert (message.content is not None) is (size <= TINY.warm_bytes)
    assert await user.content(message) == content
    assert await user.content(await user.get(draft)) == content
    await user.close()
    again = open_spool()
    (found,) = await again.due()
    assert found.queue_id == draft.queue_id
    assert await again.content(found) == content


async def test_on_accepted_comes_before_done(user: SpoolUser) -> None:
    """The dispatcher has the message before the client hears 250, so nothing is ever between the two."""
    drafts = [user.spool.draft() for _ in range(3)]
    await asyncio.gather(*[user.accepting(draft, envelope()) for draft in drafts])
    order = [(kind, what.queue_id if isinstance(what, Message) else what) for kind, what in user.told]
    for draft in drafts:
        assert order.index(("accepted", draft.queue_id)) < order.index(("done", draft.queue_id))


async def test_waiting_mail_shares_a_commit(user: SpoolUser) -> None:
    """Whatever waits while a batch is on its way to disk is made durable together: commits are few."""
    before = user.spool.stats().commits
    drafts = [user.spool.draft() for _ in range(40)]
    await asyncio.gather(*[user.accepting(draft, envelope()) for draft in drafts])
    assert user.spool.stats().commits - before < 10
    assert [what for kind, what in user.told if kind == "done"] == [draft.queue_id for draft in drafts]


async def test_envelope_comes_back_whole(open_spool: OpenSpool) -> None:
    """Case, parameters and order of recipients survive a restart: a DSN will need them."""
    sent = Envelope(
        "Ann.Example@Shop.test",
        (
            Recipient("Bob@Next.test", Notify.SUCCESS | Notify.DELAY, "rfc822;Bob+2B@Next.test"),
            Recipient("jörg@bücher.test"),
        ),
        BodyType.EIGHT_BIT,
        smtputf8=True,
        ret=Ret.HEADERS,
        envid="QQ314159",
    )
    user = open_spool()
    draft = user.spool.draft()
    assert await user.accept(draft, sent) is None
    await user.close()
    (found,) = await open_spool().due()
    assert found.envelope == sent
    assert found.origin.client == "192.0.2.1"
    assert found.arrival == draft.arrival
    assert [(p.number, p.status, p.due) for p in found.pending] == [
        (0, Status.WAITING, draft.arrival),
        (1, Status.WAITING, draft.arrival),
    ]


async def test_message_may_start_held(user: SpoolUser) -> None:
    """A message accepted with a hold reason waits for a person: it is not due."""
    draft = await user.take(b"suspicious", hold="looks odd")
    assert await user.due() == []
    (progress,) = (await user.get(draft)).pending
    assert (progress.status, progress.hold_reason) == (Status.HELD, "looks odd")


async def test_large_body_is_a_file_readable_after_its_message_left(user: SpoolUser) -> None:
    """A delivery under way can finish reading a large message that a person deletes meanwhile."""
    content = text(TINY.memory_bytes * 2)
    message = await user.get(await user.take(content, chunk=500))
    body = await user.read(message)
    assert isinstance(body, BodyFile)
    await user.remove(message)
    for n in range(10):  # files that are recycled would be written over by these
        await user.remove(await user.take(text(1_500, n)))
    assert body.read(0, body.size_bytes) == content
    body.close()


async def test_large_body_of_an_earlier_run_is_never_written_over(open_spool: OpenSpool) -> None:
    """After a restart, too: a large file is not taken for a shared one and recycled under its reader."""
    content = text(TINY.segment_bytes + 500)
    user = open_spool()
    await user.take(content, chunk=500)
    await user.close()
    user = open_spool()
    (message,) = await user.due()
    body = await user.read(message)
    assert isinstance(body, BodyFile)
    await user.remove(message)
    for n in range(20):
        await user.remove(await user.take(text(1_500, n)))
    assert body.read(0, body.size_bytes) == content
    body.close()


async def test_draft_is_accepted_once(user: SpoolUser) -> None:
    """Using a draft twice is our own mistake and is caught before it reaches a batch of others."""
    draft = await user.take(b"once")
    with pytest.raises(AssertionError):
        user.spool.accept(draft, envelope(), ORIGIN, print)
    with pytest.raises(AssertionError):
        draft.append(b"more")


async def test_what_cannot_be_stored_fails_with_its_author(user: SpoolUser) -> None:
    """A value that no index can hold raises at accept and touches nobody else's message."""
    draft = user.spool.draft()
    with pytest.raises(UnicodeEncodeError):
        user.spool.accept(draft, envelope("bob\ud800@next.test"), ORIGIN, print)
    await user.take(b"others go on")


async def test_queue_files_are_private(tmp_path: Path, user: SpoolUser) -> None:
    """Mail is nobody else's business: folders 0700, files of bodies 0600."""
    await user.take(text(500))
    spool = tmp_path / "spool"
    assert spool.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (spool / "segments").iterdir())


@pytest.mark.parametrize(
    ("size", "before_commit"),
    [
        pytest.param(50, [], id="inline"),
        pytest.param(300, ["segments/file", "segments"], id="shared segment"),
        pytest.param(3_000, ["segments/file", "segments"], id="file of its own"),
    ],
)
async def test_bodies_and_their_names_are_synced_before_the_commit(
    user: SpoolUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, before_commit: list[str]
) -> None:
    """A power cut never leaves an index that speaks of a body which is not on disk; 250 comes after both."""
    spool, steps = tmp_path / "spool", list[str]()

    def noted(sync: Callable[[int], None]) -> Callable[[int], None]:
        def note(fd: int) -> None:
            sync(fd)
            path = Path(f"/proc/self/fd/{fd}").readlink()
            name = "segments/file" if path.parent == spool / "segments" else path.name
            if steps[-1:] != [name]:  # a long stream is synced now and then on its way
                steps.append(name)

        return note

    commit = Index.commit

    def note_commit(index: Index) -> Delta:
        delta = commit(index)
        steps.append("commit")
        return delta

    monkeypatch.setattr("waystation_relay.spool.layout.os.fdatasync", noted(os.fdatasync))
    monkeypatch.setattr("waystation_relay.spool.layout.os.fsync", noted(os.fsync))
    monkeypatch.setattr(Index, "commit", note_commit)
    draft = await user.draft(text(size), chunk=3_000)
    answer = user.accepting(draft, envelope())
    answer.add_done_callback(lambda _: steps.append("250"))
    await answer
    await asyncio.sleep(0)
    assert steps == [*before_commit, "commit", "250"]


def test_index_is_synced_with_every_commit(tmp_path: Path) -> None:
    """SQLite's own promise rests on two settings; a library built otherwise must not change them."""
    with closing(open_writer(tmp_path / "index")) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
