"""Draws a result: bars for a comparison, growth curves for memory. PNG and SVG.

``draw`` puts the pictures beside the result, and with ``docs`` under
``docs/images`` too, where docs/performance.md shows them. Needs matplotlib,
which is an extra (``pip install -e '.[bench]'``); without it there is no plot
and a line says so.
"""

import importlib.util
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import record, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FORMATS = ("png", "svg")
COLOURS = {"waystation": "#1f6f8b", "postfix": "#b0b7bf", "exim": "#c7ccd1", "haraka": "#d9dde1"}
INK, FAINT, GOAL = "#22303a", "#8a949c", "#c0392b"
MIB = 2**20


def draw(result: dict[str, Any], *, docs: bool) -> list[Path]:
    """The files written; none without matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is missing (pip install -e '.[bench]')")
        return []
    import matplotlib as mpl

    mpl.use("agg")
    # Text stays text, and nothing changes from one drawing to the next.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9})
    figure = DRAWN[result["kind"]](result)
    written = []
    for folder in (record.FOLDER, *((IMAGES,) if docs else ())):
        folder.mkdir(parents=True, exist_ok=True)
        for ending in FORMATS:
            path = folder / f"{result['kind']}.{ending}"
            figure.savefig(path, dpi=150, metadata={"Date": None} if ending == "svg" else None)
            written.append(path)
    print("drawn: " + ", ".join(str(path) for path in written))
    return written


def compare(result: dict[str, Any]) -> "Figure":
    """A row for each workload: messages a second to the left, processor time a message to the right."""
    from matplotlib.figure import Figure

    workloads, names = result["workloads"], list(result["servers"])
    figure = Figure(figsize=(10, 0.5 + len(workloads) * (0.5 + 0.24 * len(names))), layout="constrained")
    axes = figure.subplots(len(workloads), 2, squeeze=False)
    for row, (key, workload) in zip(axes, workloads.items(), strict=True):
        for axis, field in zip(row, ("rate", "cpu_us"), strict=True):
            _bars(axis, {name: tables.of(result, name, key, field) for name in names})
        row[0].set_title(workload["title"], loc="left", fontweight="bold", color=INK)
    axes[0][0].set_title("messages a second", loc="right", color=FAINT)
    axes[0][1].set_title("µs of CPU a message, all processes", loc="right", color=FAINT)
    return figure


def _bars(axis: "Axes", cells: dict[str, list[float]]) -> None:
    """One bar a server: the median, with a line from the least to the most."""
    most = max((max(cell) for cell in cells.values() if cell), default=1.0)
    for place, (name, cell) in enumerate(cells.items()):
        if not cell:
            continue
        middle = statistics.median(cell)
        axis.barh(place, middle, height=0.72, color=COLOURS[name])
        axis.plot([min(cell), max(cell)], [place, place], color=INK, linewidth=1)
        axis.text(max(cell) + most * 0.015, place, f"{middle:,.0f}", va="center", color=INK)
    axis.set_yticks(range(len(cells)), [tables.TITLES[name] for name in cells])
    axis.set_xlim(0, most * 1.16)
    axis.invert_yaxis()
    axis.tick_params(length=0, colors=INK)
    axis.xaxis.set_visible(False)
    axis.spines[:].set_visible(False)


def memory(result: dict[str, Any]) -> "Figure":
    """Memory at rest and time to the first 250 over queue size; dashed beyond the last point."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    _growth(left, result, "rss_bytes", MIB, "RSS at rest, MiB", result["goals"]["rss_mib"])
    _growth(right, result, "accept_s", 1, "from start to the first 250, seconds", result["goals"]["start_s"])
    return figure


def _growth(axis: "Axes", result: dict[str, Any], field: str, unit: float, title: str, goal: float) -> None:
    target = result["extrapolated"]["target"]
    for is_cold, colour in ((True, COLOURS["waystation"]), (False, FAINT)):
        label = "page cache dropped" if is_cold else "page cache warm"
        points = [(s["messages"], s[field] / unit) for s in result["starts"] if s["is_cold"] == is_cold]
        line = result["extrapolated"].get("cold" if is_cold else "warm")
        if not points or line is None:
            continue
        axis.plot(*zip(*points, strict=True), marker="o", markersize=4, color=colour, label=label)
        beyond = _straight(points[-1], (target, line[field] / unit))
        axis.plot(*zip(*beyond, strict=True), linestyle="--", color=colour)
    axis.plot(result["goals"]["messages"], goal, marker="_", markersize=18, color=GOAL, linestyle="none")
    axis.annotate("goal", (result["goals"]["messages"], goal), color=GOAL, ha="center", xytext=(0, 4),
                  textcoords="offset points")  # fmt: skip
    axis.set_xscale("symlog", linthresh=10_000)
    axis.set_xlim(0, target * 1.3)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("messages in the queue (dashed: extrapolated)", color=INK)
    axis.set_title(title, loc="left", fontweight="bold", color=INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="upper left")


def _straight(
    first: tuple[float, float], last: tuple[float, float], steps: int = 20
) -> list[tuple[float, float]]:
    """Points of a straight line, close enough that it is drawn as the curve it is on a logarithmic axis."""
    (x0, y0), (x1, y1) = first, last
    xs = [x0 * (x1 / x0) ** (step / steps) if x0 else x1 * step / steps for step in range(steps + 1)]
    return [(x, y0 + (y1 - y0) * (x - x0) / (x1 - x0)) for x in xs]


DRAWN = {"compare": compare, "memory": memory}
