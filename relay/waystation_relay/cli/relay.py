"""``waystation relay``: what a pod runs."""

import os
import sys
from pathlib import Path

import click
import uvloop  # noqa: F401 -- app is imported late; without its libraries the command is not to begin

from waystation_relay.aio.addresses import EVERY_V4
from waystation_relay.cli.endpoint import Endpoint

EXIT_CONFIG = 2
EXIT_ENVIRONMENT = 1


@click.command()
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The configuration document (JSON); Secret files lie beside it. Watched and swapped while running.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default="/var/spool/waystation",
    show_default=True,
    help="The folder of the queue, on a volume that outlives the process.",
)
@click.option(
    "--bind",
    default=EVERY_V4,
    show_default=True,
    help="Address of the SMTP listeners; :: is every address, IPv6 and IPv4.",
)
@click.option(
    "--admin",
    type=Endpoint("127.0.0.1:8025"),
    default="127.0.0.1:8025",
    show_default=True,
    help="Where probes, metrics and `waystation queue` are answered (HTTP); [::]:PORT is every address.",
)
@click.option(
    "--admin-token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Holds the token that admin calls must carry. Without it such calls are refused.",
)
@click.option("--pod", default="", help="This pod's name, for logs and metrics.")
@click.option(
    "--reuse-port", is_flag=True, help="Share the listening ports with other relays (SO_REUSEPORT)."
)
@click.option(
    "--stop-grace",
    type=click.FloatRange(min=0.0, max=600.0),
    default=0.0,
    show_default=True,
    help="Seconds from SIGTERM until new sessions are turned away; /readyz fails at once.",
)
def command(
    config: Path,
    data: Path,
    bind: str,
    admin: tuple[str, int],
    admin_token_file: Path | None,
    pod: str,
    reuse_port: bool,
    stop_grace: float,
) -> None:
    """Run one relay: receive, queue and deliver mail until told to stop.

    \b
    SIGTERM  stop accepting, finish open messages (at most 45 s), exit 0; once more: at once
    SIGHUP   look at the configuration now

    Exit codes: 0 stopped as asked, 1 the environment refuses (port in use,
    queue owned by another process, unreadable file), 2 the configuration is wrong.
    """
    # A pod has a read-only root and no /tmp. SQLite reads this once, when app imports it.
    os.environ.setdefault("SQLITE_TMPDIR", str(data.absolute()))
    from waystation_relay.app import Options, StartFailure, run

    options = Options(
        config=config,
        data=data,
        bind=bind,
        admin=admin,
        token_file=admin_token_file,
        pod=pod,
        reuse_port=reuse_port,
        stop_grace_s=stop_grace,
    )
    try:
        code = run(options)
    except StartFailure as failure:
        click.echo(f"waystation relay: {failure}", err=True)
        sys.exit(EXIT_CONFIG if failure.is_configuration else EXIT_ENVIRONMENT)
    sys.exit(code)
