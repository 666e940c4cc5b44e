"""Servers that stall, met by a dispatcher with real connections and little patience.

The product's patience is minutes (``delivery.timeouts``); here it is a moment, and all else is real.
"""

import asyncio
import dataclasses
from collections.abc import Callable

import pytest
from tests.dispatch.world import World
from tests.support.delivering import At
from tests.support.mail import route
from tests.support.scripted import Peer, Script, Scripted

from waystation_contract.model import Delivery, Retry, SmartHost, UpstreamTLS
from waystation_relay.delivery.connect import ConnectFailure, Settings, connect
from waystation_relay.delivery.connection import Connection
from waystation_relay.delivery.target import Target
from waystation_relay.delivery.timeouts import Timeouts
from waystation_relay.mail.outcome import Reason

PATIENCE_S = 0.15
LITTLE = Timeouts(*[PATIENCE_S] * len(dataclasses.fields(Timeouts)))
RETRY = Retry(first_s=60, max_s=60, jitter_percent=0)
WITHIN_S = 10.0


class Network:
    """Leads to loopback ports."""

    def __init__(self, world: World) -> None:
        self.servers: dict[str, object] = {}  # none that the world would know

    def identity(self) -> object:
        return "relay.test"

    async def open(self, target: Target) -> Connection | ConnectFailure:
        return await connect(target, (At(target.host),), Settings("relay.test", timeouts=LITTLE))


def stalls_at(step: int) -> Script:
    """Answers so many commands, and then nothing more."""

    async def script(peer: Peer) -> None:
        for answer in ("220 mx.test", "250 mx.test", "250 ok", "250 ok", "354 go on")[:step]:
            peer.say(answer)
            if answer != "354 go on":
                await peer.line()
        if step == 5:
            await peer.content()
        await peer.silence()

    return script


async def drips(peer: Peer) -> None:
    """A byte of the greeting now and then, as long as anybody waits for more."""
    gone = asyncio.ensure_future(peer.hang_up())
    while not gone.done():
        peer.write(b"2")
        await asyncio.wait([gone], timeout=PATIENCE_S / 3)
    await gone


async def takes_all(peer: Peer) -> None:
    await peer.hello()
    while (line := await peer.line()) != "QUIT":
        peer.say("354 go on" if line == "DATA" else "250 ok")
        if line == "DATA":
            await peer.content()
            peer.say("250 2.0.0 thank you")
    peer.say("221 bye")


STALLS: dict[str, tuple[Script, str]] = {
    "before the greeting": (stalls_at(0), "did not answer the connection"),
    "at EHLO": (stalls_at(1), "did not answer EHLO"),
    "at MAIL": (stalls_at(2), "after MAIL"),
    "at RCPT": (stalls_at(3), "after RCPT"),
    "at DATA": (stalls_at(4), "after DATA"),
    "at the end of data": (stalls_at(5), "after the end of data"),
    "dripping its greeting": (drips, "did not answer the connection"),
}


@pytest.mark.parametrize(("script", "text"), STALLS.values(), ids=STALLS)
async def test_stalled_delivery_ends_and_is_made_later(
    build: Callable[..., object], script: Script, text: str
) -> None:
    """Each wait ends: the mail is put off, the reply says when it stalled, and the next try delivers."""
    async with Scripted(script, takes_all) as stalling, Scripted(takes_all) as decent:
        world: World = await build(  # type: ignore[misc] # the fixture is a coroutine function
            *(
                route(
                    f"mail/{name}",
                    recipients=(f"*@{name}.test",),
                    backends=(SmartHost(host=name, port=server.port, tls=UpstreamTLS.NONE),),
                    retry=RETRY,
                )
                for name, server in (("slow", stalling), ("decent", decent))
            ),
            network=Network,
            delivery=Delivery(connections_per_destination=1),
        )
        await world.receive("ann@slow.test")
        await world.receive("bob@decent.test")
        await delivered(world, "mail/decent")
        assert attempted(world)[0] == "mail/decent", "it did not wait for the other one"
        await world.until_so(lambda: len(attempted(world)) == 2, "the stalled attempt to end")
        await world.idle()
        (row,) = (await world.only()).pending
        assert row.last_reason is Reason.CONNECT
        assert row.last_reply is not None
        assert text in row.last_reply.text
        assert world.lanes.slots_busy <= 1, "the decent server's idle connection"
        world.clock.advance(61)
        world.lanes.sweep()
        world.loader.look()
        await delivered(world, "mail/slow")
        await world.until_so(lambda: not world.dispatcher.flights, "the outcome to be on disk")
        await world.idle()
        assert await world.queue() == []
        for server in tuple(world.lanes.by_target.values()):
            for connection in tuple(server.connections):
                connection.quit()
        await world.until_so(lambda: world.lanes.slots_busy == 0, "every slot to be given back")


def attempted(world: World) -> list[str]:
    return [found for found, *_ in world.metrics.deliveries]


async def delivered(world: World, name: str) -> None:
    await world.until_so(
        lambda: any(d[:2] == (name, "delivered") for d in world.metrics.deliveries), f"{name} to be delivered"
    )
