"""``waystation sink``: a mailbox server to test against, which takes everything and says what came.

Not for real mail: it promises nothing (no fsync) and believes everybody.
"""

import asyncio
import contextlib
import email.parser
import email.policy
import json
import mailbox
import re
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, Envelope, Session

ENVIRONMENT = 1
LARGEST_MESSAGE_BYTES = 128 * 2**20
STANDARD_PORTS = {"smtp": 2526, "lmtp": 2424}

_ORDER = re.compile(r"(?:reject|defer|data)-(?P<code>[45]\d\d)\Z")
# What each code is about when a recipient asks for it; others are told nothing in particular.
WORDS = {
    "421": ("4.3.2", "closing down, try again later"),
    "450": ("4.2.0", "mailbox busy"),
    "451": ("4.7.1", "greylisted, try again later"),
    "452": ("4.2.2", "mailbox full for now"),
    "550": ("5.1.1", "no such mailbox"),
    "551": ("5.1.6", "mailbox has moved"),
    "552": ("5.2.2", "mailbox full"),
    "553": ("5.1.3", "bad mailbox name"),
    "554": ("5.7.1", "refused by policy"),
}


Enough = Callable[[], object]


def _nobody() -> None:
    """Who waits for nothing."""


def order(address: str, stage: str) -> str | None:
    """The reply that an address like ``reject-550@x`` asks for at RCPT (``rcpt``) or after the data."""
    local = address.rpartition("@")[0].partition("+")[0].lower()
    found = _ORDER.match(local)
    if found is None or (stage == "data") != local.startswith("data-"):
        return None
    code = found["code"]
    enhanced, text = WORDS.get(code, (f"{code[0]}.0.0", "as asked by the address"))
    return f"{code} {enhanced} {text}"


class Keeper:
    """What the sink does with mail; the names of the hooks are aiosmtpd's."""

    def __init__(
        self, maildir: Path | None, *, lmtp: bool, as_json: bool, until: int = 0, enough: Enough = _nobody
    ) -> None:
        """``enough`` is called when ``until`` messages have been kept; 0: never. ``missing``: how many
        of them have not come yet."""
        self._maildir, self._lmtp, self._json = maildir, lmtp, as_json
        self.missing, self._enough = until, enough

    async def handle_RCPT(  # noqa: N802
        self,
        server: SMTP,  # noqa: ARG002 -- aiosmtpd's signature
        session: Session,  # noqa: ARG002
        envelope: Envelope,
        address: str,
        options: list[str],  # noqa: ARG002
    ) -> str:
        refusal = order(address, "rcpt")
        if refusal is not None:
            self._say(envelope, [address], refusal)
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 recipient taken"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802, ARG002
        """LMTP answers for each recipient (RFC 2033 §4.2), SMTP once: with the first refusal asked for."""
        replies = [order(address, "data") or "250 2.0.0 kept" for address in envelope.rcpt_tos]
        if not self._lmtp:
            refusal = next((reply for reply in replies if not reply.startswith("2")), None)
            replies = [refusal or "250 2.0.0 kept"] * len(replies)
        kept = [a for a, reply in zip(envelope.rcpt_tos, replies, strict=True) if reply.startswith("2")]
        await asyncio.to_thread(self._keep, envelope, kept)
        for reply in dict.fromkeys(replies):
            self._say(
                envelope, [a for a, r in zip(envelope.rcpt_tos, replies, strict=True) if r == reply], reply
            )
        if kept and self.missing:
            self.missing -= 1
            if not self.missing:
                self._enough()
        return "\r\n".join(replies) if self._lmtp else replies[0]

    def _keep(self, envelope: Envelope, recipients: Sequence[str]) -> None:
        """One Maildir a recipient, with the envelope in fields at the top of the header."""
        content = _content(envelope)
        for address in recipients if self._maildir is not None else ():
            assert self._maildir is not None
            self._maildir.mkdir(parents=True, exist_ok=True)
            box = mailbox.Maildir(self._maildir / folder_name(address), create=True)
            head = f"Return-Path: <{_sender(envelope)}>\nDelivered-To: {address}\n".encode()
            box.add(head + content.replace(b"\r\n", b"\n"))

    def _say(self, envelope: Envelope, recipients: Sequence[str], reply: str) -> None:
        content = _content(envelope)
        subject = email.parser.BytesHeaderParser(policy=email.policy.default).parsebytes(content)["Subject"]
        told = {
            "ts": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "sender": _sender(envelope),
            "recipients": list(recipients),
            "size_bytes": len(content),
            "subject": str(subject or ""),
            "reply": reply,
        }
        if self._json:
            click.echo(json.dumps(told))
        else:
            size = f", {len(content)} bytes, {told['subject']!r}" if content else ""
            click.echo(f"<{told['sender']}> to {', '.join(recipients)}{size}: {reply}")


def _content(envelope: Envelope) -> bytes:
    content = envelope.original_content
    return bytes(content) if isinstance(content, bytes | bytearray) else b""


def _sender(envelope: Envelope) -> str:
    """aiosmtpd calls the null sender ``<>``."""
    sender = envelope.mail_from or ""
    return "" if sender == "<>" else sender


def folder_name(address: str) -> str:
    """An address as the name of a folder that stays where it is put."""
    return re.sub(r"[^\w.@+=-]", "_", address.lower()).lstrip(".") or "_"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0: any.  [default: 2526, with --lmtp 2424]",
)
@click.option(
    "--maildir",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep mail here, a Maildir for each recipient.  [default: keep nothing]",
)
@click.option("--lmtp", is_flag=True, help="Speak LMTP (RFC 2033) instead of SMTP.")
@click.option(
    "--until",
    type=click.IntRange(min=1),
    metavar="N",
    help="End when N messages were kept.  [default: never]",
)
@click.option(
    "--within",
    "within_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="With --until: wait no longer than this.  [default: for ever]",
)
@click.option(
    "-o",
    "output",
    type=click.Choice(["text", "json"]),
    help="How to print.  [default: text on a terminal, else json]",
)
def command(
    host: str,
    port: int | None,
    maildir: Path | None,
    lmtp: bool,
    until: int | None,
    within_s: float | None,
    output: str | None,
) -> None:
    """Take all mail, print a line for each message, and keep it if asked.

    \b
    An address can ask for another answer (at any domain, +anything may follow):
      reject-550@…  550 at RCPT; also reject-551, reject-552 and so on
      defer-451@…   451 at RCPT; also defer-421, defer-450, defer-452 and so on
      data-554@…    554 after the data; any code from 400 to 599

    Runs until Ctrl-C or SIGTERM, or until it has what --until asks for. Exits 1 when the port cannot
    be had, or when it ends with fewer than --until messages.
    """
    if within_s is not None and until is None:
        raise click.UsageError("--within needs --until: without it there is nothing to wait for")
    as_json = output == "json" or (output is None and not sys.stdout.isatty())
    ended = asyncio.Event()
    keeper = Keeper(maildir, lmtp=lmtp, as_json=as_json, until=until or 0, enough=ended.set)
    chosen = STANDARD_PORTS["lmtp" if lmtp else "smtp"] if port is None else port
    try:
        asyncio.run(_serve(keeper, ended, host, chosen, lmtp=lmtp, within_s=within_s))
    except OSError as error:
        click.echo(f"waystation sink: {host} port {chosen}: {error.strerror or error}", err=True)
        sys.exit(ENVIRONMENT)
    if keeper.missing:
        click.echo(f"waystation sink: {keeper.missing} of {until} messages did not come", err=True)
        sys.exit(ENVIRONMENT)


async def _serve(
    keeper: Keeper, ended: asyncio.Event, host: str, port: int, *, lmtp: bool, within_s: float | None
) -> None:
    """Until ``ended``, but no longer than ``within_s``."""
    loop = asyncio.get_running_loop()
    kind = LMTP if lmtp else SMTP

    def session() -> SMTP:
        return kind(
            keeper,
            hostname="sink",
            ident="Waystation sink",
            data_size_limit=LARGEST_MESSAGE_BYTES,
            enable_SMTPUTF8=True,
            loop=loop,
        )

    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, ended.set)
    server = await loop.create_server(session, host, port)
    where = server.sockets[0].getsockname()
    click.echo(f"waystation sink: {'LMTP' if lmtp else 'SMTP'} at {where[0]} port {where[1]}", err=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await ended.wait()
    server.close()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.wait_closed(), 1)
