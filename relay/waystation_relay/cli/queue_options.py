"""The options of ``waystation queue`` and what they add up to: whom to ask, which messages are meant.

The relay reads the filters' values, as it knows the rules; here they are only
passed on. What cannot be meant (a change without a filter, an id and --all) is
refused before anybody is asked.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from waystation_relay.cli import pods
from waystation_relay.cli.admin_client import AdminClient, AdminError

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)

IDS = click.Argument(["ids"], nargs=-1, metavar="[QUEUE_ID]...")
SOME_IDS = click.Argument(["ids"], nargs=-1, metavar="QUEUE_ID...", required=True)

WHO: Sequence[click.Parameter] = (
    click.Option(
        ["--admin"],
        metavar="URL",
        envvar="WAYSTATION_ADMIN",
        show_envvar=True,
        help=f"The relay's admin port.  [default: the pods of a local run, else {pods.DEFAULT_ADMIN}]",
    ),
    click.Option(
        ["--token-file"],
        type=_FILE,
        envvar="WAYSTATION_TOKEN_FILE",
        show_envvar=True,
        help="Holds the admin token of the relay named by --admin.",
    ),
    click.Option(
        ["--data"],
        type=_FOLDER,
        metavar="DIR",
        help=f"Folder of a local run.  [default: {pods.DEFAULT_DATA}]",
    ),
    click.Option(["--pod"], metavar="NAME", help="Only this pod of the local run.  [default: all]"),
)
OUTPUT = click.Option(
    ["-o", "output"],
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)

FILTER_HELP = {
    "domain": "Recipients at this domain.",
    "recipient": "This recipient address.",
    "sender": "This envelope sender; <> is the null sender.",
    "sender-domain": "Senders at this domain.",
    "older-than": "In the queue for longer than 90s, 15m, 2h, 5d…",
    "younger-than": "In the queue for less than that.",
    "status": "waiting or held.",
    "reason": "Deferred for this reason (dns, connect, greylisted…) or held with this text.",
}


def filters(*, but: Sequence[str] = ()) -> list[click.Parameter]:
    return [click.Option([f"--{name}"], help=text) for name, text in FILTER_HELP.items() if name not in but]


ALL = click.Option(["--all", "everything"], is_flag=True, help="Every message; instead of ids and filters.")


@dataclasses.dataclass(slots=True)
class Request:
    """``filter`` is what the relay is sent. ``exit_code`` is what the command ends with."""

    clients: list[AdminClient]
    ids: tuple[str, ...]
    filter: dict[str, object]
    output: str
    exit_code: int = 0

    @classmethod
    def of(
        cls,
        *,
        ids: Sequence[str],
        admin: str | None,
        token_file: Path | None,
        data: Path | None,
        pod: str | None,
        output: str,
        **filters: str | None,
    ) -> "Request":
        """From the values of the options above."""
        unique = tuple(dict.fromkeys(ids))
        wanted: dict[str, object] = {
            name.replace("_", "-"): value for name, value in filters.items() if value is not None
        }
        if unique:
            wanted["id"] = list(unique)
        return cls(pods.choose(admin, token_file, data, pod), unique, wanted, output)

    def each(self, ask: Callable[[AdminClient], Any]) -> Iterator[tuple[AdminClient, Any]]:
        """Each relay's answer. One that gives none is reported, and the others are asked all the same."""
        for client in self.clients:
            try:
                answer = ask(client)
            except AdminError as error:
                self.fail(error, client)
            else:
                yield client, answer

    def fail(self, why: AdminError, client: AdminClient | None = None) -> None:
        where = f"{client.name}: " if client is not None and client.name else ""
        click.echo(f"waystation queue: {where}{why}", err=True)
        self.exit_code = max(self.exit_code, why.exit_code)


def demand_some(name: str, request: Request, *, everything: bool) -> None:
    """A change must say what it means: ids or filters, or all, never nothing and never both."""
    if everything and request.filter:
        raise click.UsageError("--all means every message; leave out ids and filters")
    if not everything and not request.filter:
        raise click.UsageError(f"say what to {name}: queue ids, filters, or --all")
