"""What a postmaster does to the queue with ``waystation queue``, on a running relay."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import clients
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

from waystation_contract.model import Quarantine, Retry


@pytest.fixture(scope="module")
def relay(module_relay: RelayProcess, module_sink: Sink) -> RelayProcess:
    """held.test is quarantined; away.test's server is down, tried once an hour; the rest is delivered."""
    hourly = Retry(first_s=3600, max_s=3600, jitter_percent=0)
    module_relay.configure(
        route(to(module_sink.port), recipients=["*"], name="test/sink"),
        route(Quarantine(), recipients=["*@held.test"], name="test/held"),
        route(to(free_port()), recipients=["*@away.test"], name="test/away", retry=hourly),
    )
    return module_relay.start()


@pytest.fixture
def sink(relay: RelayProcess, module_sink: Sink) -> Iterator[Sink]:
    """The sink, with nothing in it and nothing in the queue before and after."""
    module_sink.received.clear()
    yield module_sink
    relay.queue_run("delete", "--all")


def waiting(relay: RelayProcess, recipient: str) -> str:
    """The queue id of the message to this recipient, once its first attempt is over (or it is held)."""

    def look() -> str | None:
        for message in relay.queue("list"):
            for entry in message["recipients"]:
                if entry["address"] == recipient and (entry["status"] == "held" or entry["attempts"]):
                    return str(message["queue_id"])
        return None

    queue_id = until(look, f"mail to {recipient} in the queue", every_s=0.1)
    assert queue_id is not None
    return queue_id


def test_quarantined_mail_waits_for_a_person(relay: RelayProcess, sink: Sink) -> None:
    """A quarantine route holds the mail; and the queue says which route did."""
    clients.send(relay.port, "a@shop.test", "b@held.test", clients.mail("suspicious"))
    queue_id = waiting(relay, "b@held.test")
    (message,) = relay.queue("show", queue_id)
    assert "test/held" in str(message)
    assert sink.received == []


def test_retry_now(relay: RelayProcess, sink: Sink) -> None:
    """``queue retry`` does not wait for the hour: the attempt is made at once and counted."""
    clients.send(relay.port, "a@shop.test", "b@away.test", clients.mail("impatient"))
    queue_id = waiting(relay, "b@away.test")
    assert relay.queue_run("retry", queue_id).returncode == 0
    until(lambda: relay.queue("list")[0]["recipients"][0]["attempts"] == 2, "a second attempt", every_s=0.1)


def test_hold_and_release(relay: RelayProcess, sink: Sink) -> None:
    """Held mail is not attempted until it is released."""
    clients.send(relay.port, "a@shop.test", "b@away.test", clients.mail("stop"))
    queue_id = waiting(relay, "b@away.test")
    assert relay.queue_run("hold", queue_id, "--reason", "asked by ann").returncode == 0
    (message,) = relay.queue("list")
    assert message["recipients"][0]["status"] == "held"
    assert "asked by ann" in str(message)
    assert relay.queue_run("release", queue_id).returncode == 0
    assert relay.queue("list")[0]["recipients"][0]["status"] == "waiting"


def test_delete_by_domain(relay: RelayProcess, sink: Sink) -> None:
    """A filter chooses many messages; the others stay."""
    for n in range(3):
        clients.send(relay.port, "a@shop.test", f"b{n}@away.test", clients.mail("away"))
    clients.send(relay.port, "a@shop.test", "keep@held.test", clients.mail("held"))
    waiting(relay, "b2@away.test")
    assert relay.queue_run("delete", "--domain", "away.test").returncode == 0
    assert [m["recipients"][0]["address"] for m in relay.queue("list")] == ["keep@held.test"]


def test_bounce_by_hand(relay: RelayProcess, sink: Sink) -> None:
    """``queue bounce`` gives up now: the sender gets the report."""
    clients.send(relay.port, "a@shop.test", "b@away.test", clients.mail("give up"))
    assert relay.queue_run("bounce", waiting(relay, "b@away.test")).returncode == 0
    sink.wait(1)
    assert sink.to("a@shop.test")[0].sender == ""
    until(lambda: relay.queued() == 0, "an empty queue")


def test_without_the_token_nothing_changes(relay: RelayProcess, sink: Sink, tmp_path: Path) -> None:
    """The admin port refuses who cannot name the pool's token."""
    clients.send(relay.port, "a@shop.test", "b@held.test", clients.mail("mine"))
    queue_id = waiting(relay, "b@held.test")
    right = relay.token
    relay.token = tmp_path / "token"  # for the command; the relay has its own
    relay.token.write_text("wrong")
    try:
        run = relay.queue_run("delete", queue_id)
    finally:
        relay.token = right
    assert run.returncode != 0
    assert "token" in (run.stdout + run.stderr).lower()
    assert waiting(relay, "b@held.test") == queue_id


def test_unknown_queue_id_is_an_error(relay: RelayProcess, sink: Sink) -> None:
    """A typing error is not success."""
    run = relay.queue_run("show", "nonesuch")
    assert run.returncode != 0
    assert "nonesuch" in run.stdout + run.stderr
