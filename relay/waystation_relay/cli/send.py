"""``waystation send``: hands a test mail to a server and shows what it says."""

import asyncio
import email.message
import email.policy
import email.utils
import re
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import aiosmtplib
import click

from waystation_relay.cli.endpoint import Endpoint

ENVIRONMENT = 1
WITHIN_S = 30.0
PAUSE_S = 1.0
STDIN = "-"
_QUEUE_ID = re.compile(r"\b[0-9A-HJKMNP-TV-Z]{11}-[0-9A-HJKMNP-TV-Z]{5}\b")
_LINE_END = re.compile(rb"\r\n|\r|\n")


class _Refusal(Exception):  # noqa: N818 -- the word for what happened
    """The server said no; ``at`` which command."""

    def __init__(self, at: str, code: int, text: str) -> None:
        super().__init__(f"{at}: {code} {text}".rstrip())


@click.command(
    epilog="\b\nExamples:\n"
    "  waystation send --from app@shop.example --to ann@corp.example --subject 'Hello'\n"
    "  echo 'How are you?' | waystation send --from a@shop.example --to b@corp.example --body -\n"
    "  waystation send --server mail.example:465 --tls implicit --from a@x.example --to b@y.example",
)
@click.option(
    "--server",
    type=Endpoint("127.0.0.1:2525"),
    default="127.0.0.1:2525",
    show_default=True,
    help="Where to hand it in.",
)
@click.option(
    "--from", "sender", required=True, metavar="ADDRESS", help="Envelope sender; <> for the null sender."
)
@click.option(
    "--to", "recipients", multiple=True, required=True, metavar="ADDRESS", help="Recipient. Repeatable."
)
@click.option("--subject", default="Test from waystation send", show_default=True)
@click.option("--body", default="Hello.\n", help="The text; - reads standard input.")
@click.option(
    "--eml",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Send this whole message (header and body) as it is, lines ended by CR LF.",
)
@click.option("--count", type=click.IntRange(min=1), default=1, show_default=True, help="So many copies.")
@click.option(
    "--tls",
    type=click.Choice(["none", "starttls", "implicit"]),
    default="none",
    show_default=True,
    help="How the connection is secured.",
)
@click.option("--insecure", is_flag=True, help="With --tls: take any certificate.")
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Try again for so long, until the server takes it.  [default: once]",
)
def command(
    server: tuple[str, int],
    sender: str,
    recipients: tuple[str, ...],
    subject: str,
    body: str,
    eml: Path | None,
    count: int,
    tls: str,
    insecure: bool,
    within_s: float,
) -> None:
    """Hand a mail to a server by SMTP; print its last reply and the queue id in it.

    Exits 1 when the server cannot be reached or refuses, with the server's own words.
    """
    sender = "" if sender == "<>" else sender
    text = sys.stdin.read() if body == STDIN and eml is None else body
    whole = eml.read_bytes() if eml is not None else None
    if within_s and count > 1:
        raise click.UsageError("--within is for one mail: with --count some would be sent twice")
    client = aiosmtplib.SMTP(
        hostname=server[0],
        port=server[1],
        local_hostname=socket.gethostname(),
        timeout=WITHIN_S,
        use_tls=tls == "implicit",
        start_tls=tls == "starttls",
        tls_context=_context(insecure=insecure) if tls != "none" else None,
    )
    deadline = time.monotonic() + within_s
    told = ""
    while True:
        try:
            asyncio.run(_send(client, sender, recipients, count, subject, text, whole))
        except _Refusal as refusal:
            problem = str(refusal)
        except aiosmtplib.SMTPResponseException as error:
            problem = f"{error.code} {error.message}"
        except (aiosmtplib.SMTPException, OSError) as error:
            problem = f"{server[0]} port {server[1]}: {error or type(error).__name__}"
        else:
            return
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            _fail(problem)
        if problem != told:
            click.echo(f"waystation send: {problem}; trying again", err=True)
        told = problem
        time.sleep(min(PAUSE_S, left_s))


def _fail(text: str) -> NoReturn:
    click.echo(f"waystation send: {text}", err=True)
    sys.exit(ENVIRONMENT)


def _context(*, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def _send(
    client: aiosmtplib.SMTP,
    sender: str,
    recipients: Sequence[str],
    count: int,
    subject: str,
    text: str,
    whole: bytes | None,
) -> None:
    """All copies over one connection; raises at the first refusal."""
    async with client:
        for number in range(count):
            title = subject if count == 1 else f"{subject} ({number + 1} of {count})"
            content = (
                _compose(sender, recipients, title, text) if whole is None else _LINE_END.sub(b"\r\n", whole)
            )
            code, said = await _transact(client, sender, recipients, content)
            found = _QUEUE_ID.search(said)
            click.echo(f"{code} {said}" + (f"\nqueue id: {found[0]}" if found and count == 1 else ""))


async def _transact(
    client: aiosmtplib.SMTP, sender: str, recipients: Sequence[str], content: bytes
) -> tuple[int, str]:
    """Refused recipients are told of; the message goes to the others, if there are any."""
    options: list[str] = []
    international = not "".join((sender, *recipients)).isascii()
    if international:
        options.append("SMTPUTF8")
    if not content.isascii() and client.supports_extension("8BITMIME"):
        options.append("BODY=8BITMIME")
    encoding = "utf-8" if international else "ascii"
    _demand(await client.mail(sender, options=options, encoding=encoding), "MAIL")
    taken = 0
    refusal: _Refusal | None = None
    for recipient in recipients:
        try:
            _demand(await client.rcpt(recipient, encoding=encoding), f"RCPT TO:<{recipient}>")
            taken += 1
        except aiosmtplib.SMTPResponseException as error:
            refusal = _Refusal(f"RCPT TO:<{recipient}>", error.code, error.message)
            if taken or recipient != recipients[-1]:
                click.echo(f"waystation send: {refusal}", err=True)
    if not taken and refusal is not None:
        raise refusal
    answer = await client.data(content)
    if refusal is not None:
        click.echo(f"{answer.code} {answer.message}")
        raise refusal
    return answer.code, answer.message


def _demand(answer: aiosmtplib.SMTPResponse, at: str) -> None:
    if not 200 <= answer.code < 300:
        raise _Refusal(at, answer.code, answer.message)


def _compose(sender: str, recipients: Sequence[str], subject: str, text: str) -> bytes:
    message = email.message.EmailMessage(policy=email.policy.SMTP.clone(cte_type="7bit"))
    message["From"] = sender or "postmaster@localhost"
    message["To"] = ", ".join(recipients)
    message["Subject"] = subject
    message["Date"] = email.utils.localtime()
    message["Message-ID"] = email.utils.make_msgid(domain=sender.rpartition("@")[2] or "localhost")
    message.set_content(text)
    return message.as_bytes()
