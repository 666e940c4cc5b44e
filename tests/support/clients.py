"""People who send mail: swaks, smtp-source, and smtplib where a test needs to steer."""

import smtplib
import subprocess
from collections.abc import Sequence
from email.message import EmailMessage

from tests.support.programs import program


def mail(subject: str, text: str = "Hello.\n", **headers: str) -> bytes:
    """A small message with CRLF line endings, as it goes over the wire."""
    message = EmailMessage()
    message["Subject"] = subject
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def send(
    port: int, sender: str, recipients: str | Sequence[str], content: bytes, *, options: Sequence[str] = ()
) -> None:
    """One message through smtplib; raises what smtplib raises when anything is refused."""
    with smtplib.SMTP("127.0.0.1", port, timeout=15) as client:
        refused = client.sendmail(
            sender,
            [recipients] if isinstance(recipients, str) else list(recipients),
            content,
            mail_options=options,
        )
        assert refused == {}


def converse(port: int, *commands: str, content: bytes, ehlo: str = "client.test") -> str:
    """One transaction, command by command, for parameters smtplib does not know; the last reply's text."""
    with smtplib.SMTP("127.0.0.1", port, timeout=15) as client:
        client.ehlo(ehlo)
        for command in commands:
            client.send(f"{command}\r\n".encode())
            code, text = client.getreply()
            assert code == 250, f"{command}: {code} {text!r}"
        code, text = client.data(content)
        assert code == 250, f"{code} {text!r}"
        return text.decode()


def swaks(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """swaks with these arguments; what it printed is the conversation."""
    return subprocess.run(
        [program("swaks"), "--server", f"127.0.0.1:{port}", "--timeout", "15", *arguments],
        capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def smtp_source(
    port: int,
    messages: int,
    *,
    sender: str = "load@source.test",
    recipient: str = "load@sink.test",
    length: int = 4096,
    sessions: int = 20,
    reuse: bool = False,
    within_s: float = 60.0,
) -> None:
    """Postfix's load generator; fails the test when a message is refused."""
    run = subprocess.run(
        [
            program("smtp-source"), "-4", "-m", str(messages), "-s", str(sessions), "-l", str(length),
            "-f", sender, "-t", recipient, "-M", "source.test", *(["-d"] if reuse else []),
            f"127.0.0.1:{port}",
        ],
        capture_output=True, text=True, timeout=within_s, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
