"""What becomes one batch: who waits for company, for how long, and in which order all of it is taken."""

import random
import threading
import time

import msgspec
import pytest
from tests.support.spools import ORIGIN, TINY, envelope

from waystation_relay.spool.batch import CALL, Inbox
from waystation_relay.spool.draft import Draft, Flow
from waystation_relay.spool.index import Change
from waystation_relay.spool.operations import Accept, Entry, Operation, Settle, Stop, Wake, Write
from waystation_relay.spool.values import Tuning

PATIENT = msgspec.structs.replace(TINY, gather_s=5.0, patient_s=5.0)  # far longer than any of these tests
BRISK = msgspec.structs.replace(TINY, gather_s=0.0, patient_s=0.0)
WITHIN_S = 2.0


class Deaf:
    """Where a draft of which nothing is sent sends it."""

    memory_bytes, chunk_bytes = TINY.memory_bytes, TINY.stream_chunk_bytes
    arriving = 0

    def send(self, flow: Flow, chunks: list[bytes]) -> None: ...

    def drop(self, flow: Flow) -> None: ...


def inbox(tuning: Tuning = BRISK, arriving: int = 0) -> Inbox:
    return Inbox(tuning, lambda: arriving)


def accept(number: int = 1, size_bytes: int = 10) -> Accept:
    entry = Entry(number, "q", 0.0, envelope(), ORIGIN, "", size_bytes, [bytes(size_bytes)], None)
    return Accept(entry, lambda _failure: None)


def settle(number: int = 1) -> Settle:
    return Settle(Change(number, [], [], [(number, 0)]), [], None)


def write(size_bytes: int = 300) -> Write:
    return Write(Flow(Draft(1, "q", 0.0, Deaf())), [bytes(size_bytes // 2)] * 2)


def wanted(taken: list[object]) -> list[object]:
    """Without the calls, which mean nothing to the writer."""
    return [operation for operation in taken if operation is not CALL]


def test_batch_is_bounded_in_bytes() -> None:
    """Bodies and chunks that wait fill a batch up to about its size; the rest waits for the next."""
    box = inbox(msgspec.structs.replace(BRISK, batch_bytes=1_000))
    for _ in range(10):
        box.put(write(300))
    assert [len(box.take(0)) for _ in range(4)] == [4, 4, 2, 0]


def test_batch_is_bounded_in_operations() -> None:
    """However many wait, nobody's commit takes longer than a batch."""
    box = inbox(msgspec.structs.replace(BRISK, batch_operations=3))
    for _ in range(7):
        box.put(Wake())
    assert [len(box.take(0)) for _ in range(4)] == [3, 3, 1, 0]


@pytest.mark.parametrize(
    ("bound", "value"), [("batch_operations", 4), ("batch_bytes", 25)], ids=["in operations", "in bytes"]
)
def test_messages_and_outcomes_beyond_the_bound_are_the_next_batches(bound: str, value: int) -> None:
    """Nothing that finds no room in a batch is forgotten: the writer is called for it again."""
    box = inbox(msgspec.structs.replace(BRISK, **{bound: value}))
    accepts, settles = [accept(n) for n in range(7)], [settle(n) for n in range(5)]
    for one in accepts:
        box.put_accept(one)
    for other in settles:
        box.put_settle(other)
    taken: list[object] = []
    while batch := box.take(0):
        assert sum(isinstance(operation, Accept) for operation in batch) <= 4
        taken += batch
    assert wanted(taken) == [*accepts, *settles]


def test_lone_message_does_not_wait() -> None:
    """Somebody who sends one mail at a time hears of it as soon as the disk has it."""
    box, one = inbox(PATIENT), accept()
    box.put_accept(one)
    began = time.monotonic()
    assert wanted(box.take(None)) == [one]
    assert time.monotonic() - began < WITHIN_S


def test_message_waits_for_those_that_are_arriving() -> None:
    """Mails that come in together are synced together, as soon as the last of them is complete."""
    arriving = 2
    box, taken = Inbox(PATIENT, lambda: arriving), []
    first, second, third = accept(1), accept(2), accept(3)
    box.put_accept(first)
    writer = threading.Thread(target=lambda: taken.extend(box.take(None)), daemon=True)
    writer.start()
    arriving = 1
    box.put_accept(second)
    writer.join(0.05)
    assert writer.is_alive()
    arriving = 0
    box.put_accept(third)
    writer.join(WITHIN_S)
    assert wanted(taken) == [first, second, third]


def test_message_does_not_wait_for_a_client_that_stalls() -> None:
    """A slow upload holds others up for a moment only."""
    box, one = inbox(msgspec.structs.replace(PATIENT, gather_s=0.001), arriving=1), accept()
    box.put_accept(one)
    assert wanted(box.take(None)) == [one]


def test_company_is_waited_for_a_bounded_number_of_times() -> None:
    """A stream of mail without a gap cannot put off the commit for ever."""
    box = inbox(msgspec.structs.replace(TINY, gather_s=0.001, gather_rounds=4), arriving=1)
    box.put_accept(accept(0))
    rounds = 0

    def arriving() -> int:
        nonlocal rounds
        rounds += 1
        box.put_accept(accept(rounds))
        return 1

    box._arriving = arriving  # looked at once a round, and by each message that is put
    box.put_accept = box._accepts.append  # type: ignore[method-assign]
    assert len(wanted(box.take(None))) == 5


def test_outcome_waits_for_the_next_message() -> None:
    """What became of a delivery costs no sync of its own while mail is coming in."""
    box, taken = inbox(PATIENT), []
    outcome, message = settle(), accept()
    box.put_settle(outcome)
    writer = threading.Thread(target=lambda: taken.extend(box.take(None)), daemon=True)
    writer.start()
    writer.join(0.05)
    assert writer.is_alive()
    box.put_accept(message)
    writer.join(WITHIN_S)
    assert wanted(taken) == [message, outcome]


def test_outcome_is_recorded_soon_when_no_mail_comes() -> None:
    """A crash later than that moment delivers nothing twice."""
    box, outcome = inbox(msgspec.structs.replace(PATIENT, patient_s=0.001)), settle()
    box.put_settle(outcome)
    assert wanted(box.take(None)) == [outcome]


def test_anything_else_ends_the_wait_of_an_outcome() -> None:
    """People and streams are served at once, and the outcome goes with them."""
    box, outcome, other = inbox(PATIENT), settle(), Wake()
    box.put_settle(outcome)
    box.put(other)
    assert wanted(box.take(None)) == [other, outcome]


def test_stop_comes_last() -> None:
    """What was put before the end is committed before the end."""
    box = inbox(msgspec.structs.replace(BRISK, batch_operations=3))
    accepts, stop = [accept(n) for n in range(7)], Stop()
    for one in accepts:
        box.put_accept(one)
    box.put(stop)
    batches = [box.take(0)]
    while stop not in batches[-1]:
        batches.append(box.take(0))
    assert [one for batch in batches for one in batch if isinstance(one, Accept)] == accepts


def test_pieces_of_a_stream_come_before_its_acceptance() -> None:
    """A large message is complete in its file when it is committed."""
    box, pieces = inbox(), [write(), write()]
    streamed = accept()
    for piece in pieces:
        box.put(piece)
    box.put(streamed)
    assert wanted(box.take(0)) == [*pieces, streamed]


def test_nothing_is_left_waiting_for_a_call() -> None:
    """Whatever the two threads do at the same moment, everything is taken, and nobody has to knock twice."""
    arriving, rounds = 0, 3_000
    box = Inbox(msgspec.structs.replace(TINY, gather_s=0.0002, patient_s=0.0002), lambda: arriving)
    heard = threading.Semaphore(0)
    put: list[object] = []
    taken: list[object] = []

    def write() -> None:
        batch: list[Operation] = []
        while not any(isinstance(operation, Stop) for operation in batch):
            batch = box.take(None)
            taken.extend(batch)
            for operation in batch:
                if operation is not CALL:
                    heard.release()

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    dice = random.Random(1)
    for number in range(rounds):
        arriving = dice.choice((0, 0, 1, 2))
        for _ in range(dice.choice((1, 1, 2, 5))):
            operation = accept(number) if dice.random() < 0.5 else settle(number)
            put.append(operation)
            (box.put_accept if isinstance(operation, Accept) else box.put_settle)(operation)  # type: ignore[arg-type]
        while dice.random() < 0.7 and heard.acquire(blocking=False):
            pass
        if dice.random() < 0.2:  # all is quiet: the next call is the only one
            while len(wanted(list(taken))) < len(put):
                assert heard.acquire(timeout=WITHIN_S), "something waits, and the writer does not know"
    stop = Stop()
    box.put(stop)
    writer.join(WITHIN_S)
    assert not writer.is_alive()
    assert len(wanted(taken)) == len(put) + 1
