"""``python -m waystation_operator.cli.generate``: writes what is made from the models into the source tree.

That is ``crds/*.yaml`` with the chart's copies of them, the field tables of
``docs/configuration.md`` and the tables of ``docs/conditions.md``.
With ``--check`` nothing is written, and the exit code is 1 if something would be.
"""

from collections.abc import Mapping
from pathlib import Path

import click

from waystation_operator.api import crds, reference
from waystation_operator.plan import conditionspage

TREE = Path(__file__).parents[3]
CRDS = ("crds", "charts/waystation/files/crds")
_PAGES = {"configuration.md": reference.fill, "conditions.md": conditionspage.fill}


def expected(tree: Path) -> dict[Path, str]:
    """Every generated file with the text it ought to have."""
    files = {tree / folder / name: text for folder in CRDS for name, text in crds.crds().items()}
    for name, fill in _PAGES.items():
        page = tree / "docs" / name
        files[page] = fill(page.read_text(encoding="utf-8"))
    return files


def bring_up_to_date(files: Mapping[Path, str], root: Path, *, check: bool, remedy: str) -> None:
    """Write those that differ and say which; with ``check`` write nothing, and exit 1 naming the remedy."""
    stale = [
        (path, text)
        for path, text in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path, text in stale:
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        click.echo(f"{path.relative_to(root)}: {'out of date' if check else 'written'}")
    if check and stale:
        click.echo(f"error: run `{remedy}`", err=True)
        raise SystemExit(1)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file is out of date.")
@click.option("--tree", type=click.Path(path_type=Path), default=TREE, help="Root of the source tree.")
def command(check: bool, tree: Path) -> None:
    """Write crds/*.yaml and the tables of docs/configuration.md and docs/conditions.md."""
    bring_up_to_date(expected(tree), tree, check=check, remedy="python -m waystation_operator.cli.generate")


if __name__ == "__main__":
    command()
