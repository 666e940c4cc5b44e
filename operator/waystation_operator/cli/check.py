"""``waystation check``: validates files and shows what they would do, starting nothing."""

import click

from waystation_contract.model import Document, ListenerTLS
from waystation_operator.cli.validated import validated
from waystation_operator.plan.precedence import table


@click.command(
    epilog="\b\nExamples:\n  waystation check pool.yaml routes.yaml\n"
    "  kubectl get rp,mr,secrets -n mail -o yaml | waystation check -",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def command(files: tuple[str, ...]) -> None:
    """Validate RelayPools and MailRoutes in FILEs of YAML (`-`: standard input).

    Secrets and Namespaces that they refer to belong in the FILEs too. Every problem is printed
    with its file and line, the resource, the field, its value and a remedy. For what is valid, the
    listeners of each pool and its routes are shown, the one that is consulted first at the top.

    Exits 0 if all is well, 2 if something is wrong in a FILE, 1 if one cannot be read.
    """
    _, plans = validated(files)
    for plan in plans:
        assert plan.document is not None  # a pool without a document has a problem, which ends the command
        click.echo("\n".join(summary(plan.document)))
    for plan in plans:
        for notice in plan.notices:
            click.echo(f"notice: {notice}", err=True)


def summary(document: Document) -> list[str]:
    """A pool in a few lines."""
    size = f"{_count(len(document.listeners), 'listener')}, {_count(len(document.routes), 'route')}"
    lines = [f"ok: RelayPool {document.pool} ({document.hostname}): {size}"]
    for listener in document.listeners:
        tls = "no TLS" if listener.tls is ListenerTLS.NONE else f"TLS {listener.tls}"
        clients = ", ".join(listener.clients) or "nobody"
        lines.append(f"  listener {listener.name}, port {listener.service_port}, {tls}; may relay: {clients}")
    for row in table(document):
        where = "" if len(row.listeners) == len(document.listeners) else f" on {', '.join(row.listeners)}"
        goes = ", ".join(row.backends)
        lines.append(f"  {row.recipients} from {row.senders}{where} -> {goes}  (MailRoute {row.route})")
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
