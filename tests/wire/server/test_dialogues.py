"""Conversations with the server machine, as files: whole, byte by byte, and cut at random."""

import random
from collections.abc import Iterator

import pytest
from tests.wire.server import script
from tests.wire.server.recorder import Recorder
from tests.wire.server.script import Cut, Script

SCRIPTS = script.load_all()


def cut_at_random(seed: int) -> Cut:
    dice = random.Random(seed)

    def cut(data: bytes) -> Iterator[bytes]:
        while data:
            size = dice.choice((1, 2, 3, 5, 8, 40, 300))
            yield data[:size]
            data = data[size:]

    return cut


WAYS = [
    pytest.param(script.whole, False, id="whole"),
    pytest.param(script.bytewise, False, id="byte by byte"),
    pytest.param(script.whole, True, id="whole, the disk is slow"),
    pytest.param(script.bytewise, True, id="byte by byte, the disk is slow"),
    *(pytest.param(cut_at_random(seed), bool(seed % 2), id=f"cut at random {seed}") for seed in range(6)),
]


@pytest.mark.parametrize("dialogue", SCRIPTS, ids=lambda x: x.name)
@pytest.mark.parametrize(("cut", "late"), WAYS)
def test_the_conversation_goes_as_written(dialogue: Script, cut: Cut, late: bool) -> None:
    """What a client sends gets these replies and has these effects, however the network cuts it up."""
    host = Recorder()
    server = script.begun(dialogue.begin, host)
    for turn in dialogue.turns:
        for when, said in turn.host:
            host.say(when, said)
        if turn.tls:
            assert server.tls_begins
            assert server.tls_started() == b""
        assert script.say(server, host, cut(turn.sent), late=late) == turn.answered
        assert server.is_closing == turn.closed
    assert host.messages == dialogue.messages
    assert host.unsaid == []


def test_there_are_dialogues() -> None:
    """The folder is found, and each file says in its first line what it shows."""
    assert len(SCRIPTS) > 50
    assert [dialogue.name for dialogue in SCRIPTS if not dialogue.title.endswith(".")] == []
