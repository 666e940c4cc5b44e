"""``waystation operator run``: the relays that the RelayPools and MailRoutes of a cluster describe."""

import asyncio
import importlib.metadata
import os
import sys

import click

from waystation_operator.cluster import access
from waystation_operator.cluster.access import AccessError
from waystation_operator.cluster.kinds import Scope
from waystation_operator.cluster.log import LEVELS, Log
from waystation_operator.handlers.app import Operator, Options, attach_logging
from waystation_operator.plan.observed import Settings

_LABELS = {"app.kubernetes.io/name": "waystation", "app.kubernetes.io/component": "operator"}


class Address(click.ParamType[tuple[str, int]]):
    name = "host:port"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        host, colon, port = str(value).rpartition(":")
        if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
            self.fail(f"{value} is no host:port; write one such as 0.0.0.0:8080 or [::]:8080", param, ctx)
        return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 -- a pod is reached from elsewhere


@click.group()
def command() -> None:
    """Run the Kubernetes operator."""


@command.command(
    epilog="\b\nExamples:\n"
    "  waystation operator run --relay-image registry.example/waystation-relay:1.0\n"
    "  waystation operator run --relay-image IMAGE --watch-namespace mail --no-leader-election"
)
@click.option(
    "--relay-image",
    required=True,
    envvar="WAYSTATION_RELAY_IMAGE",
    show_envvar=True,
    help="Image of the relays, where a pool names none.",
)
@click.option(
    "--image-pull-policy",
    type=click.Choice(["Always", "IfNotPresent", "Never"]),
    default="IfNotPresent",
    show_default=True,
    help="When nodes pull that image.",
)
@click.option(
    "--watch-namespace",
    "namespaces",
    multiple=True,
    metavar="NAMESPACE",
    help="Work in this namespace only. Repeatable. Without it, the whole cluster.",
)
@click.option("--lease-namespace", default="", help="Namespace of the lease.  [default: the pod's own]")
@click.option("--lease-name", default="waystation-operator", show_default=True, help="Name of the lease.")
@click.option(
    "--no-leader-election",
    is_flag=True,
    help="Work without a lease. Only where no second operator can run, for development.",
)
@click.option(
    "--http",
    type=Address(),
    default="0.0.0.0:8080",
    show_default=True,
    help="Serve /livez, /readyz and /metrics here.",
)
@click.option(
    "--log-level",
    type=click.Choice(list(LEVELS)),
    default="info",
    show_default=True,
    help="Least grave lines that are logged.",
)
def run(
    relay_image: str,
    image_pull_policy: str,
    namespaces: tuple[str, ...],
    lease_namespace: str,
    lease_name: str,
    no_leader_election: bool,
    http: tuple[str, int],
    log_level: str,
) -> None:
    """Run the relays that RelayPools and MailRoutes describe, until stopped.

    The cluster is the one this pod runs in, or that of KUBECONFIG. Of several replicas one works, and
    another takes over within half a minute of its death. The permissions it needs are in docs/operator.md.

    Exits 0 when stopped as asked, 1 if the environment is in the way or the lease was lost.
    """
    own = access.own_namespace()
    options = Options(
        settings=Settings(
            relay_image=relay_image,
            image_pull_policy=image_pull_policy,
            operator_namespace=own,
            operator_labels=_LABELS,
        ),
        scope=Scope(tuple(dict.fromkeys(namespaces))),
        lease_namespace=lease_namespace or own,
        lease_name=lease_name,
        elect=not no_leader_election,
        host=http[0],
        port=http[1],
        log_level=log_level,
        version=importlib.metadata.version("waystation"),
    )
    code = asyncio.run(_run(options))
    sys.stdout.flush()
    os._exit(code)  # the thread of the watches may still be ending, and must not end us otherwise


async def _run(options: Options) -> int:
    try:
        await access.load()
    except AccessError as error:
        raise click.ClickException(str(error)) from error
    log = Log(options.log_level)
    attach_logging(log)
    try:
        return await Operator(options, log).run()
    except OSError as error:
        raise click.ClickException(
            f"{options.host}:{options.port} cannot be listened on: {error.strerror or error}; "
            "choose another address with --http"
        ) from error
