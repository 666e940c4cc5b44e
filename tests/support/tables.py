"""Markdown tables of the documentation, for the tests that hold it to its word."""

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def table(page: str, *header: str) -> list[dict[str, str]]:
    """The rows of the one table with this header, code marks removed."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    starts = [n for n, line in enumerate(lines) if _cells(line) == list(header)]
    assert len(starts) == 1, f"{page}: {len(starts)} tables with the header {header}"
    rows = []
    for line in lines[starts[0] + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(header, _cells(line), strict=True)))
    assert rows
    return rows


def _cells(line: str) -> list[str]:
    return (
        [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")] if "|" in line else []
    )
