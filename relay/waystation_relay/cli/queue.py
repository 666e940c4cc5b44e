"""``waystation queue``: what waits in relays, and what a person does about it, through their admin ports."""

import json
import sys
import urllib.parse
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from waystation_relay.cli import queue_tables
from waystation_relay.cli.admin_client import ENVIRONMENT, AdminClient, AdminError
from waystation_relay.cli.queue_options import (
    ALL,
    IDS,
    OUTPUT,
    SOME_IDS,
    WHO,
    Request,
    demand_some,
    filters,
)

PAGE = 500
Message = dict[str, Any]


@click.group(
    epilog="\b\nExamples:\n"
    "  waystation queue list --domain example.com --older-than 2h\n"
    "  waystation queue show 1KA3ZQ9W0TH-7F2QX\n"
    "  waystation queue retry --reason greylisted\n"
    "  waystation queue hold --sender news@shop.example --reason 'asked by legal'\n"
    "  kubectl exec -n mail outbound-0 -- waystation queue list   (in a cluster)",
)
def command() -> None:
    """Look at the queue and change it.

    Speaks to the pods of the `waystation local` run in this folder, or to the relay that --admin
    names. Messages are meant by queue id or by filters; of several filters all must hold, for one and
    the same recipient. A change is for exactly the recipients that match.

    Exit codes: 0 done; 1 a relay cannot be reached, refuses, or has no such message; 2 the call is wrong.
    """


@command.command(
    "list",
    params=[
        IDS,
        *filters(),
        click.Option(
            ["--limit"],
            type=click.IntRange(min=0),
            default=1000,
            show_default=True,
            help="At most so many; 0: all.",
        ),
        OUTPUT,
        *WHO,
    ],
)
def list_(limit: int, **options: Any) -> None:
    """What waits, the oldest first."""
    request = Request.of(**options)
    messages: list[Message] = []
    more = False

    def ask(client: AdminClient) -> tuple[list[Message], bool]:
        return fetch(client, request.filter, limit - len(messages) if limit else None)

    for client, (page, rest) in request.each(ask):
        messages += [named(client, message) for message in page]
        more |= rest
    if request.output == "json":
        click.echo(json.dumps(messages, indent=2))
    else:
        queue_tables.print_messages(messages, datetime.now(UTC))
    if more:
        click.echo("waystation queue: there is more; --limit 0 shows everything", err=True)
    sys.exit(request.exit_code)


def fetch(client: AdminClient, wanted: dict[str, object], most: int | None) -> tuple[list[Message], bool]:
    """At most so many messages, page by page; and whether there are more."""
    query = [
        (name, str(value))
        for name, given in wanted.items()
        for value in (given if isinstance(given, list) else [given])
    ]
    found: list[Message] = []
    after = "0"
    while True:
        size = PAGE if most is None else min(PAGE, most - len(found))
        answer = client.get("/queue", [*query, ("limit", str(max(size, 1))), ("after", after)])
        found += answer["messages"][: max(size, 0)]
        if size <= 0:
            return found, bool(answer["messages"])
        after = answer["next"]
        if after is None:
            return found, False


def named(client: AdminClient, message: Message) -> Message:
    """With the pod it is in, where there are pods."""
    return {"pod": client.name, **message} if client.name else message


@command.command(params=[SOME_IDS, OUTPUT, *WHO])
def show(**options: Any) -> None:
    """Everything about messages: envelope, origin, each recipient's last answer."""
    request = Request.of(**options)
    found = [message for queue_id in request.ids if (message := look_up(request, queue_id)) is not None]
    if request.output == "json":
        click.echo(json.dumps(found, indent=2))
    else:
        queue_tables.print_details(found)
    sys.exit(request.exit_code)


def look_up(request: Request, queue_id: str) -> Message | None:
    """From whichever relay has it; None, and reported, when none does."""
    absent: AdminError | None = None
    for client in request.clients:
        try:
            return named(client, client.get(f"/queue/{urllib.parse.quote(queue_id, safe='')}"))
        except AdminError as error:
            if error.status == 404:
                absent = error
            else:
                request.fail(error, client)
    if absent is not None:
        request.fail(absent)
    return None


class Change(NamedTuple):
    """``done`` reads after the count; ``reason``: help of --reason where that is our own, not a filter."""

    help: str
    done: str
    reason: str = ""


CHANGES = {
    "hold": Change(
        "Keep waiting recipients from being tried until they are released.", "held", "Kept with what is held."
    ),
    "release": Change("Let held recipients be delivered, at once.", "released"),
    "retry": Change("Try waiting recipients now instead of at their time.", "due now"),
    "delete": Change("Remove recipients without telling anybody. There is no way back.", "deleted"),
    "bounce": Change("Give up: remove recipients and report the failure to the senders.", "bounced"),
}


def _make(name: str, change: Change) -> click.Command:
    own_reason = [click.Option(["--reason", "why"], default="", help=change.reason)] if change.reason else []
    told = (
        [click.Option(["--text", "why"], default="", help="Told to the senders.")] if name == "bounce" else []
    )

    def run(*, everything: bool, why: str = "", **options: Any) -> None:
        request = Request.of(**options)
        demand_some(name, request, everything=everything)
        carry_out(name, change, request, {"filter": request.filter, "all": everything, "reason": why})

    return click.Command(
        name,
        callback=run,
        help=change.help,
        params=[
            IDS,
            *filters(but=["reason"] if change.reason else []),
            ALL,
            *own_reason,
            *told,
            OUTPUT,
            *WHO,
        ],
    )


for _name, _change in CHANGES.items():
    command.add_command(_make(_name, _change))


def carry_out(name: str, change: Change, request: Request, body: dict[str, object]) -> None:
    changed = 0
    unknown = set(request.ids)
    for _, answer in request.each(lambda client: client.post(f"/queue/{name}", body)):
        changed += answer["changed"]
        unknown &= set(answer["unknown"])
    if request.output == "json":
        click.echo(json.dumps({"changed": changed, "unknown": sorted(unknown)}))
    else:
        click.echo(f"{changed} {'message' if changed == 1 else 'messages'} {change.done}")
    if unknown and not request.exit_code:
        click.echo(f"waystation queue: not in the queue: {', '.join(sorted(unknown))}", err=True)
        request.exit_code = ENVIRONMENT
    sys.exit(request.exit_code)
