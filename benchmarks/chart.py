"""Pictures of what is kept: a row each, a dot for the ratio, a bar for the range of its pairs.

`python -m benchmarks.chart benchmarks/results.json` draws them beside it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from lib.analyse.labels import CONTEXT, OTHER, QUIET, STRONG, draw_legend
from lib.analyse.style import add_titles, apply_style, make_figure

TICKS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
COLOURS = (STRONG, OTHER, QUIET, CONTEXT)
TITLES = {
    "load": "How long others take to build the same star",
    "queries": "How long others take to answer the same questions",
}
BELOW = {
    "load": "Their seconds ÷ ours, by number of events: right of the line, they take longer",
    "queries": "Their seconds ÷ ours: right of the line, they take longer",
}


@apply_style
def draw(rows: Sequence[dict], benchmark: str, source: str, folder: Path) -> None:
    """Draw the ratios of a benchmark as `folder`/`benchmark`.png.

    rows: those of results.json. source: what they were measured on.
    """
    rows = [row for row in rows if row["benchmark"] == benchmark and row["ratio"]]
    if not rows:
        return
    if benchmark == "load":
        rows.sort(key=lambda row: row["size"])
        size = EngFormatter()  # 10 k, 1 M
        marks = [(row["against"], size(row["size"]), row) for row in rows]
        largest = {row["against"]: row for row in rows}
        names = sorted(largest, key=lambda name: largest[name]["ratio"])
    else:
        size = max(row["size"] for row in rows)
        rows = [row for row in rows if row["size"] == size]
        marks = [(row["what"], row["against"], row) for row in rows]
        names = sorted({row["what"] for row in rows})
        source += f"; {size:,} events"
    fig = picture(names, marks)
    add_titles(fig, TITLES[benchmark], BELOW[benchmark], f"Source: {source}")
    fig.savefig(folder / f"{benchmark}.png")


def picture(names: list[str], marks: list[tuple]) -> Figure:
    """Draw marks, each of them its row's name, its series, and a result."""
    fig, ax = make_figure(0.36 * len(names) + 0.8)
    series = [*dict.fromkeys(one for _, one, _ in marks)]
    colours = dict(zip(reversed(series), COLOURS, strict=False))
    for name, one, row in marks:
        at = names.index(name) + 0.2 * (series.index(one) - (len(series) - 1) / 2)
        ax.hlines(at, *row["spread"], color=colours[one], alpha=0.4, linewidth=5)
        ax.plot(row["ratio"], at, "o", color=colours[one], markersize=6)
    scale(ax, [end for *_, row in marks for end in row["spread"]])
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)
    draw_legend(ax, dict(reversed(colours.items())))
    return fig


def scale(ax: Axes, ratios: list[float]) -> None:
    """Make the axis logarithmic, with a line where both take as long."""
    ax.set_xscale("log")
    ax.set_xlim(min(*ratios, 0.8) / 1.2, max(*ratios, 1.25) * 1.2)
    low, high = ax.get_xlim()
    ticks = [tick for tick in TICKS if low <= tick <= high]
    ax.set_xticks(ticks, ["ours" if tick == 1 else f"{tick:g}×" for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="x")
    ax.axvline(1, color=QUIET, linewidth=1.5)


def main(results: Path) -> None:
    """Draw each benchmark that has a picture."""
    kept = json.loads(results.read_text())
    here = kept["machine"]
    source = f"benchmarks/results.json; {here['cores']} cores, {here['processor']}"
    for benchmark in TITLES:
        draw(kept["results"], benchmark, source, results.parent)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
