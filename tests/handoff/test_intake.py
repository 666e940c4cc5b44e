"""Taking mail over: all of a batch or nothing, each message once, and not when there is no room for mail."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from tests.handoff.conftest import House, until

from waystation_relay.handoff import intake, parcel
from waystation_relay.handoff.intake import Refused
from waystation_relay.handoff.parcel import Malformed, Parcel
from waystation_relay.mail.envelope import Envelope, Origin, Recipient
from waystation_relay.mail.message import Progress
from waystation_relay.spool.adopt import Adoption
from waystation_relay.spool.draft import Draft
from waystation_relay.spool.operations import Done
from waystation_relay.spool.values import FailureKind, SpoolFailure

BODY = b"Subject: hello\r\n\r\nworld\r\n"
LARGE = b"0123456789abcdef" * 100_000


def named(number: int, tag: str = "AAAAA") -> str:
    return f"{number:011d}-{tag}"


def message(number: int, body: bytes = BODY, queue_id: str = "") -> bytes:
    """As it is on the wire."""
    name = named(number)
    what = Adoption(
        name,
        queue_id or name,
        Envelope("ann@shop.test", (Recipient("bob@next.test"),)),
        Origin("smtp"),
        1e9,
        (Progress(0, due=4e9, attempts=1),),
    )
    return parcel.frame(Parcel(what, len(body), zlib.crc32(body))) + body


def batch(*messages: bytes) -> bytes:
    return parcel.MAGIC + b"".join(messages) + parcel.END


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def give(house: House, *parts: bytes) -> dict[str, str]:
    """Name → verdict, and the reason where there is one."""
    answer = await house.intake.take(pieces(*parts), "192.0.2.9")
    assert answer.spool == house.spool.tag
    return {one.name: f"{one.verdict} {one.reason}".strip() for one in answer.results}


async def test_what_was_answered_for_is_in_the_queue(staying: House) -> None:
    """Bodies in memory and on the way to disk, in one batch."""
    parts = batch(message(1), message(2, LARGE), message(3, b""))
    assert await give(staying, parts) == {named(n): "accepted" for n in (1, 2, 3)}
    found = await staying.messages()
    assert {queue_id: m.size_bytes for queue_id, m in found.items()} == {
        named(1): len(BODY), named(2): len(LARGE), named(3): 0,
    }  # fmt: skip
    assert staying.intake.open == 0
    assert {fields["queue_id"] for fields in staying.log.of("message.adopted")} == found.keys()


async def test_an_empty_batch_is_no_mistake(staying: House) -> None:
    """Nothing came, nothing is answered for."""
    assert await give(staying, batch()) == {}


async def test_the_same_again_is_a_duplicate(staying: House) -> None:
    """By its name there; with another name as long as it is queued here."""
    assert await give(staying, batch(message(1))) == {named(1): "accepted"}
    assert await give(staying, batch(message(1), message(3))) == {
        named(1): "duplicate", named(3): "accepted",
    }  # fmt: skip
    assert await give(staying, batch(message(2, queue_id=named(1)))) == {named(2): "duplicate"}
    assert (await staying.messages()).keys() == {named(1), named(3)}


async def test_one_batch_may_not_bring_a_message_twice(staying: House) -> None:
    """The second is refused for now; when it is offered again, the first is there."""
    answer = await staying.intake.take(pieces(batch(message(1), message(1))), "")
    assert [str(one.verdict) for one in answer.results].count("accepted") >= 1
    assert len(await staying.messages()) == 1


async def test_two_offers_at_once_become_one_message(staying: House) -> None:
    """A source that gave up waiting offers again while its first offer is still being written."""
    answers = await asyncio.gather(*[give(staying, batch(message(1))) for _ in range(3)])
    assert sorted(answer[named(1)] for answer in answers) == ["accepted", "refused busy", "refused busy"]
    assert len(await staying.messages()) == 1


HALF = batch(message(1), message(2, LARGE))
WRONG: dict[str, Sequence[bytes]] = {
    "cut off": [HALF[:-1]],
    "cut off in a body": [HALF[: len(HALF) // 2]],
    "cut off at once": [],
    "followed by more": [HALF, b"x"],
    "damaged": [HALF.replace(b"world", b"wor1d")],
    "no batch": [b"GET / HTTP/1.1\r\n\r\n"],
    "too many messages": [batch(*[message(n, b"") for n in range(intake.MOST_MESSAGES + 1)])],
}


@pytest.mark.parametrize("parts", WRONG.values(), ids=WRONG)
async def test_a_batch_that_is_not_whole_has_not_happened(staying: House, parts: Sequence[bytes]) -> None:
    """Nothing of it is in the queue, and no file of it stays."""
    with pytest.raises(Malformed):
        await give(staying, *parts)
    assert await staying.messages() == {}
    assert staying.intake.open == 0

    def swept() -> bool:
        return list((staying.folder / "spool" / "segments").iterdir()) == []

    await until(swept, "no file to be left")
    assert await give(staying, batch(message(1))) == {named(1): "accepted"}


async def test_a_batch_has_a_bound_in_memory(staying: House) -> None:
    """Refused by what the parcels say, before the bodies have come."""
    size = 2**20
    count = intake.MOST_BYTES // size
    parts = [parcel.MAGIC, *[message(n, bytes(size)) for n in range(count + 1)], parcel.END]
    with pytest.raises(Malformed):
        await give(staying, *parts)
    assert await staying.messages() == {}


@pytest.mark.parametrize("reason", ["draining", "full", "starting"])
async def test_who_is_not_ready_takes_nothing(staying: House, reason: str) -> None:
    """Neither at the beginning of a batch nor at its end; what came before is recognised all the same."""
    assert await give(staying, batch(message(1))) == {named(1): "accepted"}

    async def meanwhile() -> AsyncIterator[bytes]:
        yield parcel.MAGIC
        staying.refusal = reason
        yield batch(message(1), message(2))[len(parcel.MAGIC) :]

    answer = await staying.intake.take(meanwhile(), "")
    assert [(str(one.verdict), one.reason) for one in answer.results] == [
        ("duplicate", ""), ("refused", reason),
    ]  # fmt: skip
    with pytest.raises(Refused, match=reason):
        await give(staying, batch(message(3)))
    assert (await staying.call("GET", "/handoff")).body == {
        "spool": staying.spool.tag, "format": parcel.FORMAT, "refusal": reason,
    }  # fmt: skip
    refused = await staying.call("POST", "/handoff", data=batch(message(3)))
    assert (refused.status, refused.body["reason"]) == (503, reason)
    assert len(await staying.messages()) == 1


async def test_what_the_disk_does_not_take_is_refused(
    staying: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message by itself, with the word of the spool's failure."""
    adopt = staying.spool.adopt

    def fails(draft: Draft, what: Adoption, done: Done) -> None:
        if what.name == named(1):
            done(SpoolFailure(FailureKind.FULL, "no space left"))
        else:
            adopt(draft, what, done)

    monkeypatch.setattr(staying.spool, "adopt", fails)
    assert await give(staying, batch(message(1), message(2))) == {
        named(1): "refused full", named(2): "accepted",
    }  # fmt: skip
    monkeypatch.undo()
    assert await give(staying, batch(message(1))) == {named(1): "accepted"}


async def test_four_batches_at_once_are_enough(staying: House) -> None:
    """A fifth is told to come later; an open batch keeps a draining relay from being empty."""
    begun = [asyncio.Event() for _ in range(intake.MOST_OPEN)]
    go_on = asyncio.Event()

    async def slow(number: int) -> AsyncIterator[bytes]:
        yield parcel.MAGIC
        begun[number].set()
        await go_on.wait()
        yield message(number)
        yield parcel.END

    takes = [asyncio.create_task(staying.intake.take(slow(n), "")) for n in range(intake.MOST_OPEN)]
    for event in begun:
        await event.wait()
    with pytest.raises(Refused, match="busy"):
        await give(staying, batch(message(9)))
    await staying.call("POST", "/drain")
    assert (await staying.get("/drain"))["state"] == "draining"
    go_on.set()
    for take in takes:
        (result,) = (await take).results
        assert str(result.verdict) == "accepted", (
            "this house is asked for its word only, and has none against it"
        )
    await staying.call("DELETE", "/drain")
    assert len(await staying.messages()) == intake.MOST_OPEN


async def test_who_stops_in_the_middle_is_not_waited_for(
    staying: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is dropped after a while and the place is free for others."""
    monkeypatch.setattr(intake, "STALL_S", 0.05)

    async def stalls() -> AsyncIterator[bytes]:
        yield parcel.MAGIC + message(1)
        await asyncio.sleep(60)

    with pytest.raises(Malformed):
        await staying.intake.take(stalls(), "")
    assert staying.intake.open == 0
    assert await staying.messages() == {}


async def test_a_body_that_is_no_batch_is_said_so(staying: House) -> None:
    """400 with words, and only for who has the token."""
    answer = await staying.call("POST", "/handoff", data=b"hello")
    assert answer.status == 400
    assert "format 1" in answer.body["error"]
    assert (await staying.call("POST", "/handoff", data=HALF, token="other")).status == 401
    assert await staying.messages() == {}


async def test_old_names_are_forgotten_now_and_then(staying: House, house: Callable[..., object]) -> None:
    """The first batch and one an hour make room among the names that are remembered."""
    asked = 0
    forget = staying.spool.forget

    def note() -> None:
        nonlocal asked
        asked += 1
        forget()

    staying.spool.forget = note  # type: ignore[method-assign] # listened in
    for n in range(3):
        await give(staying, batch(message(n)))
    assert asked == 1
