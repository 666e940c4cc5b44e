"""Not an open relay: who is not in the listener's networks gets nothing relayed, however it is asked for."""

import pytest
from tests.support import clients
from tests.support.relay import RelayProcess, listener, route, to
from tests.support.sink import Sink

INSIDE, OUTSIDE = "127.0.0.2", "127.0.0.1"


@pytest.fixture(scope="module")
def relay(new_relay: RelayProcess, module_sink: Sink) -> RelayProcess:
    """Relays for 127.0.0.2 alone; everybody else on this machine is a stranger."""
    new_relay.configure(
        route(to(module_sink.port)), listeners=(listener(new_relay.port, clients=(f"{INSIDE}/32",)),)
    )
    return new_relay.start()


def test_a_client_of_the_network_relays(relay: RelayProcess, sink: Sink) -> None:
    """swaks from 127.0.0.2, which is named in the listener's clients."""
    run = clients.swaks(
        relay.port, "--local-interface", INSIDE, "--from", "ann@shop.test", "--to", "bob@next.test"
    )
    assert run.returncode == 0, run.stdout
    assert sink.wait(1)[0].recipients == ("bob@next.test",)


@pytest.mark.parametrize(
    ("sender", "recipient"),
    [
        pytest.param("stranger@spam.test", "bob@next.test", id="plain"),
        pytest.param("", "bob@next.test", id="null sender"),
        pytest.param("postmaster@relay.test", "bob@next.test", id="our own name as sender"),
        pytest.param("stranger@spam.test", "bob%next.test@relay.test", id="percent hack"),
        pytest.param("stranger@spam.test", '"bob@next.test"@relay.test', id="quoted address"),
        pytest.param("stranger@spam.test", "next.test!bob@relay.test", id="bang path"),
        pytest.param("stranger@spam.test", "@relay.test:bob@next.test", id="source route"),
        pytest.param("stranger@spam.test", "bob@[127.0.0.1]", id="address literal"),
        pytest.param("stranger@spam.test", "bob@NEXT.test", id="upper case"),
    ],
)
def test_a_stranger_is_refused(relay: RelayProcess, sink: Sink, sender: str, recipient: str) -> None:
    """The refusal is final, comes before the data, and says nothing about our networks or routes."""
    run = clients.swaks(relay.port, "--from", sender or "<>", "--to", recipient)
    assert run.returncode != 0, run.stdout
    (refusal,) = [line for line in run.stdout.splitlines() if line.startswith("<** 5")]
    assert " 5.7.1 " in refusal or refusal.startswith("<** 501")
    assert " -> DATA" not in run.stdout
    assert INSIDE not in refusal
    assert "test/route" not in refusal
    assert relay.queued() == 0
    assert sink.received == []


def test_it_can_be_seen_who_was_refused(relay: RelayProcess) -> None:
    """One log line names the client, the sender, the recipient and the reply."""
    clients.swaks(relay.port, "--from", "stranger@spam.test", "--to", "seen@next.test")
    line = relay.wait_log("message.refused", recipient="seen@next.test")
    assert line["client"] == OUTSIDE
    assert line["sender"] == "stranger@spam.test"
    assert "5.7.1" in line["reply"]
