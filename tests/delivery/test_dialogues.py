"""The dialogue files of the wire, played by a server on a socket: what becomes of each recipient."""

import pytest
from tests.support import dialogue
from tests.support.delivering import connection_to, send, told
from tests.support.dialogue import SENDER, Dialogue
from tests.support.scripted import Peer, Scripted

from waystation_relay.delivery.transaction import Result, Transaction
from waystation_relay.mail.envelope import Recipient


def keywords(played: Dialogue) -> list[str]:
    offers = played.offers
    return [word for word, has in (("PIPELINING", offers.pipelining), ("CHUNKING", offers.chunking)) if has]


def seen(result: Result, recipients: tuple[str, ...]) -> dict[str, str]:
    """The ``>`` lines of a result."""
    lines = {}
    for place, (recipient, outcome) in enumerate(zip(recipients, result.outcomes, strict=True)):
        line = told(outcome)
        lines[recipient] = line.replace("deferred", "again") if place in result.again else line
    state = "reusable" if result.reusable else "lost" if result.connection_lost else "closed"
    return {**lines, "connection": state}


@pytest.mark.parametrize("played", dialogue.load_all(), ids=lambda d: d.name)
@pytest.mark.parametrize("dripping", [False, True], ids=["answers whole", "answers byte by byte"])
async def test_dialogue(played: Dialogue, dripping: bool) -> None:
    """Over a real connection each recipient gets the outcome the file says, and so does the connection."""

    async def server(peer: Peer) -> None:
        await peer.hello(*keywords(played), verb="LHLO" if played.lmtp else "EHLO")
        for part in played.transactions:
            for turn in part.turns:
                await peer.exactly(turn.written)
                if dripping:
                    await peer.drip(b"".join(turn.answers))
                else:
                    peer.write(b"".join(turn.answers))
        if played.transactions[-1].outcomes["connection"] == "reusable":
            await peer.goodbye()
        assert await peer.hang_up() == b""

    async with Scripted(server) as scripted:
        connection = await connection_to(scripted.port, lmtp=played.lmtp)
        for part in played.transactions:
            people = tuple(Recipient(address) for address in played.recipients)
            result = await send(connection, Transaction(SENDER, people, played.content))
            assert seen(result, played.recipients) == part.outcomes
            assert connection.idle is result.reusable
        connection.quit()
