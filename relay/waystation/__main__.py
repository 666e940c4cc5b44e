"""The ``waystation`` command: a table of subcommands, each imported only when it is called.

So a relay pod needs none of the operator's libraries, and the operator none
of the relay's: a missing one is reported with the extra that brings it.

Exit codes, of every subcommand: 0 done; 1 the environment is in the way (a
port in use, a file that cannot be read, nobody answers); 2 what was asked or
configured is wrong, and nothing was started.
"""

import importlib
from typing import NamedTuple

import click


class Entry(NamedTuple):
    target: str  # module:attribute of a click command
    extra: str  # the extra of the distribution that brings its libraries
    summary: str


COMMANDS = {
    "check": Entry(
        "waystation_operator.cli.check:command", "operator", "Validate RelayPools and MailRoutes."
    ),
    "local": Entry("waystation_operator.cli.local:command", "operator", "Run pools on this machine."),
    "operator": Entry("waystation_operator.cli.operator:command", "operator", "Run the Kubernetes operator."),
    "queue": Entry("waystation_relay.cli.queue:command", "relay", "Look at a relay's queue and change it."),
    "relay": Entry("waystation_relay.cli.relay:command", "relay", "Run one relay, as a pod does."),
    "send": Entry("waystation_relay.cli.send:command", "relay", "Send a test mail."),
    "sink": Entry("waystation_relay.cli.sink:command", "sink", "Run a mailbox server to test against."),
}

_OURS = ("waystation", "waystation_operator", "waystation_relay", "waystation_contract")


class Lazy(click.Group):
    """Lists its commands from the table and imports the one that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        entry = COMMANDS.get(cmd_name)
        return load(cmd_name, entry) if entry else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in sorted(COMMANDS.items())])


def load(name: str, entry: Entry) -> click.Command:
    module, _, attribute = entry.target.partition(":")
    try:
        command = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in _OURS:
            raise
        raise click.ClickException(
            f"`waystation {name}` needs the Python package {error.name!r}, which is not installed; "
            f"install it with: pip install 'waystation[{entry.extra}]'"
        ) from None
    assert isinstance(command, click.Command)
    return command


@click.command(
    cls=Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: waystation local up --sink FILE…   (then `waystation send --help`)",
)
@click.version_option(package_name="waystation", prog_name="waystation")
def main() -> None:
    """Waystation: a mail relay that keeps what it accepts.

    RelayPools say where mail comes in and waits, MailRoutes where it goes. The same YAML runs
    on this machine (`waystation local`) and in Kubernetes.
    """


if __name__ == "__main__":
    main(prog_name="waystation")
