"""``waystation local``: pools and routes as processes on this machine, from the same YAML as in a cluster."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from waystation_contract import grammar
from waystation_operator.cli.validated import ENVIRONMENT, report, validated
from waystation_operator.local import apply, stop, summary
from waystation_operator.local import record as records
from waystation_operator.local.layout import Layout
from waystation_operator.local.lock import BusyError, held
from waystation_operator.local.place import ADMIN_OFFSET, HIGHEST, PORT_BASE, Placement, place
from waystation_operator.local.record import Record
from waystation_operator.local.supervisor import READY_WITHIN_S, Supervisor
from waystation_operator.local.topology import Desired, Settings, admin_ports, desired

_HIGHEST_BASE = HIGHEST - ADMIN_OFFSET - 1000  # room for admin ports
_POLL_S = 0.05


class DNSServer(click.ParamType[str]):
    name = "ip:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if complaint := grammar.dns_server(str(value)):
            self.fail(f"{value} {complaint.problem}; {complaint.remedy}", param, ctx)
        return str(value)


_data = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=summary.DATA,
    show_default=True,
    help="Folder of this run: queues, logs, what the sink received.",
)


@click.group()
def command() -> None:
    """Run RelayPools on this machine: the same YAML, each pod a process on 127.0.0.1.

    Port p of a pool's Service is 127.0.0.1:(2500 + p), so 25 is 2525. `up` starts, and applies
    changes to what runs already; `down` stops. Queues stay in the folder and are taken up again.
    """


@command.command(
    epilog="\b\nExamples:\n  waystation local up demo/mail.yaml --sink\n"
    "  waystation local up pools.yaml routes.yaml --detach   (again after each change of a file)",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_data
@click.option(
    "--port-base",
    type=click.IntRange(0, _HIGHEST_BASE),
    help=f"What is added to every Service port.  [default: {PORT_BASE}]",
)
@click.option(
    "--sink/--no-sink", default=None, help="Deliver everything to a mailbox server here, nothing elsewhere."
)
@click.option("--dns", type=DNSServer(), multiple=True, help="Ask this server for all names. Repeatable.")
@click.option("--detach", is_flag=True, help="Return once all is ready; the processes go on.")
def up(
    files: tuple[str, ...],
    data: Path,
    port_base: int | None,
    sink: bool | None,
    dns: tuple[str, ...],
    detach: bool,
) -> None:
    """Run what the FILEs describe, until Ctrl-C or `waystation local down`.

    The FILEs are checked first; with anything wrong in them nothing is done. Where a run in --data is
    up already, its relays take up the new configuration without a restart; relays that are no longer
    described are stopped, new ones started. Options that are not given stay as they are in that run.

    Exits 0 when stopped as asked, 1 if the environment is in the way, 2 if a FILE is wrong.
    """
    layout = Layout(data.absolute())
    with _environment():
        current = stop.live(layout)
        before = records.read_desired(layout) if current else Desired()
        settings = Settings(
            port_base=before.settings.port_base if port_base is None else port_base,
            sink=before.settings.sink if sink is None else sink,
            dns=dns or before.settings.dns,
        )
        kept = admin_ports(before) if settings.port_base == before.settings.port_base else {}
        placement = _placement(files, settings, kept)
        _bring_up(layout, current, placement, desired(placement, layout, settings), detach=detach)


def _placement(files: Sequence[str], settings: Settings, kept: Mapping[str, int]) -> Placement:
    """What the files describe, placed on this machine; or the end of the command."""
    loaded, plans = validated(files, lambda port: settings.port_base + port)
    placement = place(plans, settings.port_base, sink=settings.sink, admin_ports=kept)
    report(loaded.locate(placement.problems), (), files)
    for plan in plans:
        for notice in plan.notices:
            click.echo(f"notice: {notice}", err=True)
    return placement


def _bring_up(
    layout: Layout, current: Record | None, placement: Placement, wanted: Desired, *, detach: bool
) -> None:
    with ExitStack() as lock:
        lock.enter_context(held(layout, "waystation local up"))
        found = stop.live(layout)
        if (found and found.supervisor) != (current and current.supervisor):
            _refuse(f"{layout.root} was started or stopped by somebody else just now; try again")
        if current is None:
            stop.end_orphans(layout, click.echo)
        if complaints := list(apply.taken_ports(wanted, current)):
            _refuse(*complaints)
        digests = apply.write(layout, placement, wanted)
        if current is not None:
            _change(layout, current, wanted, digests)
        elif detach:
            _detached(layout)
        else:
            _foreground(layout, lock.close)


def _change(layout: Layout, current: Record, wanted: Desired, digests: dict[str, str]) -> None:
    names = {process.name for process in wanted.processes}
    gone = [running for running in current.processes if running.process.name not in names]
    left = apply.queued(gone)
    if complaint := apply.ask(layout, current):
        _refuse(complaint)
    if complaints := apply.taken_up(wanted, digests):
        _refuse(*complaints)
    if gone:
        click.echo(f"stopped {', '.join(running.process.name for running in gone)}")
        _keep(left)
    _show(layout, "changed")


def _keep(left: dict[str, int]) -> None:
    for name, count in left.items():
        if count:
            kept = f"{count} message{'s' if count > 1 else ''}"
            click.echo(f"{name} keeps {kept} in its queue, and goes on with it when it runs again")


def _detached(layout: Layout) -> None:
    with layout.supervisor_log.open("wb") as log:
        supervisor = subprocess.Popen(  # noqa: S603 -- ourselves, with a folder's name
            [sys.executable, "-m", "waystation_operator.local.supervisor", str(layout.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + READY_WITHIN_S + 5.0
    while supervisor.poll() is None:
        record = stop.live(layout)
        if record is not None and record.generation and record.settled:
            _show(layout, "running")
            return
        if time.monotonic() > deadline:
            _refuse(f"it is not ready after {READY_WITHIN_S:.0f} s; see {layout.supervisor_log}")
        time.sleep(_POLL_S)
    click.echo(layout.supervisor_log.read_text(encoding="utf-8", errors="replace").rstrip(), err=True)
    raise SystemExit(ENVIRONMENT)


def _foreground(layout: Layout, unlock: Callable[[], None]) -> None:
    def say(text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone; the relays need not notice
            click.echo(text, err=True)

    def ready() -> None:
        unlock()
        with contextlib.suppress(OSError):
            _show(layout, "running; Ctrl-C stops it")

    code = asyncio.run(Supervisor(layout, say).run(ready))
    if code:
        raise SystemExit(code)
    say("stopped")


@command.command()
@_data
def down(data: Path) -> None:
    """Stop what runs in --data, and wait for it. Queues and logs stay in the folder.

    Also ends what a killed `local up` has left behind.
    """
    layout = Layout(data.absolute())
    with _environment():
        if (record := stop.live(layout)) is not None:
            left = apply.queued(record.processes)
            stop.end_run(record, click.echo)
            _keep(left)
        elif not layout.root.is_dir():
            click.echo(f"nothing runs in {data}")
            return
        else:
            with held(layout, "waystation local down"):
                if not stop.orphans(layout):
                    click.echo(f"nothing runs in {data}")
                stop.end_orphans(layout, click.echo)
                return
        with held(layout, "waystation local down"):
            stop.end_orphans(layout, click.echo)  # had it to be killed: what it left
    click.echo(f"stopped; queues and logs stay in {data}")


@command.command()
@_data
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(data: Path, output: str) -> None:
    """Show what runs in --data and where.

    Exits 0 if everything is ready, 1 if not, or if nothing runs.
    """
    layout = Layout(data.absolute())
    with _environment():
        record, left = stop.live(layout), stop.orphans(layout)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(record)).decode())
    elif record is not None:
        _show(layout, "running")
    elif left:
        names = ", ".join(sorted(left))
        click.echo(f"the supervisor is gone, {names} still run; `waystation local down` ends them", err=True)
    else:
        click.echo(f"nothing runs in {data}", err=True)
    if record is None or not record.settled:
        raise SystemExit(ENVIRONMENT)


def _show(layout: Layout, what: str) -> None:
    record = stop.live(layout)
    if record is None:
        return  # ended just now; whoever ended it says so
    here = Path.cwd()
    click.echo(f"{summary.shown(layout.root, here)}: {what}\n")
    for lines in (summary.ports(record), summary.processes(record, here)):
        click.echo(summary.indented(lines) + "\n")
    click.echo("next:\n" + summary.indented(summary.next_steps(record, layout, here)))


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """What the machine refuses becomes one sentence and exit code 1."""
    try:
        yield
    except BusyError as error:
        _refuse(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        _refuse(f"{error.filename or ''}: {error.strerror}; make it a place this user may write to")


def _refuse(*complaints: str) -> None:
    for complaint in complaints:
        click.echo(f"error: {complaint}", err=True)
    raise SystemExit(ENVIRONMENT)
