"""One transaction from the client's side, driven by dialogue files (tests/support/dialogue.py)."""

from collections.abc import Iterator, Sequence

import pytest
from tests.support import dialogue
from tests.support.dialogue import SENDER, Dialogue, Transaction, code

from waystation_relay.mail.envelope import Recipient
from waystation_relay.mail.reply import Reply
from waystation_relay.wire import envelope_commands as commands
from waystation_relay.wire.client import EXPECTED, Exchange, Order, Stage
from waystation_relay.wire.response import Responses
from waystation_relay.wire.stuffing import END, stuff

DIALOGUES = dialogue.load_all()
EVERY_DIALOGUE = pytest.mark.parametrize("played", DIALOGUES, ids=lambda d: d.name)


def exchange_of(played: Dialogue) -> Exchange:
    rcpts = [commands.rcpt(Recipient(address)) for address in played.recipients]
    size_bytes = len(played.content)
    return Exchange(commands.mail(SENDER), rcpts, size_bytes, played.offers, lmtp=played.lmtp)


def written(order: Order, exchange: Exchange, content: bytes) -> bytes:
    """What a caller writes for an order."""
    if order is Order.WRITE:
        return exchange.outgoing
    assert order is Order.CONTENT
    exchange.content_sent = True
    return exchange.outgoing + (content if exchange.chunked else stuff(content) + END)


def seen(exchange: Exchange) -> dict[str, list[str]]:
    """The ``=`` lines that describe how a transaction ended."""
    lines = {
        "mail": [code(exchange.mail_reply)] if exchange.mail_reply else None,
        "rcpt": [code(r) for r in exchange.rcpt_replies],
        "data": [code(exchange.data_reply)] if exchange.data_reply else None,
        "end": [code(r) for r in exchange.end_replies],
        "broken": [code(exchange.broken)] if exchange.broken else None,
        "reset": [] if exchange.needs_reset else None,
    }
    return {what: codes for what, codes in lines.items() if codes is not None}


def play(
    exchange: Exchange, transaction: Transaction, content: bytes, pieces: int, *, reset: bool
) -> Iterator[Order]:
    """Feeds the server's side in pieces of so many bytes (0: each turn whole); yields each order."""
    responses = Responses()
    order = exchange.begin(reset=reset)
    for turn in transaction.turns:
        assert written(order, exchange, content) == turn.written
        arriving = b"".join(turn.answers)
        count = 0
        for at in range(0, len(arriving), pieces or len(arriving)):
            for reply in responses.receive(arriving[at : at + (pieces or len(arriving))]):
                count += 1
                order = exchange.receive(reply)
                assert order is Order.WAIT or count == len(turn.answers), (
                    "acted before all answers were there"
                )
                yield order
        assert count == len(turn.answers)
    assert order is Order.DONE
    assert not responses.is_pending


@EVERY_DIALOGUE
@pytest.mark.parametrize("pieces", [0, 1, 7], ids=["whole", "byte by byte", "by sevens"])
def test_dialogue(played: Dialogue, pieces: int) -> None:
    """The client writes what the file says, when it says so, and files each answer where it belongs."""
    reset = False
    for transaction in played.transactions:
        exchange = exchange_of(played)
        list(play(exchange, transaction, played.content, pieces, reset=reset))
        assert exchange.stage is Stage.DONE
        assert seen(exchange) == transaction.replies
        reset = exchange.needs_reset


def test_dialogues_cover_every_grouping() -> None:
    """There is a dialogue for each way commands are grouped, over SMTP and over LMTP."""
    modes = {(d.lmtp, d.offers.pipelining, d.offers.chunking) for d in DIALOGUES}
    assert modes >= {
        (False, False, False),
        (False, True, False),
        (False, False, True),
        (False, True, True),
        (True, False, False),
        (True, True, False),
        (True, True, True),
    }


# What may happen at any moment: the answers up to there, then another.


def _answers(played: Dialogue) -> int:
    return sum(len(turn.answers) for turn in played.transactions[0].turns)


AT_ANY_MOMENT = pytest.mark.parametrize(
    ("played", "count"),
    [
        pytest.param(played, count, id=f"{played.name} after {count}")
        for played in DIALOGUES
        for count in range(_answers(played))
    ],
)


def reach(played: Dialogue, count: int) -> Exchange | None:
    """The exchange after so many answers; None when it is over by then."""
    exchange = exchange_of(played)
    orders = play(exchange, played.transactions[0], played.content, 0, reset=False)
    for _ in range(count):
        next(orders)
    if count == 0:
        written(exchange.begin(reset=False), exchange, played.content)
    elif exchange.stage is Stage.END:
        exchange.content_sent = True
    return exchange if exchange.stage is not Stage.DONE else None


@AT_ANY_MOMENT
def test_421_at_any_moment_ends_it(played: Dialogue, count: int) -> None:
    """A server that closes is believed at once; what it had answered before still counts."""
    exchange = reach(played, count)
    assert exchange is not None
    before = seen(exchange)
    assert exchange.receive(Reply(421, "4.3.2", ("bye",))) is Order.DONE
    assert not exchange.is_nonsense
    assert seen(exchange) == {**before, "broken": ["421"]}


@AT_ANY_MOMENT
def test_nonsense_at_any_moment_ends_it(played: Dialogue, count: int) -> None:
    """An answer that fits no command at this place ends the conversation, and is kept to be shown."""
    exchange = reach(played, count)
    assert exchange is not None
    absurd = next(code for code in (220, 354) if code // 100 not in EXPECTED[exchange.stage])
    assert exchange.receive(Reply(absurd, "", ("eh",))) is Order.DONE
    assert exchange.is_nonsense
    assert code(exchange.broken) == str(absurd)


@pytest.mark.parametrize("lmtp", [False, True], ids=["SMTP", "LMTP"])
@pytest.mark.parametrize(
    ("answer", "believed"),
    [
        pytest.param(Reply(250, "2.0.0", ("thanks",)), False, id="success is not"),
        pytest.param(Reply(552, "5.3.4", ("too large",)), True, id="refusal is"),
        pytest.param(Reply(452, "4.3.1", ("disk full",)), True, id="temporary refusal is"),
    ],
)
def test_answer_before_the_content_is_complete(lmtp: bool, answer: Reply, believed: bool) -> None:
    """A server cannot have accepted what it has not read to its end; that it wants no more it may say."""
    offers = dialogue.offered("PIPELINING")
    rcpts = [commands.rcpt(Recipient(f"{name}@x.test")) for name in ("ann", "bob")]
    exchange = Exchange(commands.mail(SENDER), rcpts, 1_000_000, offers, lmtp=lmtp)
    exchange.begin(reset=False)
    orders = [exchange.receive(Reply(number, "", ("ok",))) for number in (250, 250, 250, 354)]
    assert orders[-1] is Order.CONTENT
    assert exchange.receive(answer) is Order.DONE
    assert (exchange.end_replies == [answer]) is believed
    assert exchange.is_nonsense is not believed


def test_answers_are_never_expected_after_the_end() -> None:
    """When a transaction is over, nothing the server says belongs to it."""
    assert EXPECTED[Stage.DONE] == frozenset()
    exchange = exchange_of(DIALOGUES[0])
    exchange.begin(reset=False)
    exchange.receive(Reply(421, "", ("bye",)))
    assert exchange.stage is Stage.DONE
    assert exchange.receive(Reply(250, "", ("hello again",))) is Order.DONE
    assert code(exchange.broken) == "250"


@pytest.mark.parametrize("count", [1, 2, 50])
def test_content_is_ordered_only_when_wanted(count: int) -> None:
    """Whichever recipients are refused, content is sent exactly when one is left and MAIL was accepted."""
    for offers in ("", "PIPELINING", "CHUNKING"):
        for mail in (250, 550):
            for wanted in {0, 1, count}:
                orders = _orders(dialogue.offered(offers), mail, [250] * wanted + [550] * (count - wanted))
                assert (Order.CONTENT in orders) is (mail == 250 and wanted > 0)


def _orders(offers: dialogue.Capabilities, mail: int, rcpts: Sequence[int]) -> list[Order]:
    exchange = Exchange(b"MAIL\r\n", [b"RCPT\r\n"] * len(rcpts), 1_000_000, offers, lmtp=False)
    orders = [exchange.begin(reset=False), exchange.receive(Reply(mail, "", ("",)))]
    if exchange.stage is Stage.RCPT:
        orders += [exchange.receive(Reply(answer, "", ("",))) for answer in rcpts]
    if exchange.stage is Stage.DATA:
        orders.append(exchange.receive(Reply(354, "", ("",))))
    return orders
