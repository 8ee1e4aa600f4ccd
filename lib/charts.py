"""One style, one finish() and one function per chart form.

Figures are made without pyplot: a reader's own figures and settings stay as they were, and a
notebook shows a chart once, when finish() displays the file that it saved.
"""

from __future__ import annotations

import textwrap
import unicodedata
from bisect import bisect
from collections.abc import Callable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

if TYPE_CHECKING:  # pandas takes as long to import as matplotlib; who has a frame has it already
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.text import Text
    from pandas import DataFrame, Series

STRONG, OTHER = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion
CONTEXT, QUIET = "#b0b0b0", "#595959"
BLUES = LinearSegmentedColormap.from_list("blues", ["#c9e0f0", STRONG, "#002a45"])
PAD = 0.15  # inches at every edge; the report's style sheet counts on it
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NAMES = {"weekday": lambda n: WEEKDAYS[int(n) - 1], "hour": lambda n: f"{int(n):02d}:00"}
styled = mpl.rc_context(fname=Path(__file__).with_name("sparkify.mplstyle"))


def form(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Let a function draw in the style, and draw "no data" for a frame without rows."""

    @styled
    @wraps(draw)
    def drawn(frame: DataFrame, **names) -> Figure:
        if len(frame):
            return draw(frame, **names)
        fig, ax = canvas(1.2)
        ax.set_axis_off()
        ax.text(0.5, 0.5, "no data", color=QUIET, ha="center", va="center")
        return fig

    return drawn


@form
def heatmap(frame: DataFrame, *, x: str, y: str, value: str) -> Figure:
    """Draw a cell for each x and y, darker for more, a dot for zero, the highest outlined.

    frame: columns x, y and value, one row per cell; a column named weekday (1 is Monday) or hour
    is labelled as such.
    """
    grid = frame.pivot(index=y, columns=x, values=value).astype(float)
    cells = np.ma.masked_invalid(grid.to_numpy())
    height, width = cells.shape
    fig, ax = canvas(0.3 + 0.27 * (height + 1.2))
    mesh = ax.pcolormesh(cells, edgecolor="white", linewidth=1, clim=(1, 2))
    mesh.set_cmap(BLUES.with_extremes(under="white"))
    rows, columns = np.nonzero(cells.filled(-1) == 0)
    ax.plot(columns + 0.5, rows + 0.5, ".", color=QUIET, markersize=3)
    ax.set(xlim=(0, width), ylim=(height + 1.2, 0))  # the scale stands below the last row
    ax.xaxis.tick_top()
    step = -(-width // 6)  # there is room for six names of columns
    for axis, keys, each in (ax.xaxis, grid.columns, step), (ax.yaxis, grid.index, 1):
        name = NAMES.get(keys.name, drawable)
        axis.set_ticks(np.arange(len(keys))[::each] + 0.5, [name(key) for key in keys[::each]])
    ax.spines.bottom.set_visible(False)
    if cells.max() > 0:
        scale(ax, mesh, cells, value)
    return fig


@form
def lines(frame: DataFrame, *, x: str, y: str, series="", strong="", percent=False) -> Figure:
    """Draw a line by day, or one per series, named at its end; the strong one in colour.

    frame: columns x (days, a missing one is a gap) and y; with series, one row per day and series.
    strong: the series that the title speaks of; without, the one with the largest sum.
    percent: y is a share of 1.
    """
    wide = frame.pivot(index=x, columns=series, values=y) if series else frame.set_index(x)[[y]]
    wide = daily(wide)
    strong = strong if strong in wide else wide.sum().idxmax()
    fig, ax = canvas(2.7)
    days = calendar(ax, wide, percent)
    for name in sorted(wide, key=lambda name: name == strong):  # the strong one on top
        colour = STRONG if name == strong else CONTEXT
        ax.plot(days, wide[name], color=colour, marker="o", markersize=3)
    peak(ax, wide[strong], percent)
    reach, gap = -np.inf, ax.get_ylim()[1] / 10
    for name, end in wide.ffill().iloc[-1].dropna().sort_values().items() if series else ():
        reach = max(end, reach + gap)  # names of lines that end close together move apart
        look = {"color": STRONG, "weight": "bold"} if name == strong else {"color": QUIET}
        note(ax, drawable(name).capitalize(), (days[-1], reach), (9, 0), va="center", **look)
    return fig


@form
def columns(frame: DataFrame, *, x: str, y: str, down="", percent=False) -> Figure:
    """Draw a column per day up from zero; with down a second one below, each with its total.

    frame: columns x (days), y and down, none negative. percent: the values are shares of 1.
    """
    wide = daily(frame.set_index(x)[[y, down] if down else [y]])
    if down:
        wide[down] *= -1
    fig, ax = canvas(2.7)
    days = calendar(ax, wide, percent)
    for name, colour in zip(wide, (STRONG, OTHER), strict=False):
        ax.bar(days, wide[name], 0.8, color=colour)
    if down:
        halves(ax, wide, percent)
    else:
        peak(ax, wide[y], percent)
    return fig


@form
def bars(frame: DataFrame, *, label: str, value: str, detail="") -> Figure:
    """Draw a bar per row in the order given, the first in colour, its label above it.

    frame: columns label and value, and detail, shown in grey after the label.
    """
    values = frame[value].astype(float).fillna(0).to_list()
    details = frame[detail].fillna("") if detail else [""] * len(values)
    fig, ax = canvas(0.5 * len(values))
    ax.barh(range(len(values)), values, 0.36, color=[STRONG] + [CONTEXT] * (len(values) - 1))
    ax.set(xlim=(0, max(values) or 1), ylim=(len(values) - 0.75, -0.75), xticks=[], yticks=[])
    ax.spines.bottom.set_visible(False)
    room = (fig.get_figwidth() - 2 * PAD) * 72  # in points
    for row, (text, more) in enumerate(zip(frame[label].fillna("–"), details, strict=True)):
        above = (0, row - 0.29)
        used = fit(note(ax, drawable(text), above), room * 0.62 if more else room)
        if more:
            fit(note(ax, drawable(more), above, (used + 7, 0), color=QUIET), room - used - 7)
        note(
            ax, amount(values[row]), (values[row], row), (5, 0), va="center_baseline", weight="bold"
        )
    return fig


@styled
def finish(fig: Figure, *, title: str, subtitle: str, source: str, alt: str, to: Path) -> None:
    """Write title, subtitle and source on a chart, save it as PNG and SVG, and display it.

    title: the finding. subtitle: what is shown, and its unit. alt: what a reader who does not
    see the picture needs to know. to: path of both files, without .png and .svg.
    Raises ValueError naming each text that is empty.
    """
    from IPython import display  # only a notebook needs it, and has it already

    texts = {"title": title, "subtitle": subtitle, "source": source, "alt": alt}
    if missing := [name for name, text in texts.items() if not (text or "").strip()]:
        raise ValueError(f"finish() needs a text for {' and '.join(missing)}")
    arrange(fig, drawable(title), drawable(subtitle), drawable(f"Source: {source}"))
    png, svg = (Path(to).with_name(Path(to).name + kind) for kind in (".png", ".svg"))
    png.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(png)
    Image.open(png).convert("RGB").quantize(256, dither=0).save(png)  # half the size, same look
    about = {"Title": drawable(title), "Description": drawable(alt)}
    fig.savefig(svg, metadata={"Date": None, "Creator": None, **about})
    width = round(fig.get_figwidth() * 100)
    display.display(display.Image(filename=png, alt=alt, width=width))


def listed(names: Sequence[str], most: int = 2) -> str:
    """Return names for a title: all of them when they are at most `most`, else how many more."""
    names = [*map(str, names)]
    if len(names) <= most:
        return " and ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def arrange(fig: Figure, title: str, subtitle: str, source: str) -> None:
    """Make the figure higher, and write two texts above the chart and one below it."""
    body = fig.get_figheight()
    looks = {"fontsize": 17, "weight": "bold"}, {"color": QUIET}, {"fontsize": 11, "color": QUIET}
    gaps = PAD, 0.06, body + 0.26  # above each text, in inches
    texts, heights = [], []
    for look, text in zip(looks, (title, subtitle, source), strict=True):
        texts.append(fig.text(PAD, 0, "", va="top", transform=fig.dpi_scale_trans, **look))
        heights.append(wrap(texts[-1], text))
    height = top = sum(gaps) + sum(heights) + PAD
    for text, gap, used in zip(texts, gaps, heights, strict=True):
        text.set_y(top - gap)
        top -= gap + used
    fig.set_figheight(height)
    box = (0, (PAD + heights[2] + 0.14) / height, 1, body / height)
    fig.get_layout_engine().set(rect=box, w_pad=PAD, h_pad=0)
    fig.draw_without_rendering()
    fig.set_layout_engine("none")  # placed once, for both files


def canvas(height: float) -> tuple[Figure, Axes]:
    """Make an empty figure of the style's width and a height in inches."""
    fig = Figure(figsize=(mpl.rcParams["figure.figsize"][0], height), layout="constrained")
    return fig, fig.add_subplot()


def daily(frame: DataFrame) -> DataFrame:
    """Turn a frame indexed by day into numbers for every day from the first to the last."""
    frame = frame.set_axis(frame.index.astype("datetime64[s]"))
    return frame.astype(float).sort_index().asfreq("D")


def calendar(ax: Axes, wide: DataFrame, percent: bool) -> np.ndarray:
    """Draw days, Mondays or months below and amounts at the left; return the days' places."""
    days, low, high = wide.index, min(0, wide.min().min()), wide.max().max()
    weeks = len(days) <= 70
    ticks = days[days.day_of_week == 0] if weeks else days[days.day == 1]
    ticks = days if len(days) <= 7 else ticks
    ticks = ticks[:: -(-len(ticks) // 6)]  # there is room for six
    names = [f"{day.day} {day:%b}\n" if weeks else f"{day:%b}\n{day.year}" for day in ticks]
    names[0] += str(ticks[0].year) if weeks else ""
    ax.set_xticks(date2num(ticks), names)
    ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=not percent))
    ax.yaxis.set_major_formatter(lambda number, _: amount(abs(number), percent))
    ax.set_ylim(low, high if high > low else low + 1)
    ax.grid(axis="y")
    room = max(0.8, (8 - len(days)) / 2)  # a day alone is as wide as one in a week
    ax.set_xlim(date2num(days[0]) - room, date2num(days[-1]) + room)
    return date2num(days)


def scale(ax: Axes, mesh: QuadMesh, cells: np.ma.MaskedArray, unit: str) -> None:
    """Colour the cells, outline the highest, and say below what the colours mean."""
    low, high = cells[cells > 0].min(), cells.max()
    mesh.set_clim(low if low < high else low / 2, high)
    row, column = np.unravel_index(cells.argmax(), cells.shape)
    ax.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=OTHER, linewidth=2.5))
    y, width = cells.shape[0] + 0.85, cells.shape[1]
    edges, shades = np.linspace(0.29, 0.57, 65) * width, np.linspace(low, high, 64)[None]
    strip = ax.pcolormesh(edges, [y - 0.2, y + 0.2], shades, edgecolor="face")
    strip.set(cmap=mesh.cmap, norm=mesh.norm)
    ax.plot(0.02 * width, y, ".", color=QUIET, markersize=3)
    look = {"color": QUIET, "va": "center"}
    ax.text(0.04 * width, y, "none", **look)
    ax.text(0.275 * width, y, amount(low), ha="right", **look)
    ax.text(0.585 * width, y, f"{amount(high)} {drawable(unit)}", **look)


def halves(ax: Axes, wide: DataFrame, percent: bool) -> None:
    """Name what goes up and what goes down, each with its total, above and below the columns."""
    low, high = ax.get_ylim()
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
    ax.set_ylim(low - 0.16 * (high - low), high + 0.16 * (high - low))  # room for the names
    for name, colour, edge in zip(wide, (STRONG, OTHER), ("top", "bottom"), strict=True):
        text = f"{drawable(name).capitalize()}: {amount(abs(wide[name].sum()), percent)}"
        look = {"va": edge, "color": colour, "weight": "bold", "xycoords": "axes fraction"}
        note(ax, text, (0, edge == "top"), **look)
    ax.axhline(0, color=QUIET, linewidth=1)
    ax.spines.bottom.set_visible(False)
    ax.tick_params(length=0, pad=8)


def peak(ax: Axes, values: Series, percent: bool) -> None:
    """Write the largest number above its point."""
    if values.max() > 0:
        at = (date2num(values.idxmax()), values.max())
        side = "right" if values.argmax() == len(values) - 1 > 0 else "center"
        look = {"ha": side, "va": "bottom", "color": STRONG, "weight": "bold"}
        note(ax, amount(at[1], percent), at, (0, 5), **look)


def note(ax: Axes, text: str, at: tuple, move: tuple = (0, 0), **look) -> Text:
    """Write a text at a point of the data, moved by some points of type."""
    return ax.annotate(text, at, move, textcoords="offset points", annotation_clip=False, **look)


def amount(number: float, percent: bool = False) -> str:
    """Write a number for reading: 1,234 or 2.5 or 3.4%."""
    number = round(number * 100 if percent else number, 1)
    return f"{number:,.{0 if number == int(number) else 1}f}{'%' if percent else ''}"


@cache
def glyphs() -> frozenset[int]:
    """Return the characters that the font can draw, both regular and bold."""
    files = (f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans{bold}.ttf" for bold in ("", "-Bold"))
    return frozenset.intersection(*(frozenset(get_font(file).get_charmap()) for file in files))


def drawable(text: object) -> str:
    """Leave out control characters, and show □ for what the font lacks."""
    text = unicodedata.normalize("NFC", " ".join(str(text).split()))
    kept = (letter for letter in text if unicodedata.category(letter) not in ("Cc", "Cf"))
    return "".join(letter if ord(letter) in glyphs() else "□" for letter in kept)


def fit(artist: Text, room: float) -> float:
    """Shorten a text until it is no wider than room, and return its width, in points."""
    text = artist.get_text()[:120]
    artist.set_in_layout(False)

    def width(letters: int) -> float:
        artist.set_text(text if letters == len(text) else text[:letters].rstrip() + "…")
        return artist.get_window_extent().width * 72 / artist.figure.dpi

    used = width(len(text))
    return used if used <= room else width(bisect(range(len(text)), room, key=width) - 1)


def wrap(artist: Text, text: str) -> float:
    """Set a text in the fewest lines that fit the figure, evenly filled; return its height."""
    room = (artist.figure.get_figwidth() - 2 * PAD) * artist.figure.dpi
    best = []
    for letters in range(min(len(text), 90), 0, -1):
        rows = textwrap.wrap(text, letters)
        if best and len(rows) > len(best):
            break
        artist.set_text("\n".join(rows))
        if artist.get_window_extent().width <= room:
            best = rows
    artist.set_text("\n".join(best))
    return artist.get_window_extent().height / artist.figure.dpi
