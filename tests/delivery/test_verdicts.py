"""Whose answer decides, where the dialogue files do not show it."""

import pytest
from tests.support.delivering import told, transaction
from tests.support.dialogue import offered

from waystation_relay.delivery import verdicts
from waystation_relay.delivery.offer import Offer, prepare
from waystation_relay.delivery.verdicts import Hop
from waystation_relay.mail.outcome import Outcome, Remote
from waystation_relay.mail.reply import Reply
from waystation_relay.wire.client import Exchange

REMOTE = Remote("mx.test", "192.0.2.25", 25)


def hop(*, lmtp: bool = False, excused: bool = False, dsn: bool = False) -> Hop:
    return Hop(REMOTE, lmtp=lmtp, dsn=dsn, excused=excused)


def judged(keywords: str, people: int, *codes: int, lmtp: bool = False) -> tuple[list[str], tuple[int, ...]]:
    """Outcomes and places to send again when a server answers with these codes and the content was sent."""
    capabilities = offered(keywords)
    offer = prepare(transaction(*(f"r{n}@x.test" for n in range(people))), capabilities)
    assert isinstance(offer, Offer)
    exchange = Exchange(offer.mail, offer.rcpts, offer.size_bytes, capabilities, lmtp=lmtp)
    exchange.begin(reset=False)
    exchange.content_sent = True
    for code in codes:
        exchange.receive(Reply(code, "4.5.3" if code == 452 else "", ("",)))
    found, again = verdicts.outcomes(exchange, offer, people, None, hop(lmtp=lmtp))
    return [told(outcome) for outcome in found], again


DELIVERED = "delivered 250 2.0.0"
CROWDED = "deferred throttled 452 4.5.3"


@pytest.mark.parametrize(
    ("codes", "outcomes", "again"),
    [
        pytest.param((250, 250, 452, 354, 250), [DELIVERED, CROWDED], (1,), id="another finds room"),
        pytest.param(
            (250, 250, 452, 354, 550), ["failed policy 550 5.7.0", CROWDED], (1,), id="or is settled"
        ),
        pytest.param(
            (250, 250, 452, 354, 451), ["deferred other 451 4.3.0", CROWDED], (), id="none is settled"
        ),
        pytest.param((250, 452, 452, 354, 250), [CROWDED, CROWDED], (), id="no room for anybody"),
        pytest.param(
            (250, 550, 452, 354, 250), ["failed bad-address 550 5.1.1", CROWDED], (), id="none accepted"
        ),
        pytest.param((250, 250, 452, 421), ["deferred throttled 421 4.3.2", CROWDED], (), id="the end"),
        pytest.param((550, 503, 452, 503), ["failed policy 550 5.7.0"] * 2, (), id="the sender is refused"),
    ],
)
def test_no_room(codes: tuple[int, ...], outcomes: list[str], again: tuple[int, ...]) -> None:
    """Who found no room is sent again at once only when that leads somewhere."""
    assert judged("PIPELINING", 2, *codes) == (outcomes, again)


def test_servers_of_old_say_552_for_too_many() -> None:
    """A recipient refused for good because there are too many waits: RFC 5321 §4.5.3.1.10 asks for that."""
    said = Reply(552, "", ("too many recipients",))
    assert told(hop().outcome(said, verdicts.At.RCPT)) == "deferred throttled 552 5.5.3"


def test_left_by_rcptmax_when_the_sender_is_refused() -> None:
    """A refused sender is refused for those too who had to wait for another transaction."""
    assert judged("LIMITS RCPTMAX=1", 2, 550) == (["failed policy 550 5.7.0"] * 2, ())


def test_lmtp_server_that_refuses_the_content_as_a_whole() -> None:
    """Refused before it was sent to its end, content is refused for all, though one answer came."""
    capabilities = offered("")
    offer = prepare(transaction("a@x.test", "b@x.test"), capabilities)
    assert isinstance(offer, Offer)
    exchange = Exchange(offer.mail, offer.rcpts, offer.size_bytes, capabilities, lmtp=True)
    exchange.begin(reset=False)
    for code in (250, 250, 250, 354, 552):
        exchange.receive(Reply(code, "", ("",)))
    found, _ = verdicts.outcomes(exchange, offer, 2, None, hop(lmtp=True))
    assert [told(outcome) for outcome in found] == ["failed too-large 552 5.3.4"] * 2


@pytest.mark.parametrize(
    ("excused", "outcome"),
    [
        pytest.param(True, "deferred auth 530 5.7.0", id="a smart host: our misconfiguration"),
        pytest.param(False, "failed auth 530 5.7.0", id="a domain's mail host: its own"),
    ],
)
def test_authentication_required(excused: bool, outcome: str) -> None:
    """A server that wants a login bounces mail only where nobody here could give it one."""
    said = Reply(530, "5.7.0", ("Authentication required",))
    assert told(hop(excused=excused).outcome(said, verdicts.At.MAIL)) == outcome


def test_delivered_says_how() -> None:
    """A delivery is final over LMTP, and passes on the duty of success notices where DSN is offered."""
    said = Reply(250, "", ("ok",))
    over_lmtp: Outcome = hop(lmtp=True).outcome(said, verdicts.At.CONTENT)
    with_dsn: Outcome = hop(dsn=True).outcome(said, verdicts.At.CONTENT)
    assert (over_lmtp.final, over_lmtp.dsn_passed) == (True, False)  # type: ignore[union-attr]
    assert (with_dsn.final, with_dsn.dsn_passed) == (False, True)  # type: ignore[union-attr]
    assert over_lmtp.remote == REMOTE
