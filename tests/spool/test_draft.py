"""A message while it arrives: bounded memory, a pause when the disk is slower, nothing left after discard."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.spools import TINY, WITHIN_S, SpoolUser, envelope, text
from tests.support.waiting import until

from waystation_relay.spool.draft import Draft, Flow
from waystation_relay.spool.values import FailureKind


class Disk:
    """Takes what a draft hands over and writes it when told to."""

    memory_bytes = TINY.memory_bytes
    chunk_bytes = TINY.stream_chunk_bytes
    arriving = 0

    def __init__(self) -> None:
        self.waiting: list[list[bytes]] = []
        self.written = b""
        self.dropped = 0

    def send(self, flow: Flow, chunks: list[bytes]) -> None:
        self.waiting.append(chunks)

    def drop(self, flow: Flow) -> None:
        self.dropped += 1

    def write(self, draft: Draft) -> None:
        chunks = self.waiting.pop(0)
        self.written += b"".join(chunks)
        draft.written(sum(map(len, chunks)))

    @property
    def unwritten_bytes(self) -> int:
        return sum(len(chunk) for chunks in self.waiting for chunk in chunks)


@given(st.lists(st.tuples(st.integers(0, 700), st.booleans()), max_size=60))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_memory_is_bounded_and_nothing_is_lost(steps: list[tuple[int, bool]]) -> None:
    """A client that pauses when asked never has more of a message in memory than the limit and a chunk."""
    disk = Disk()
    draft = Draft(1, "q", 0.0, disk)
    drained: list[bool] = []
    draft.on_drain = lambda: drained.append(True)
    sent = b""
    for n, (size, writes) in enumerate(steps):
        piece = text(size, n)
        go_on = draft.append(piece)
        sent += piece
        held = sum(map(len, draft.chunks)) + disk.unwritten_bytes
        assert held <= disk.memory_bytes + disk.chunk_bytes + len(piece)
        if not go_on:
            drained.clear()
            while not drained:  # IndexError here: paused with nothing to wait for
                disk.write(draft)
        elif writes and disk.waiting:
            disk.write(draft)
    flow = draft.finish()
    while disk.waiting:
        disk.write(draft)
    assert (flow is not None) is (len(sent) > disk.memory_bytes)
    assert (disk.written if flow else b"".join(draft.chunks)) == sent


def test_pause_ends_once() -> None:
    """A paused client is woken when half of the limit has drained, one time."""
    disk, drained = Disk(), []
    draft = Draft(1, "q", 0.0, disk)
    draft.on_drain = lambda: drained.append(True)
    assert draft.append(text(disk.memory_bytes))
    assert not draft.append(b"x")
    assert not draft.append(text(300))
    assert len(disk.waiting) == 2
    disk.write(draft)
    disk.write(draft)
    assert drained == [True]
    assert draft.append(text(300))


def test_discarded_draft_tells_nobody() -> None:
    """After discard no callback comes, its file is dropped once, and a second discard is harmless."""
    disk, drained = Disk(), []
    draft = Draft(1, "q", 0.0, disk)
    draft.on_drain = lambda: drained.append(True)
    draft.append(text(disk.memory_bytes + 1))
    draft.discard()
    draft.discard()
    disk.write(draft)
    assert (drained, disk.dropped, draft.chunks) == ([], 1, [])
    with pytest.raises(AssertionError):
        draft.append(b"x")


async def test_discard_leaves_no_file(user: SpoolUser, tmp_path: Path) -> None:
    """A client that disconnects in the middle of a large message leaves nothing on disk."""
    draft = await user.draft(text(TINY.memory_bytes * 2), chunk=400)
    segments = tmp_path / "spool" / "segments"
    assert len(list(segments.iterdir())) == 1
    draft.discard()
    await user.take(b"the next commit")
    assert list(segments.iterdir()) == []
    assert user.spool.stats().segment_bytes == 0


async def test_close_leaves_no_file_of_what_was_not_accepted(user: SpoolUser, tmp_path: Path) -> None:
    """A relay stopped while large messages arrive keeps nothing of them: their clients got no 250."""
    for _ in range(3):
        await user.draft(text(TINY.memory_bytes * 2), chunk=400)
    await user.close()
    assert list((tmp_path / "spool" / "segments").iterdir()) == []


async def test_drafts_side_by_side(user: SpoolUser) -> None:
    """Many large messages arriving at once, chunk by chunk in turn: each gets its own bytes."""
    contents = [text(TINY.memory_bytes * 2 + n, n) for n in range(8)]
    drafts = [user.spool.draft() for _ in contents]
    for start in range(0, TINY.memory_bytes * 3, 450):
        for draft, content in zip(drafts, contents, strict=True):
            await user.append(draft, content[start : start + 450])
    for draft in drafts:
        assert await user.accept(draft, envelope()) is None
    for message, content in zip(await user.due(), contents, strict=True):
        assert await user.content(message) == content


async def test_failed_write_is_told_at_accept_and_leaves_nothing(
    user: SpoolUser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills in the middle of a large message: 452 at its end, and its room is free at once."""
    draft = user.spool.draft()
    await user.append(draft, text(TINY.memory_bytes + 1))
    segments = tmp_path / "spool" / "segments"
    assert len(list(segments.iterdir())) == 1

    def full(fd: int, parts: object, offset: int) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("waystation_relay.spool.layout.os.pwritev", full)
        for _ in range(5):
            await user.append(draft, text(600))
        until(lambda: not list(segments.iterdir()), "the file to go", within_s=WITHIN_S)
        failure = await user.accept(draft, envelope())
    assert failure is not None
    assert failure.kind is FailureKind.FULL
