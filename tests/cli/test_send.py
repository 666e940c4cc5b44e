"""`waystation send`: what it hands in, what it prints, and what a refusal looks like."""

import email
import email.policy
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from click.testing import CliRunner, Result
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.sink import Sink

from waystation.__main__ import main

WHO = ("--from", "app@shop.test", "--to", "ann@corp.test")


def send(port: int, *arguments: str, stdin: str | None = None) -> Result:
    where = ("send", "--server", f"127.0.0.1:{port}")
    return CliRunner().invoke(main, [*where, *arguments], input=stdin, catch_exceptions=False)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as running:
        yield running


def test_a_mail_is_handed_in(sink: Sink) -> None:
    """From nothing but addresses: a complete message, and the server's last word."""
    result = send(sink.port, *WHO, "--to", "bob@corp.test", "--subject", "Hëllo", "--body", "How are you?\n")
    assert (result.exit_code, result.stdout) == (0, "250 2.0.0 kept\n")
    (received,) = sink.received
    assert received.sender == "app@shop.test"
    assert received.recipients == ("ann@corp.test", "bob@corp.test")
    message = email.message_from_bytes(received.content, policy=email.policy.default)
    assert (message["Subject"], message["To"]) == ("Hëllo", "ann@corp.test, bob@corp.test")
    assert message["Message-ID"].endswith("@shop.test>")
    assert message["Date"]
    assert message.get_content() == "How are you?\r\n"


def test_the_queue_id_is_told(sink: Sink) -> None:
    """What `waystation queue show` takes is on a line of its own."""
    sink.at_data = "250 2.0.0 queued as 1KA3ZQ9W0TH-7F2QX"
    assert send(sink.port, *WHO).stdout.splitlines() == [
        "250 2.0.0 queued as 1KA3ZQ9W0TH-7F2QX",
        "queue id: 1KA3ZQ9W0TH-7F2QX",
    ]


def test_the_text_comes_from_standard_input(sink: Sink) -> None:
    """`--body -` reads it; text in any script goes out in seven bits, which every server takes."""
    assert send(sink.port, *WHO, "--body", "-", stdin="grüße\n").exit_code == 0
    message = email.message_from_bytes(sink.received[0].content, policy=email.policy.default)
    assert message.get_content() == "grüße\r\n"
    assert sink.received[0].content.isascii()


def test_a_whole_message_is_sent_as_it_is(sink: Sink, tmp_path: Path) -> None:
    """A file with any line ends goes out with CR LF, otherwise untouched, dots included."""
    file = tmp_path / "mail.eml"
    file.write_bytes(b"Subject: x\nX-Odd:  two  spaces\n\n.dot\r\n..dots\nl\xc3\xa4st\n")
    assert send(sink.port, *WHO, "--eml", str(file)).exit_code == 0
    assert sink.received[0].content == (
        b"Subject: x\r\nX-Odd:  two  spaces\r\n\r\n.dot\r\n..dots\r\nl\xc3\xa4st\r\n"
    )


def test_copies_are_numbered(sink: Sink) -> None:
    """Each copy is a message of its own, all over one connection."""
    result = send(sink.port, *WHO, "--count", "3", "--subject", "load")
    assert result.stdout.count("250 ") == 3
    messages = [email.message_from_bytes(r.content) for r in sink.received]
    assert [m["Subject"] for m in messages] == ["load (1 of 3)", "load (2 of 3)", "load (3 of 3)"]
    assert len({m["Message-ID"] for m in messages}) == 3
    assert sink.connections == 1


def test_the_null_sender(sink: Sink) -> None:
    """`--from '<>'` sends what a bounce is sent from."""
    assert send(sink.port, "--from", "<>", "--to", "ann@corp.test").exit_code == 0
    assert sink.received[0].sender == ""


def test_an_international_address(sink: Sink) -> None:
    """SMTPUTF8 is asked for when an address needs it."""
    assert send(sink.port, "--from", "app@shop.test", "--to", "jörg@bücher.test").exit_code == 0
    assert sink.received[0].recipients == ("jörg@bücher.test",)


def test_a_refusal_in_the_servers_own_words(sink: Sink) -> None:
    """Exit code 1; which command was refused and what was said."""
    sink.answers["ann@corp.test"] = ["550 5.1.1 nobody of that name"]
    result = send(sink.port, *WHO)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "waystation send: RCPT TO:<ann@corp.test>: 550 5.1.1 nobody of that name\n"


def test_one_refused_recipient_of_two(sink: Sink) -> None:
    """The other gets the mail, the refusal is told, and the exit code says that not all went well."""
    sink.answers["ann@corp.test"] = ["452 4.2.2 mailbox full"]
    result = send(sink.port, *WHO, "--to", "bob@corp.test")
    assert (result.exit_code, result.stdout) == (1, "250 2.0.0 kept\n")
    assert "452 4.2.2 mailbox full" in result.stderr
    assert sink.received[0].recipients == ("bob@corp.test",)


def test_a_refusal_after_the_data(sink: Sink) -> None:
    """The content is refused: exit code 1 and the server's words."""
    sink.at_data = "554 5.7.1 we do not want this"
    result = send(sink.port, *WHO)
    assert result.exit_code == 1
    assert "554 5.7.1 we do not want this" in result.stderr


def test_nobody_there() -> None:
    """Exit code 1, with the port that was tried and no traceback."""
    port = free_port()
    result = send(port, *WHO)
    assert result.exit_code == 1
    assert str(port) in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("obstacle", ["nobody there", "refused"])
def test_it_is_tried_again(obstacle: str) -> None:
    """With `--within`, a server that comes late or says no at first still gets the mail, once."""
    sink = Sink()
    sink.at_data = "451 4.3.0 not yet"
    if obstacle == "refused":
        sink.start()
    with subprocess.Popen(
        [sys.executable, "-m", "waystation", "send", "--server", f"127.0.0.1:{sink.port}", *WHO,
         "--within", "60"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as sending:  # fmt: skip
        try:
            assert sending.stderr is not None
            assert sending.stderr.readline().endswith("; trying again\n")
            sink.at_data = "250 2.0.0 kept"
            if obstacle == "nobody there":
                sink.start()
            assert sending.communicate(timeout=20) == ("250 2.0.0 kept\n", "")
            assert len(sink.received) == 1
        finally:
            sending.kill()
            sink.stop()


def test_in_the_end_the_last_answer_counts() -> None:
    """When the time is up: exit code 1 and what the server said."""
    result = send(free_port(), *WHO, "--within", "0.05")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("waystation send: 127.0.0.1 port ")
    assert not result.stderr.endswith("trying again\n")


def test_copies_are_not_tried_again(sink: Sink) -> None:
    """Some of them would arrive twice."""
    result = send(sink.port, *WHO, "--within", "5", "--count", "2")
    assert (result.exit_code, sink.received) == (2, [])


@pytest.mark.parametrize("server", ["localhost", "127.0.0.1:", ":25", "127.0.0.1:70000", "127.0.0.1:smtp"])
def test_a_server_that_is_no_address(server: str) -> None:
    """Exit code 2 and an example."""
    result = CliRunner().invoke(main, ["send", "--server", server, *WHO])
    assert result.exit_code == 2
    assert "127.0.0.1:2525" in result.stderr


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A certificate that nobody has reason to trust."""
    issued = Authority(tmp_path_factory.mktemp("tls")).issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued.chain, issued.key)
    return context


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_a_secured_connection(certificate: ssl.SSLContext, tls: str) -> None:
    """An unknown certificate is refused, unless --insecure says that this is a test."""
    keeper = Sink()
    options = {"tls_context": certificate} if tls == "starttls" else {"ssl_context": certificate}
    controller = Controller(keeper, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        refused = send(controller.port, *WHO, "--tls", tls)
        assert refused.exit_code == 1
        assert "certificate" in refused.stderr.lower()
        assert keeper.received == []
        assert send(controller.port, *WHO, "--tls", tls, "--insecure").exit_code == 0
        assert len(keeper.received) == 1
    finally:
        controller.stop(no_assert=True)
