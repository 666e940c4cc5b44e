"""Messages of the queue as tables for people: coloured on a terminal only, and never cut off elsewhere."""

import datetime
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

Message = dict[str, Any]
RECIPIENTS_SHOWN = 3
UNCUT_WIDTH = 100_000  # a pipe has no margin
STYLES = {"held": "yellow", "waiting": "", "active": "green"}
UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def print_messages(messages: Sequence[Message], now: datetime.datetime) -> None:
    console = _console()
    if not messages:
        if sys.stdout.isatty():
            console.print("nothing in the queue matches")
        return
    with_pods = any("pod" in message for message in messages)
    table = _table()
    for heading in (
        *(["POD"] if with_pods else []),
        "QUEUE ID",
        "AGE",
        "SIZE",
        "SENDER",
        "RECIPIENT",
        "STATUS",
    ):
        table.add_column(heading, no_wrap=heading not in ("SENDER", "RECIPIENT"), overflow="fold")
    table.add_column("TRIED", justify="right", no_wrap=True)
    table.add_column("NEXT", no_wrap=True)
    table.add_column("WHY", no_wrap=True, overflow="ellipsis")
    for message in messages:
        pod = [_clean(message.get("pod", ""))] if with_pods else []
        head = [
            *pod,
            _clean(message["queue_id"]),
            _clean(_ago(message["arrival"], now)),
            _clean(_size(message["size_bytes"])),
            _clean(message["sender"] or "<>"),
        ]
        for n, recipient in enumerate(message["recipients"][:RECIPIENTS_SHOWN]):
            table.add_row(*(head if n == 0 else [Text("")] * len(head)), *_recipient(message, recipient, now))
        others = message["pending"] - RECIPIENTS_SHOWN
        if others > 0:
            table.add_row(*[Text("")] * len(head), Text(f"and {others} more", style="dim"))
    console.print(table)


def _recipient(message: Message, recipient: Message, now: datetime.datetime) -> list[Text]:
    status = "active" if message["active"] and recipient["status"] == "waiting" else recipient["status"]
    why = recipient["hold_reason"] or recipient["reply"]
    reason = recipient["reason"] if recipient["status"] == "waiting" else ""
    return [
        _clean(recipient["address"]),
        Text(status, style=STYLES.get(status, "")),
        _clean(str(recipient["attempts"])),
        _clean(_until(recipient["due"], now)),
        _clean(f"{reason}: {why}" if reason and why else reason or why),
    ]


def print_details(messages: Iterable[Message]) -> None:
    console = _console()
    for n, message in enumerate(messages):
        if n:
            console.print()
        for name, value in _details(message):
            console.print(Text(f"{name + ':':<11}", style="bold"), _clean(value), sep=" ", soft_wrap=True)


def _details(message: Message) -> Iterable[tuple[str, str]]:
    envelope, origin = message["envelope"], message["origin"]
    if "pod" in message:
        yield "pod", message["pod"]
    yield "queue id", message["queue_id"]
    yield "arrived", message["arrival"]
    yield "size", f"{message['size_bytes']} bytes"
    yield "sender", message["sender"] or "<> (the null sender)"
    if origin["client"]:
        yield (
            "from",
            f"{origin['client']} ({origin['helo']}), {origin['protocol']} at listener {origin['listener']}",
        )
    else:
        yield "from", "this relay itself"
    asked = [f"{k}={envelope[k]}" for k in ("body", "ret", "envid") if envelope[k]]
    yield "envelope", " ".join([*asked, *(["smtputf8"] if envelope["smtputf8"] else [])])
    for recipient in message["recipients"]:
        yield "recipient", recipient["address"]
        held = recipient["status"] == "held"
        yield "  status", f"held: {recipient['hold_reason']}" if held else f"waiting, due {recipient['due']}"
        if message["active"] and not held:
            yield "  now", "being delivered, or waiting for a connection"
        yield "  tried", f"{recipient['attempts']} times, last {recipient['last_attempt'] or 'never'}"
        if recipient["reply"]:
            at = f" from {recipient['remote']}" if recipient["remote"] else ""
            yield "  answer", f"{recipient['reply']}{at} ({recipient['reason'] or 'no reason known'})"
    for address in message["finished"]:
        yield "finished", address


def _console() -> Console:
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else UNCUT_WIDTH, highlight=False, markup=False, emoji=False)


def _table() -> Table:
    return Table(box=None, pad_edge=False, header_style="bold")


def _clean(text: str) -> Text:
    """What strangers wrote must not steer the terminal."""
    return Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text))


def _ago(time: str, now: datetime.datetime) -> str:
    return _duration((now - datetime.datetime.fromisoformat(time)).total_seconds())


def _until(time: str | None, now: datetime.datetime) -> str:
    if time is None:
        return "-"
    left_s = (datetime.datetime.fromisoformat(time) - now).total_seconds()
    return "now" if left_s <= 0 else f"in {_duration(left_s)}"


def _duration(seconds: float) -> str:
    """The two largest units: 3d 4h."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for size, unit in UNITS:
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size}{unit}")
            left %= size
    return " ".join(parts[:2])


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"
