"""The replies of the machine itself: what documents promise is what is said."""

import re

import pytest
from tests.support.tables import table

from waystation_relay.wire import replies

FIXED = {name: said for name, said in vars(replies).items() if isinstance(said, bytes)}
REFUSALS = {said for said in FIXED.values() if said[:1] in b"45"}


def test_the_documented_replies_are_those_said() -> None:
    """docs/receiving.md has every refusal of the protocol, word by word."""
    rows = table("receiving.md", "reply", "text", "when")
    documented = [f"{row['reply']} {row['text']}\r\n".encode() for row in rows]
    assert sorted(documented) == sorted(REFUSALS)


@pytest.mark.parametrize("said", FIXED.values(), ids=FIXED)
def test_a_reply_is_well_formed(said: bytes) -> None:
    """RFC 5321 §4.2, RFC 2034: code, enhanced code of the same class, short ASCII lines; 354 has none."""
    lines = said.decode("ascii").split("\r\n")
    assert lines.pop() == ""
    for number, line in enumerate(lines):
        mark = " " if number == len(lines) - 1 else "-"
        found = re.fullmatch(rf"([2-5])\d\d{mark}(?:\1\.\d\.\d )?[ -~]+", line)
        assert found is not None
        assert len(line) <= 510
    assert (said[:3] == b"354") == (re.match(rb"\d{3}.\d\.\d\.\d ", said) is None)


def test_a_queue_id_is_the_last_word_of_the_250() -> None:
    """Programs look for it there."""
    assert replies.queued("1KA3ZQ9W0TH-7F2QX") == b"250 2.0.0 Ok: queued as 1KA3ZQ9W0TH-7F2QX\r\n"
