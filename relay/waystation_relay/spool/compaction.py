"""Copying the few live records out of a mostly dead segment, so that its file can go.

One ``step`` moves about ``compact_step_bytes`` and runs on the writer
thread between two batches. The copies are durable before one transaction
points the index at them; the old segment is retired by the usual account when
its last live record has moved. Killed anywhere, either the old places or the
new ones hold, and the copies nobody refers to are dead bytes.

Records that are damaged are named to the caller; those that the disk will not
give now stay where they are, and so does their segment.
"""

from waystation_relay.mail.message import Place
from waystation_relay.spool.bodies import Damaged, read_record
from waystation_relay.spool.commit import Committer
from waystation_relay.spool.failpoints import reach
from waystation_relay.spool.index import Index
from waystation_relay.spool.layout import Layout
from waystation_relay.spool.operations import Job
from waystation_relay.spool.values import Tuning

LIVE = "SELECT id, segment, offset, size_bytes, crc32 FROM messages WHERE segment = ? LIMIT 256"


def step(committer: Committer, layout: Layout, tuning: Tuning) -> list[tuple[int, str]]:
    """Work on one sparse segment; (message id, why) of records that turned out damaged."""
    segments = committer.segments
    number = min(segments.sparse)
    path = layout.segment(number)
    copied: list[tuple[int, bytes]] = []
    damaged: list[tuple[int, str]] = []
    size_bytes = 0
    for message_id, *place in committer.index.db.execute(LIVE, (number,)).fetchall():
        try:
            body = read_record(path, message_id, Place(*place))
        except Damaged as error:
            damaged.append((message_id, str(error)))
            continue
        except OSError:
            continue
        copied.append((message_id, body))
        size_bytes += len(body)
        if size_bytes >= tuning.compact_step_bytes:
            break
    if not copied:
        segments.sparse.discard(number)  # looked at again when another of its records goes
        return damaged
    places = segments.append(copied)
    reach("compaction.copied")
    segments.flush()
    reach("compaction.synced")
    moved = [(message_id, place, number) for (message_id, _), place in zip(copied, places, strict=True)]

    def move(index: Index) -> None:
        index.move(moved)

    committer.commit((), (), (Job(move, lambda _result, _failure: None),))
    reach("compaction.moved")
    return damaged
