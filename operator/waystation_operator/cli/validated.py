"""Reads and plans the files a command was given, or ends the command with everything that is wrong."""

from collections.abc import Sequence

import click

from waystation_operator.api.problem import Located
from waystation_operator.api.relaypool import container_port
from waystation_operator.local.load import Loaded, load
from waystation_operator.plan.relayconfig import Place, Plan
from waystation_operator.plan.world import plan_world

ENVIRONMENT = 1
CONFIGURATION = 2


def validated(files: Sequence[str], place: Place = container_port) -> tuple[Loaded, list[Plan]]:
    """The plans of all pools in ``files``. Exits 1 for an unreadable file, 2 for anything wrong in one."""
    loaded = load(files)
    plans, problems = plan_world(loaded.world, place)
    report([*loaded.problems, *_of_the_plan(loaded, loaded.locate(problems))], loaded.unreadable, files)
    if not plans:
        remedy = "define one, as docs/configuration.md shows"
        click.echo(f"error: {', '.join(files)}: no RelayPool in it; {remedy}", err=True)
        raise SystemExit(CONFIGURATION)
    return loaded, plans


def _of_the_plan(loaded: Loaded, found: list[Located]) -> list[Located]:
    """References are judged only when every object could be read: else one mistake is reported twice."""
    return [] if loaded.problems or loaded.unreadable else found


def report(problems: Sequence[Located], unreadable: Sequence[str], files: Sequence[str]) -> None:
    """Prints everything in the files' order, by line, and exits if there was anything."""
    order = {file: n for n, file in enumerate(files)}
    for problem in sorted(problems, key=lambda x: (order.get(x.file, len(order)), x.line)):
        click.echo(str(problem), err=True)
    for complaint in unreadable:
        click.echo(f"error: {complaint}", err=True)
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        click.echo(f"error: {count} found; nothing was done", err=True)
    if problems or unreadable:
        raise SystemExit(ENVIRONMENT if unreadable else CONFIGURATION)
