"""Mail goes in by one server's door and out to another's, and nothing about it changes."""

import re
import smtplib
from pathlib import Path

import pytest
from tests.support import clients
from tests.support.relay import RelayProcess, route, to
from tests.support.sink import Received, Sink
from tests.support.waiting import until


@pytest.fixture(scope="module")
def relay(module_relay: RelayProcess, module_sink: Sink) -> RelayProcess:
    module_relay.configure(route(to(module_sink.port)))
    return module_relay.start()


@pytest.fixture
def sink(module_sink: Sink) -> Sink:
    module_sink.received.clear()
    return module_sink


def trace_and_content(received: Received) -> tuple[bytes, bytes]:
    """The header fields the relay put in front, and the rest."""
    match = re.match(rb"Received: .*?\r\n(?![ \t])", received.content, re.DOTALL)
    assert match, received.content[:300]
    return match.group(), received.content[match.end() :]


def test_mail_from_swaks_arrives_byte_for_byte(relay: RelayProcess, sink: Sink, tmp_path: Path) -> None:
    """What swaks sent is what the next hop gets, below one Received header."""
    content = b"From: a@shop.test\r\nSubject: dots\r\n\r\n.\r\n..\r\n.x\r\n trailing \t\r\n\r\nend\r\n"
    file = tmp_path / "mail"
    file.write_bytes(content.replace(b"\r\n", b"\n"))
    run = clients.swaks(
        relay.port,
        "--from",
        "a@shop.test",
        "--to",
        "b@next.test",
        "--helo",
        "client.test",
        "--data",
        f"@{file}",
    )
    assert run.returncode == 0, run.stdout
    (received,) = sink.wait(1)
    trace, rest = trace_and_content(received)
    assert rest.rstrip(b"\r\n") == content.rstrip(b"\r\n")  # swaks adds an empty line of its own
    assert (received.sender, received.recipients) == ("a@shop.test", ("b@next.test",))
    for word in (b"client.test", b"127.0.0.1", b"relay.test", b"ESMTP"):
        assert word in trace
    queue_id = re.search(rb"\sid\s+([^\s;]+)", trace)
    assert queue_id is not None
    assert queue_id.group(1).decode() in run.stdout, "the 250 names the queue id of the Received header"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"Subject: empty body\r\n\r\n", id="empty body"),
        pytest.param(b"Subject: x\r\n\r\n" + b"a" * 998 + b"\r\n", id="line of 998"),
        pytest.param(b"Subject: x\r\n\r\n\r\n.\r\n\r\n..\r\n", id="lone dots"),
        pytest.param("Subject: x\r\n\r\nGrüße\r\n".encode(), id="8-bit"),
        pytest.param(
            b"Subject: big\r\n\r\n" + (b"0123456789abcdef" * 4 + b"\r\n") * 1024, id="above inline size"
        ),
        pytest.param(b"Subject: huge\r\n\r\n" + (b"x" * 70 + b"\r\n") * 40_000, id="streamed, 2.8 MB"),
    ],
)
def test_content_arrives_byte_for_byte(relay: RelayProcess, sink: Sink, content: bytes) -> None:
    """Whatever a message contains and however large it is, it arrives as it was sent."""
    clients.send(relay.port, "a@shop.test", "b@next.test", content, options=["BODY=8BITMIME"])
    (received,) = sink.wait(1)
    assert trace_and_content(received)[1] == content


def test_a_session_goes_on_after_streamed_messages(relay: RelayProcess, sink: Sink) -> None:
    """Pausing a client that is faster than the disk ends with its message: the next command is answered."""
    content = clients.mail("streamed", f"{'x' * 900}\n" * 4000)
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as client:
        for number in range(8):
            assert client.sendmail("a@shop.test", [f"b{number}@next.test"], content) == {}
        assert client.quit()[0] == 221
    sink.wait(8)


def test_one_message_to_several_recipients_of_a_route(relay: RelayProcess, sink: Sink) -> None:
    """Recipients that share a next hop share a transaction: the content crosses the wire once."""
    everybody = [f"r{n}@next.test" for n in range(20)]
    clients.send(relay.port, "a@shop.test", everybody, clients.mail("to all"))
    (received,) = sink.wait(1)
    assert sorted(received.recipients) == sorted(everybody)


def test_internationalized_addresses_pass(relay: RelayProcess, sink: Sink) -> None:
    """SMTPUTF8 mail keeps its addresses when the next hop offers SMTPUTF8 too."""
    clients.converse(
        relay.port,
        "MAIL FROM:<grün@shop.test> SMTPUTF8 BODY=8BITMIME",
        "RCPT TO:<dörte@next.test>",
        content="Subject: grün\r\n\r\nHallo\r\n".encode(),
    )
    (received,) = sink.wait(1)
    assert (received.sender, received.recipients) == ("grün@shop.test", ("dörte@next.test",))


def test_pipelined_conversation(relay: RelayProcess, sink: Sink) -> None:
    """A client that sends a whole transaction without waiting for replies gets each of them, in order."""
    with smtplib.SMTP("127.0.0.1", relay.port, timeout=10) as client:
        client.ehlo("client.test")
        client.send(b"MAIL FROM:<a@shop.test>\r\nRCPT TO:<b@next.test>\r\nRCPT TO:<c@next.test>\r\nDATA\r\n")
        assert [client.getreply()[0] for _ in range(4)] == [250, 250, 250, 354]
        client.send(b"Subject: p\r\n\r\nhi\r\n.\r\nQUIT\r\n")
        assert [client.getreply()[0] for _ in range(2)] == [250, 221]
    assert sink.wait(1)[0].recipients == ("b@next.test", "c@next.test")


@pytest.mark.parametrize("reuse", [False, True], ids=["new connections", "reused connections"])
def test_load_from_smtp_source_arrives_complete(relay: RelayProcess, sink: Sink, reuse: bool) -> None:
    """500 messages by 20 clients at once: each arrives, once."""
    clients.smtp_source(relay.port, 500, reuse=reuse)
    received = sink.wait(500, within_s=30)
    ids = [re.search(rb"Message-Id: (\S+)", r.content, re.IGNORECASE) for r in received]
    assert len({match.group(1) for match in ids if match}) == len(received) == 500
    until(lambda: relay.queued() == 0, "an empty queue")


def test_the_log_tells_a_messages_way(relay: RelayProcess, sink: Sink) -> None:
    """One accepted and one delivered line with the same queue id, and the next hop's own words."""
    clients.send(relay.port, "a@shop.test", "log@next.test", clients.mail("logged"))
    sink.wait(1)
    delivered = relay.wait_log("message.delivered", recipients=["log@next.test"])
    assert relay.log("message.accepted", queue_id=delivered["queue_id"])
    assert "kept" in str(delivered)
    assert "logged" not in relay.out.read_text(), "content stays out of the log"
