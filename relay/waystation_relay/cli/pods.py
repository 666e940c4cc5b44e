"""Which relays a command speaks to.

With ``--admin`` the one at that URL. Otherwise the pods of the local run in
``--data``, which ``local.json`` there names, each with its own token; without
such a run, the relay at the default admin port.
"""

import json
from pathlib import Path
from typing import Any

import click

from waystation_relay.cli.admin_client import AdminClient

DEFAULT_DATA = Path(".waystation")
DEFAULT_ADMIN = "http://127.0.0.1:8025"
RECORD = "local.json"


def choose(
    admin: str | None, token_file: Path | None, data: Path | None, pod: str | None
) -> list[AdminClient]:
    """Raises ``click.ClickException`` (or its ``UsageError``) when there is nobody to speak to."""
    if admin is not None:
        if pod is not None or data is not None:
            raise click.UsageError(
                "--admin (or WAYSTATION_ADMIN) names one relay; --data and --pod choose among a local run's"
            )
        if not admin.startswith(("http://", "https://")):
            raise click.UsageError(f"--admin {admin}: is not a URL; write it as {DEFAULT_ADMIN}")
        return [AdminClient(admin, token_file)]
    folder = data or DEFAULT_DATA
    record = folder / RECORD
    if data is None and pod is None and not record.exists():
        return [AdminClient(DEFAULT_ADMIN, token_file)]
    running = _pods(record)
    if pod is not None and pod not in [client.name for client in running]:
        names = ", ".join(client.name for client in running) or "none"
        raise click.UsageError(f"--pod {pod}: no such pod runs in {folder}; there is {names}")
    chosen = [client for client in running if pod in (None, client.name)]
    if not chosen:
        raise click.ClickException(f"no relay runs in {folder}; start one with `waystation local up`")
    return chosen


def _pods(record: Path) -> list[AdminClient]:
    try:
        found: Any = json.loads(record.read_bytes())
        processes = [running["process"] for running in found["processes"]]
        return [
            AdminClient(process["admin"], Path(process["token_file"]), process["name"])
            for process in processes
            if process.get("admin")
        ]
    except FileNotFoundError:
        raise click.ClickException(
            f"nothing runs in {record.parent}; start it with `waystation local up`, "
            "or name another folder with --data, or a relay with --admin"
        ) from None
    except OSError as error:
        raise click.ClickException(f"{record} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise click.ClickException(
            f"{record} is not the record of a local run that this version knows; "
            "name the relay with --admin and --token-file"
        ) from None
