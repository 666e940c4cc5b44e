"""``python -m charts.generate``: writes what is made for the chart and docs/install.md.

That is ``files/alerts.yaml``, ``dashboards/`` and ``templates/rbac/_rules.tpl``
of the chart, and the tables of the page. The copies of the resource definitions are written where those
are: by ``python -m waystation_operator.cli.generate``. With ``--check``
nothing is written, and the exit code is 1 if something would be.
"""

import json
from pathlib import Path

import click
from charts import alerts, dashboards, page, rules

from waystation_operator.cli.generate import bring_up_to_date

TREE = Path(__file__).parents[1]


def expected(tree: Path) -> dict[Path, str]:
    """Every generated file with the text it ought to have."""
    chart = tree / "charts" / "waystation"
    files = {chart / "files" / "alerts.yaml": alerts.text()}
    files[chart / "templates" / "rbac" / "_rules.tpl"] = rules.text()
    files |= {chart / "dashboards" / name: text for name, text in dashboards.texts().items()}
    install = tree / "docs" / "install.md"
    files[install] = page.fill(
        install.read_text(encoding="utf-8"),
        (chart / "values.yaml").read_text(encoding="utf-8"),
        json.loads((chart / "values.schema.json").read_text(encoding="utf-8")),
    )
    return files


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if a file is out of date.")
def command(check: bool) -> None:
    """Write the chart's alerts, dashboards and roles, and the tables of docs/install.md."""
    bring_up_to_date(expected(TREE), TREE, check=check, remedy="python -m charts.generate")


if __name__ == "__main__":
    command()
