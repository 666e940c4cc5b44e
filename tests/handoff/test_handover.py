"""What leaves and when, what peers may do to it, and how it ends. Peers misbehave as real servers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from tests.handoff.conftest import House, PatientHouse, for_a_while, until
from tests.support.ports import free_port

from waystation_relay.handoff.claims import PATIENCE_S
from waystation_relay.handoff.peers import STICK_S

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
HELLO = {"spool": "OTHER", "format": 1, "refusal": ""}


@contextlib.asynccontextmanager
async def peer(hello: object, take: Handler | None = None) -> AsyncIterator[str]:
    """A server that says ``hello`` and treats batches as ``take`` does; its URL."""

    async def greet(_: web.Request) -> web.Response:
        return hello if isinstance(hello, web.Response) else web.json_response(hello)

    async def no(_: web.Request) -> web.Response:
        raise AssertionError("nothing was to be sent")

    application = web.Application(client_max_size=2**30)
    application.add_routes([web.get("/handoff", greet), web.post("/handoff", take or no)])
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


async def test_what_is_not_due_leaves_with_its_history(leaving: House, staying: House) -> None:
    """Deferred and held mail goes at once, and is there what it was here."""
    await leaving.later("ann@corp.test")
    await leaving.put("bob@corp.test", "cy@corp.test", hold="asked by legal")
    before = await leaving.messages()
    leaving.give(staying.url)
    await until(lambda: leaving.spool.stats().messages == 0, "everything to leave")
    after = await staying.messages()
    assert after.keys() == before.keys()
    for queue_id, message in before.items():
        there = after[queue_id]
        assert (there.envelope, there.origin, there.arrival) == (
            message.envelope, message.origin, message.arrival,
        )  # fmt: skip
        assert there.pending == message.pending
    assert leaving.said("handed_off") == 2
    assert {fields["queue_id"] for fields in leaving.log.of("message.handed_off")} == before.keys()
    assert leaving.is_free()


async def test_what_is_due_is_attempted_first(leaving: House, staying: House) -> None:
    """It stays for a minute, as it may be delivered; after that it is not kept for a turn it does not get."""
    await leaving.put("ann@corp.test")
    leaving.give(staying.url)
    await for_a_while()
    assert leaving.spool.stats().messages == 1
    leaving.clock.advance(PATIENCE_S + 1)
    await until(lambda: leaving.spool.stats().messages == 0, "it to leave")
    assert staying.spool.stats().messages == 1


async def test_what_is_being_delivered_stays(leaving: House, staying: House) -> None:
    """Another relay must not attempt what this one is attempting."""
    await leaving.put("ann@corp.test", deliver=True)
    await leaving.later("bob@corp.test")
    leaving.give(staying.url)
    await until(lambda: leaving.spool.stats().messages == 1, "the other to leave")
    leaving.clock.advance(PATIENCE_S + 1)
    await for_a_while()
    assert leaving.spool.stats().messages == 1
    assert len(leaving.dispatcher.flights) == 1


async def test_without_peers_everything_stays(leaving: House) -> None:
    """Draining without hand-off is what it always was."""
    await leaving.later("ann@corp.test")
    leaving.give()
    await for_a_while()
    assert leaving.spool.stats().messages == 1
    assert leaving.said("peers") == {}


async def never(_: web.Request) -> web.Response:
    await asyncio.sleep(60)
    raise AssertionError


async def hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def says(body: object, status: int = 200) -> Handler:
    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.json_response(body, status=status)

    return take


async def babble(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b"\xff\x00 accepted accepted")


async def endless(request: web.Request) -> web.StreamResponse:
    await request.read()
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(100):
        await response.write(b"[" * 65_536)
    return response


RESULT = {"name": "1KA3ZQ9W0TH-7F2QX", "verdict": "accepted"}
GREETINGS = {
    "garbage": ("hello?", "protocol"),
    "not found": (web.Response(status=404), "protocol"),
    "another token": (web.Response(status=401), "unauthorized"),
    "a redirection": (web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}), "protocol"),
    "another format": ({**HELLO, "format": 0}, "format"),
    "full": ({**HELLO, "refusal": "full"}, "full"),
}
CONDUCT: dict[str, tuple[Handler, str]] = {
    "hangs": (never, "no-answer"),
    "hangs up": (hang_up, "no-answer"),
    "answers garbage": (babble, "no-answer"),
    "never ends its answer": (endless, "no-answer"),
    "answers for others": (says({"spool": "OTHER", "results": [RESULT]}), "no-answer"),
    "answers for nobody": (says({"spool": "OTHER", "results": []}), "no-answer"),
    "is somebody else": (says({"spool": "XXXXX", "results": []}), "no-answer"),
    "fails": (says({}, 500), "no-answer"),
    "fails without a word": (says({}, 503), "no-answer"),
    "has another token": (says({}, 401), "unauthorized"),
    "knows no such format": (says({}, 400), "format"),
    "is full": (says({"reason": "full"}, 503), "full"),
}


@pytest.mark.parametrize(("hello", "reason"), GREETINGS.values(), ids=GREETINGS)
async def test_who_does_not_welcome_mail_gets_none(leaving: House, hello: object, reason: str) -> None:
    """Nothing is sent to what is no relay of the pool or takes nothing now; GET /drain says why."""
    if isinstance(hello, web.Response):
        hello = web.Response(status=hello.status, headers=hello.headers)
    await leaving.later("ann@corp.test")
    async with peer(hello) as url:
        leaving.give(url)
        await until(lambda: leaving.said("peers") == {url: reason}, f"the peer to be {reason}")
        assert leaving.spool.stats().messages == 1


async def test_itself_is_no_peer(leaving: House) -> None:
    """A list of peers may name the relay that leaves: it does not give its mail to itself."""
    await leaving.later("ann@corp.test")
    leaving.give(leaving.url)
    await until(lambda: leaving.said("peers") == {leaving.url: "itself"}, "it to be known")
    assert leaving.spool.stats().messages == 1


async def test_nobody_there(leaving: House) -> None:
    """A peer that is gone costs nothing but patience."""
    await leaving.later("ann@corp.test")
    url = f"http://127.0.0.1:{free_port()}"
    leaving.give(url)
    await until(lambda: leaving.said("peers") == {url: "unreachable"}, "it to be known")
    assert leaving.spool.stats().messages == 1


@pytest.mark.parametrize(("take", "reason"), CONDUCT.values(), ids=CONDUCT)
async def test_whatever_a_peer_does_the_mail_stays(leaving: House, take: Handler, reason: str) -> None:
    """It leaves for an answer that says it is there, and for nothing else."""
    queue_id = await leaving.later("ann@corp.test")
    async with peer(HELLO, take) as url:
        leaving.give(url)
        await until(lambda: leaving.said("refused") == {reason: 1}, f"the refusal {reason}")
        await until(leaving.is_free, "the message to be let go of")
        assert (await leaving.messages()).keys() == {queue_id}
        assert leaving.said("handed_off") == 0
        assert leaving.log.of("internal.error") == []


async def test_a_refused_message_stays(leaving: House) -> None:
    """One of two is taken: the other is kept, with the reason."""

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        names = [leaving.spool.queue_id(message.id) for message in before.values()]
        assert all(name.encode() in body for name in names)
        verdicts = ("duplicate", "refused")
        results = [
            {"name": name, "verdict": verdict, "reason": "io"}
            for name, verdict in zip(names, verdicts, strict=True)
        ]
        return web.json_response({"spool": "OTHER", "results": results})

    taken, kept = await leaving.later("ann@corp.test"), await leaving.later("bob@corp.test")
    before = await leaving.messages()
    async with peer(HELLO, take) as url:
        leaving.give(url)
        await until(lambda: leaving.spool.stats().messages == 1, "one to leave")
        assert (await leaving.messages()).keys() == {kept}
        assert leaving.said("refused") == {"io": 1}
        assert [fields["queue_id"] for fields in leaving.log.of("message.handed_off")] == [taken]


async def test_the_next_peer_takes_what_the_first_refuses(leaving: House, staying: House) -> None:
    """A full relay does not keep mail from those with room."""
    for n in range(20):
        await leaving.later(f"n{n}@corp.test")
    async with peer(HELLO, says({"reason": "full"}, 503)) as url:
        leaving.give(url, staying.url)
        await until(lambda: leaving.spool.stats().messages == 0, "everything to leave")
        assert staying.spool.stats().messages == 20


async def test_what_may_have_been_taken_waits_for_that_peer(leaving: House, staying: House) -> None:
    """A lost answer is no reason to deliver twice; after two minutes another relay gets it all the same."""
    await leaving.later("ann@corp.test")
    async with peer(HELLO, never) as url:
        leaving.give(url)
        await until(lambda: leaving.said("refused") == {"no-answer": 1}, "no answer")
        leaving.handover.begin([url, staying.url])
        leaving.clock.advance(20)
        await until(lambda: leaving.said("refused") == {"no-answer": 2}, "no answer again")
        assert staying.spool.stats().messages == 0
        leaving.clock.advance(STICK_S)
        await until(lambda: leaving.spool.stats().messages == 0, "it to leave")
        assert staying.spool.stats().messages == 1


async def test_an_offer_that_is_repeated_is_recognised(leaving: House, staying: House) -> None:
    """The answer got lost on its way: the mail is at the peer once, and leaves here."""
    queue_id = await leaving.later("ann@corp.test")
    lost = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        """Passes it on and keeps the answer for itself."""
        body = await request.read()
        said = (await staying.call("POST", "/handoff", data=body)).body
        if not lost.is_set():
            lost.set()
            return await hang_up(request)
        return web.json_response(said)

    async with peer({**HELLO, "spool": staying.spool.tag}, take) as url:
        leaving.give(url)
        await until(lambda: leaving.said("refused") == {"no-answer": 1}, "the answer to be lost")
        assert (await leaving.messages()).keys() == (await staying.messages()).keys() == {queue_id}
        leaving.clock.advance(20)
        await until(lambda: leaving.spool.stats().messages == 0, "it to leave")
    assert (await staying.messages()).keys() == {queue_id}
    verdicts = [(labels, n) for labels, n in staying.metrics._counts["handoff_messages_total"].values.items()]
    assert sorted(verdicts) == [(("in", "accepted"), 1), (("in", "duplicate"), 1)]


async def test_what_is_damaged_does_not_keep_the_rest(leaving: House, staying: House) -> None:
    """One message that no relay would take, and one without its body: they stay and are counted."""
    good = await leaving.later("ann@corp.test")
    bad = await leaving.put("bob@corp.test\r\nRCPT TO:<eve@corp.test>", hold="by hand")
    lost = await leaving.put("cy@corp.test", hold="by hand")
    message = await leaving.spool.get(lost)
    assert message is not None
    db = leaving.spool._committer.index.db
    db.execute("UPDATE bodies SET content = x'00' WHERE message_id = ?", (message.id,))
    leaving.give(staying.url)
    await until(lambda: leaving.said("unreadable") == 2, "both to be found")
    assert (await leaving.messages()).keys() == {bad, lost}
    assert (await staying.messages()).keys() == {good}
    await until(leaving.is_free, "nothing to be claimed")


async def test_stopping_finishes_the_batch_under_way(leaving: House, staying: House) -> None:
    """DELETE /drain: what the peer has taken is settled, nothing else is offered."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        begun.set()
        await go_on.wait()
        return web.json_response((await staying.call("POST", "/handoff", data=body)).body)

    for n in range(10):
        await leaving.later(f"n{n}@corp.test")
    async with peer({**HELLO, "spool": staying.spool.tag}, take) as url:
        leaving.give(url)
        await begun.wait()
        await leaving.later("late@corp.test")
        leaving.handover.stop()
        go_on.set()
        await until(lambda: leaving.spool.stats().messages == 1, "the batch to be settled")
        await for_a_while()
    assert staying.spool.stats().messages == 10
    assert [m.envelope.recipients[0].address for m in (await leaving.messages()).values()] == [
        "late@corp.test"
    ]
    assert leaving.is_free()


async def test_mail_that_was_handed_over_may_come_back(leaving: House, staying: House) -> None:
    """Two relays that leave in turn give each other the same mail, and none takes it for a duplicate."""
    queue_id = await leaving.later("ann@corp.test")
    for giver, taker in ((leaving, staying), (staying, leaving), (leaving, staying), (staying, leaving)):
        giver.give(taker.url)
        await until(lambda giver=giver: giver.spool.stats().messages == 0, "it to leave")
        giver.handover.stop()
        assert (await taker.messages()).keys() == {queue_id}


async def test_two_peers_share_the_load(house: Callable[..., Awaitable[House]]) -> None:
    """Each gets a part; which goes where follows from its name, so that a second try goes there too."""
    leaving, one, other = await house(PatientHouse), await house(), await house()
    for n in range(60):
        await leaving.later(f"n{n}@corp.test")
    leaving.give(one.url, other.url)
    await until(lambda: leaving.spool.stats().messages == 0, "everything to leave")
    counts = (one.spool.stats().messages, other.spool.stats().messages)
    assert sum(counts) == 60
    assert min(counts) > 5


BODIES = {
    "no body": (None, 200),
    "no peers": ({"peers": []}, 200),
    "peers": ({"peers": ["http://127.0.0.1:8025", "http://[::1]:8025", "http://pool-0.pool-pods:8025"]}, 200),
    "another scheme": ({"peers": ["ftp://127.0.0.1:8025"]}, 400),
    "a path": ({"peers": ["http://127.0.0.1:8025/handoff"]}, 400),
    "a password": ({"peers": ["http://a:b@127.0.0.1:8025"]}, 400),
    "no port": ({"peers": ["http://127.0.0.1"]}, 400),
    "a word": ({"peers": "all"}, 400),
    "something else": ({"pears": []}, 400),
    "too many": ({"peers": ["http://127.0.0.1:8025"] * 1001}, 400),
}


@pytest.mark.parametrize(("body", "status"), BODIES.values(), ids=BODIES)
async def test_peers_are_addresses_of_admin_ports(leaving: House, body: object, status: int) -> None:
    """Anything else is refused, and draining has not begun."""
    answer = await leaving.call("POST", "/drain", body)
    assert answer.status == status
    assert (await leaving.get("/drain"))["state"] == ("empty" if status == 200 else "active")
