"""SIGTERM: what is under way is finished, nothing new begins, and the queue is there next time."""

import json
import signal
import smtplib
import socket
from collections.abc import Callable

import pytest
from tests.support import clients
from tests.support.ports import free_port
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Sink
from tests.support.waiting import until

NewRelay = Callable[..., RelayProcess]


def test_open_data_is_finished(new_relay: NewRelay, sink: Sink) -> None:
    """A client in the middle of DATA when the pod must stop still gets its 250, and the mail is kept."""
    relay = new_relay()
    relay.configure(route(to(sink.port)))
    relay.start()
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as client:
        client.ehlo("client.test")
        client.mail("a@shop.test")
        client.rcpt("b@next.test")
        client.putcmd("data")
        assert client.getreply()[0] == 354
        client.send(b"Subject: in flight\r\n\r\nfirst half\r\n")
        relay.terminate()
        until(lambda: refused_or_421(relay.port), "new sessions to be turned away")
        client.send(b"second half\r\n.\r\n")
        code, text = client.getreply()
        assert code == 250, text
        client.close()
    assert relay.process is not None
    assert relay.process.wait(20) == 0
    if not sink.received:  # accepted in the last moment: it waits for the next start
        relay.start()
    assert b"second half" in sink.wait(1)[0].content


def refused_or_421(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stream:
            return stream.recv(512).startswith(b"421")
    except OSError:
        return True


def test_idle_sessions_do_not_keep_the_process(new_relay: NewRelay) -> None:
    """A client that only sits there is told 421 and the relay ends without waiting for it."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.start()
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as stream:
        lines = stream.makefile("rb")
        assert lines.readline().startswith(b"220")
        assert relay.stop(within_s=10) == 0
        assert lines.readline().startswith(b"421")
        assert lines.readline() == b""


def test_queue_survives_a_restart(new_relay: NewRelay, sink: Sink) -> None:
    """What waits when the relay stops is delivered by the next one, with its history."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.start()
    for n in range(10):
        clients.send(relay.port, "a@shop.test", f"b{n}@next.test", clients.mail(f"number {n}"))
    assert relay.stop() == 0
    relay.configure(route(to(sink.port)))
    relay.start()
    received = sink.wait(10)
    assert {r.recipients for r in received} == {(f"b{n}@next.test",) for n in range(10)}
    until(lambda: relay.queued() == 0, "an empty queue")


def test_second_signal_is_harmless(new_relay: NewRelay) -> None:
    """An impatient second SIGTERM does not turn a clean stop into a crash."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.start()
    relay.terminate()
    assert relay.stop() == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_end_it_cleanly(new_relay: NewRelay, signum: signal.Signals) -> None:
    """Kubernetes sends SIGTERM, people press Ctrl-C: exit code 0, and the log ends with the last line."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.start()
    assert relay.process is not None
    relay.process.send_signal(signum)
    assert relay.process.wait(10) == 0
    assert relay.log("relay.stopping", why=signum.name)
    assert relay.log()[-1]["event"] == "relay.stopped"
    assert relay.err.read_text() == ""


def test_a_cordoned_relay_takes_no_sessions_but_delivers(new_relay: NewRelay, sink: Sink) -> None:
    """Scale-down: new clients go elsewhere, what is queued goes out, then the relay says that it is empty."""
    relay = new_relay()
    relay.configure(route(to(free_port())))
    relay.start()
    clients.send(relay.port, "a@shop.test", "b@next.test", clients.mail("still here"))
    status, body = relay.request("POST", "/drain")
    assert (status, json.loads(body)["state"]) == (200, "draining")
    assert refused_or_421(relay.port)
    assert relay.get("/readyz")[0] == 503
    relay.configure(route(to(sink.port)))
    sink.wait(1)
    until(lambda: json.loads(relay.get("/drain")[1])["state"] == "empty", "the relay to be empty")
    relay.request("DELETE", "/drain")
    assert relay.get("/readyz")[0] == 200
    clients.send(relay.port, "a@shop.test", "c@next.test", clients.mail("open again"))
    sink.wait(2)
