"""Every verb in every state (RFC 5321 §4.1.4)."""

import pytest
from tests.wire.server import script
from tests.wire.server.recorder import Recorder

from waystation_relay.wire.order import ORDER, WRONG_ORDER, State
from waystation_relay.wire.server import VERBS

# The reply's code and the state afterwards; "=": the state stays; "end": the server hangs up.
#          before EHLO    after it       a sender        a recipient    between chunks
TABLE = """
EHLO       250 READY      250 READY      250 READY       250 READY      250 READY
HELO       250 READY      250 READY      250 READY       250 READY      250 READY
MAIL       503 =          250 MAIL       503 =           503 =          503 =
RCPT       503 =          503 =          250 RCPT        250 RCPT       503 =
DATA       503 =          503 =          554 =           354 RCPT       503 =
BDAT       503 =          503 =          554 =           250 CHUNKS     250 CHUNKS
RSET       250 START      250 READY      250 READY       250 READY      250 READY
NOOP       250 =          250 =          250 =           250 =          250 =
VRFY       252 =          252 =          252 =           252 =          252 =
HELP       214 =          214 =          214 =           214 =          214 =
QUIT       221 end        221 end        221 end         221 end        221 end
STARTTLS   503 =          220 READY      220 READY       220 READY      503 =
EXPN       502 =          502 =          502 =           502 =          502 =
TURN       502 =          502 =          502 =           502 =          502 =
ETRN       502 =          502 =          502 =           502 =          502 =
AUTH       502 =          502 =          502 =           502 =          502 =
"""
ARGUMENTS = {
    "EHLO": " client.test",
    "HELO": " client.test",
    "MAIL": " FROM:<c@shop.test>",
    "RCPT": " TO:<d@next.test>",
    "BDAT": " 3\r\nb\r\n",
    "VRFY": " somebody",
}
ROWS = [line.split() for line in TABLE.strip().splitlines()]
CASES = [
    pytest.param(verb, state, code, after, id=f"{verb} in {state.name}")
    for verb, *cells in ROWS
    for state, code, after in zip(State, cells[::2], cells[1::2], strict=True)
]


def command(verb: str) -> bytes:
    return f"{verb}{ARGUMENTS.get(verb, '')}".encode() + (b"" if verb == "BDAT" else b"\r\n")


def test_the_table_has_every_verb() -> None:
    """A verb that is added to the server must be added here."""
    assert {row[0] for row in ROWS} == set(ORDER) == {verb.decode() for verb in VERBS}


@pytest.mark.parametrize(("verb", "state", "code", "after"), CASES)
def test_a_command_in_its_place_and_out_of_it(verb: str, state: State, code: str, after: str) -> None:
    """What may be said where, and what is said when it may not; a wrong command changes nothing."""
    host = Recorder()
    server = script.begun(state, host)
    resets = host.resets
    said = server.receive(command(verb))
    assert said[:4] == f"{code} ".encode() or said[:4] == f"{code}-".encode()
    assert said.count(b"\r\n") >= 1
    assert server.is_closing == (after == "end")
    if after == "=":
        assert server.state is state
        assert host.resets == resets
    elif after != "end":
        assert server.state is State[after]


@pytest.mark.parametrize(
    ("verb", "state"),
    [pytest.param(v, s, id=f"{v} in {s.name}") for v in ORDER for s in State if s not in ORDER[v]],
)
def test_out_of_order_counts_as_an_error(verb: str, state: State) -> None:
    """Twenty commands out of their place end the session."""
    host = Recorder()
    server = script.begun(state, host)
    expected = WRONG_ORDER.get((verb, state)) or WRONG_ORDER[verb, None]
    for _ in range(19):
        assert server.receive(command(verb)) == expected
        assert server.state is state
    said = server.receive(command(verb))
    assert said == expected + b"421 4.7.0 Too many errors, closing connection\r\n"
    assert server.is_closing
