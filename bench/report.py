"""Writes the figures of docs/performance.md from the latest results.

    python -m bench.report [--compare FILE] [--memory FILE] [--profile FILE]

Rewrites what is between the two marks of the page and nothing else. A kind of
result of which there is none leaves its part out: no figure appears that was
not measured.
"""

import argparse
from pathlib import Path
from typing import Any

from bench import goals, plot, record, tables

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- figures: begin (python -m bench.report) -->", "<!-- figures: end -->"
STEPS_FROM_US = 3.0
Result = dict[str, Any]


def rewrite(page: str, figures: str) -> str:
    """The page with new figures; ValueError when it lacks a mark."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN!r} followed by {END!r}")
    return f"{before}{BEGIN}\n\n{figures.strip()}\n\n{END}{after}"


def section(compare: Result | None, memory: Result | None, profile: Result | None) -> str:
    parts = []
    if compare or memory:
        parts += ["### Goals", tables.markdown(goals.rows(compare, memory))]
    if compare:
        parts += _compare(compare)
    if memory:
        parts += _memory(memory)
    if profile:
        parts += _profile(profile)
    return "\n\n".join(parts) or "Nothing has been measured yet."


def _compare(result: Result) -> list[str]:
    options = result["options"]
    described = [
        f"- {tables.TITLES[name]} {server['version']}: {server['settings']}"
        for name, server in result["servers"].items()
    ]
    return [
        "### Side by side",
        f"Rounds: {options['rounds']}; the median, in brackets the least and the most.",
        _machine(result),
        "\n".join(described),
        *_picture("compare", "Rates and processor time of each server"),
        *(tables.markdown(rows) for rows in tables.all_of(result)),
    ]


def _memory(result: Result) -> list[str]:
    return [
        "### Memory and start",
        f"Deferred messages of {result['size_bytes']:,} bytes; seconds from the start of the process.",
        _machine(result),
        *_picture("memory", "Memory and start-up time over the size of the queue"),
        tables.markdown(tables.growth(result)),
    ]


def _profile(result: Result) -> list[str]:
    parts = ["### Where the time goes", _machine(result)]
    for profile in result["profiles"].values():
        parts += [
            f"#### {profile['title']}",
            f"{profile['rate']:,.0f} messages a second while it was looked at.",
            tables.markdown(tables.threads(profile)),
            tables.markdown(tables.steps(profile, STEPS_FROM_US)),
        ]
    return parts


def _machine(result: Result) -> str:
    lines = [f"Measured {result['when'][:10]}", *record.machine_lines(result["machine"])]
    return "; ".join(lines) + "."


def _picture(name: str, text: str) -> list[str]:
    """Shown when it has been drawn (``--docs``)."""
    image = plot.IMAGES / f"{name}.svg"
    return [f"![{text}]({image.relative_to(PAGE.parent)})"] if image.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for kind in ("compare", "memory", "profile"):
        parser.add_argument(f"--{kind}", type=Path, help="a file of bench/results (default: the newest)")
    options = vars(parser.parse_args())
    found = {kind: record.load(path) if path else record.newest(kind) for kind, path in options.items()}
    page = rewrite(PAGE.read_text(encoding="utf-8"), section(**found))
    PAGE.write_text(page, encoding="utf-8")
    print(
        f"written: {PAGE}: " + (", ".join(kind for kind, result in found.items() if result) or "no figures")
    )


if __name__ == "__main__":
    main()
