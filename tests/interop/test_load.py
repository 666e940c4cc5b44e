"""A load from smtp-source to smtp-sink, through the relay: everything arrives, and once."""

from collections.abc import Iterator

import pytest
from tests.support import clients
from tests.support.relay import RelayProcess, route, to
from tests.support.smtpsink import CountingSink
from tests.support.waiting import until

MESSAGES = 2000


@pytest.fixture(scope="module")
def smtp_sink() -> Iterator[CountingSink]:
    with CountingSink() as running:
        yield running


@pytest.fixture(scope="module")
def relay(new_relay: RelayProcess, smtp_sink: CountingSink) -> RelayProcess:
    new_relay.configure(route(to(smtp_sink.port)))
    return new_relay.start()


@pytest.mark.parametrize("reuse", [False, True], ids=["a connection each", "connections reused"])
def test_every_message_arrives_once(relay: RelayProcess, smtp_sink: CountingSink, reuse: bool) -> None:
    """2,000 messages by 20 clients at once, whether or not they keep their connections."""
    target = smtp_sink.messages + MESSAGES
    clients.smtp_source(relay.port, MESSAGES, reuse=reuse)
    smtp_sink.wait(target)
    until(lambda: relay.queued() == 0, "an empty queue")
    assert smtp_sink.messages == target
    assert relay.log("message.deferred") == []


def test_large_messages_are_streamed_through(relay: RelayProcess, smtp_sink: CountingSink) -> None:
    """40 messages of 3 MB by 8 clients: larger than what is kept in memory, and all arrive."""
    target = smtp_sink.messages + 40
    clients.smtp_source(relay.port, 40, length=3_000_000, sessions=8)
    smtp_sink.wait(target)
    until(lambda: relay.queued() == 0, "an empty queue")
