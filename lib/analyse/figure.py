"""What every chart form shares: the style, axes, cells, and texts that fit and can be drawn.

Figures are made without pyplot: a reader's own figures and settings stay as they were.
"""

from __future__ import annotations

import textwrap
import unicodedata
from bisect import bisect
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, wraps
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image

if TYPE_CHECKING:  # pandas takes as long to import as matplotlib; who has a frame has it already
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.collections import QuadMesh
    from matplotlib.text import Text
    from pandas import DataFrame, DatetimeIndex, Series

STRONG, OTHER = "#0072b2", "#d55e00"  # Okabe and Ito's blue and vermilion
CONTEXT, QUIET, EMPTY = "#b0b0b0", "#595959", "#ededed"
PALE = "#c9e0f0"
BLUES = LinearSegmentedColormap.from_list("blues", [PALE, STRONG, "#002a45"], under="white")
PAD = 0.15  # inches at every edge; the report's style sheet counts on it
SMALL = 11  # points; less is hard to read on a phone
NONE = {"label": "none", "marker": ".", "color": QUIET, "markersize": 3}
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
NAMES = {"weekday": lambda n: WEEKDAYS[int(n) - 1], "hour": lambda n: f"{int(n):02d}:00"}
DRAWN: WeakKeyDictionary[Figure, DataFrame] = WeakKeyDictionary()  # what each chart was drawn from
styled = mpl.rc_context(fname=Path(__file__).with_name("sparkify.mplstyle"))


def form(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Let a function draw in the style, remember its frame, and draw "no data" without rows."""

    @styled
    @wraps(draw)
    def drawn(frame: DataFrame, **names) -> Figure:
        fig = draw(frame, **names) if len(frame) else nothing()
        DRAWN[fig] = frame.copy()  # what a reader does to it later is not in the chart
        return fig

    return drawn


def nothing() -> Figure:
    """Draw that there is no data."""
    fig, ax = canvas(1.2)
    ax.set_axis_off()
    ax.text(0.5, 0.5, "no data", color=QUIET, ha="center", va="center")
    return fig


def canvas(height: float) -> tuple[Figure, Axes]:
    """Make an empty figure of the style's width and a height in inches."""
    fig = Figure(figsize=(mpl.rcParams["figure.figsize"][0], height), layout="constrained")
    pixels(fig)
    return fig, fig.add_subplot()


def pixels(fig: Figure) -> FigureCanvasAgg:
    """Return the canvas of a figure that draws pixels; it remembers how wide texts are."""
    return fig.canvas if isinstance(fig.canvas, FigureCanvasAgg) else FigureCanvasAgg(fig)


def daily(frame: DataFrame) -> DataFrame:
    """Turn a frame indexed by day into numbers for every day from the first to the last."""
    frame = frame.set_axis(frame.index.astype("datetime64[s]"))
    return frame.astype(float).sort_index().asfreq("D")


def calendar(ax: Axes, days: DatetimeIndex) -> np.ndarray:
    """Draw the days, their Mondays or their months below; return the places of the days."""
    weeks = len(days) <= 70
    ticks = days if len(days) <= 7 else days[days.day_of_week == 0 if weeks else days.day == 1]
    ticks = ticks[:: -(-len(ticks) // 6)]  # there is room for six
    names = [f"{day.day} {day:%b}\n" if weeks else f"{day:%b}\n{day.year}" for day in ticks]
    names[0] += str(ticks[0].year) if weeks else ""
    ax.set_xticks(date2num(ticks), names)
    # A day alone is as wide as one in a week; over years a day keeps a width that can be seen.
    room = max(0.8, (8 - len(days)) / 2, len(days) / 500)
    places = date2num(days)
    ax.set_xlim(places[0] - room, places[-1] + room)
    return places


def amounts(axis: Axis, low: float, high: float, percent: bool) -> None:
    """Draw about five round amounts at an axis that reaches from low to high."""
    whole = not percent and high >= 1  # a count
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole))
    axis.set_major_formatter(lambda number, _: amount(abs(number), percent))
    axis.axes.set(**{f"{axis.axis_name}lim": (low, high if high > low else low + 1)})
    axis.axes.grid(axis=axis.axis_name)


def shade(ax: Axes, cells: np.ma.MaskedArray, among: np.ma.MaskedArray) -> QuadMesh:
    """Draw a grid's cells, darker for more among some; zero is white and a masked one is absent."""
    mesh = ax.pcolormesh(cells, cmap=BLUES, edgecolor="white", linewidth=1, clim=(0.5, 1))
    some = among[among > 0].compressed()
    if some.size:
        low, high = some.min(), some.max()
        mesh.set_clim(low if low < high else low / 2, high)
    return mesh


def dots(ax: Axes, cells: np.ma.MaskedArray) -> None:
    """Draw a dot in each cell with zero."""
    rows, columns = np.nonzero(cells.filled(-1) == 0)
    ax.plot(columns + 0.5, rows + 0.5, linestyle="", **NONE)


def scale(
    ax: Axes, mesh: QuadMesh, unit: str, *, y: float, key: dict, percent=False, row=1.0
) -> None:
    """Say below the cells what their colours mean, and what a cell without colour does.

    y: where, and row: how high a usual row is, in cells. key: label, marker and its look.
    """
    cells, width = mesh.get_array(), mesh.get_array().shape[1]
    look = {"color": QUIET, "va": "center"}
    ax.plot(0.02 * width, y, linestyle="", **key)
    ax.text(0.04 * width, y, key["label"], **look)
    some = cells[cells > 0].compressed()
    if not some.size:
        return
    low, high = some.min(), some.max()
    edges, shades = np.linspace(0.33, 0.6, 65) * width, np.linspace(low, high, 64)[None]
    strip = ax.pcolormesh(edges, [y - 0.2 * row, y + 0.2 * row], shades, edgecolor="face")
    strip.set(cmap=mesh.cmap, norm=mesh.norm)
    ax.text(0.315 * width, y, amount(low, percent), ha="right", **look)
    ax.text(0.615 * width, y, f"{amount(high, percent)} {spoken(unit)}".strip(), **look)


def halves(ax: Axes, wide: DataFrame, percent: bool) -> None:
    """Name what goes up and what goes down, each with its total, above and below the columns."""
    low, high = ax.get_ylim()
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
    ax.set_ylim(low - 0.16 * (high - low), high + 0.16 * (high - low))  # room for the names
    for name, colour, edge in zip(wide, (STRONG, OTHER), ("top", "bottom"), strict=True):
        text = f"{spoken(name).capitalize()}: {amount(abs(wide[name].sum()), percent)}"
        look = {"va": edge, "color": colour, "weight": "bold", "xycoords": "axes fraction"}
        note(ax, text, (0, edge == "top"), **look)
    ax.axhline(0, color=QUIET, linewidth=1)
    ax.spines.bottom.set_visible(False)
    ax.tick_params(length=0, pad=8)


def peak(ax: Axes, values: Series, percent: bool, tops: Series | None = None) -> None:
    """Write the largest number above its point, or above what reaches higher there."""
    if values.max() > 0:
        at = (date2num(values.idxmax()), (values if tops is None else tops)[values.idxmax()])
        side = "right" if values.argmax() == len(values) - 1 > 0 else "center"
        look = {"ha": side, "va": "bottom", "color": STRONG, "weight": "bold"}
        note(ax, amount(values.max(), percent), at, (0, 7), **look)


def ends(ax: Axes, x: float, heights: Series, strong: str, texts: dict) -> None:
    """Name lines at their right ends; names of lines that end close together move apart.

    heights: where each line ends, by name. texts: what to write there, by name.
    """
    rows = max(text.count("\n") for text in texts.values()) + 1
    reach, gap = -np.inf, ax.get_ylim()[1] * (0.16 * rows - 0.06)
    for name, end in heights.dropna().sort_values().items():
        reach = max(end, reach + gap)
        look = {"color": STRONG, "weight": "bold"} if name == strong else {"color": QUIET}
        note(ax, texts[name], (x, reach), (9, 0), va="center", **look)


def hollow(ax: Axes, partial: Series) -> None:
    """Show the points of the lines on partial days as rings, and say what that means."""
    for line in ax.get_lines():
        at = np.isin(line.get_xdata(), date2num(partial.index[partial]))
        points = line.get_xdata()[at], np.asarray(line.get_ydata())[at]
        look = {"color": line.get_color(), "markerfacecolor": "white", "markersize": 6}
        ax.plot(*points, "o", clip_on=False, **look)
    ax.set_xlabel("○ part of a day only", fontsize=SMALL, loc="right")


def legend(ax: Axes, colours: dict[str, str]) -> None:
    """Write names, each with its colour, in a row above the axes."""
    used = 0
    for name, colour in colours.items():
        look = {"xycoords": "axes fraction", "va": "bottom"}
        note(ax, "■", (0, 1), (used, 6), color=colour, **look)
        used += 16
        used += 14 + fit(note(ax, spoken(name), (0, 1), (used, 6), color=QUIET, **look), 120)


def beside(ax: Axes, rows: Sequence[int], columns: dict[str, list[str]]) -> None:
    """Write columns of text at the left of some rows of cells, each below its name.

    columns: all rows' texts by name, the first next to the cells.
    """
    used = 8
    for name, texts in columns.items():
        column = [note(ax, spoken(name), (0, 0), (-used, 6), color=QUIET, va="bottom", ha="right")]
        column += [
            note(ax, texts[row], (0, row + 0.5), (-used, 0), va="center_baseline", ha="right")
            for row in rows
        ]
        used += 12 + max(text.get_window_extent().width for text in column) * 72 / ax.figure.dpi


def shares(ax: Axes, mesh: QuadMesh, cells: np.ma.MaskedArray) -> None:
    """Write each cell's percentage in it."""
    sign = "%" if cells.shape[1] <= 9 else ""  # there is no room for more signs
    look = {"ha": "center", "va": "center_baseline", "fontsize": SMALL}
    for (row, column), share in np.ma.ndenumerate(cells):
        ax.text(column + 0.5, row + 0.5, whole(share, sign), color=ink(mesh, share), **look)
    if not sign:
        ax.set_xlabel(f"{ax.get_xlabel()}; cells in %")


def ink(mesh: QuadMesh, number: float) -> str:
    """Return the colour of a text that is readable on a cell's."""
    return "white" if mesh.norm(number) > 0.46 else "black"  # a contrast of 4.5 at least


def tile(ax: Axes, mesh: QuadMesh, code: str, number: float, at: tuple[int, int]) -> None:
    """Write a state and its number in its tile, and outline a tile with zero."""
    x, y = at
    known = number is not np.ma.masked
    look = {"ha": "center", "va": "center", "fontsize": SMALL}
    look["color"] = ink(mesh, number) if known else QUIET
    ax.text(x + 0.5, y + 0.3, code, weight="bold", **look)
    if known:
        ax.text(x + 0.5, y + 0.7, brief(number), **look)
    if number == 0:
        ax.add_patch(Rectangle((x + 0.05, y + 0.05), 0.9, 0.9, fill=False, edgecolor=CONTEXT))


def note(ax: Axes, text: str, at: tuple, move: tuple = (0, 0), **look) -> Text:
    """Write a text at a point of the data, moved by some points of type."""
    return ax.annotate(text, at, move, textcoords="offset points", annotation_clip=False, **look)


def amount(number: float, percent: bool = False) -> str:
    """Write a number for reading: 1,234 or 2.5 or 3.4%, and a missing one as "no data"."""
    if np.isnan(number):
        return "no data"
    number = round(number * 100 if percent else number, 1)
    return f"{number:,.{0 if number == int(number) else 1}f}{'%' if percent else ''}"


def whole(share: float, sign: str = "%") -> str:
    """Write a share as a whole percentage, where little is not none and nearly all is not all."""
    if 0 < share < 0.005:
        return f"<1{sign}"
    return f">99{sign}" if 0.995 <= share < 1 else f"{share:.0%}".replace("%", sign)


def brief(number: float) -> str:
    """Write a number in at most five characters: 1,234 or 57k or 1.3m."""
    for unit, name in (1e9, "bn"), (1e6, "m"), (1e3, "k"):
        if number >= max(0.9995 * unit, 9999.5):
            return f"{number / unit:.{1 if number < 9.95 * unit else 0}f}{name}"
    return amount(number if number < 100 else round(number))


def spoken(name: object) -> str:
    """Write a column's or a series' name for reading."""
    return drawable(str(name).replace("_", " "))


def key_name(key: object, column: str = "") -> str:
    """Write a row's or a column's key for reading: a weekday, an hour, a day or what it is."""
    if column in NAMES:
        return NAMES[column](key)
    return f"{key.day} {key:%b}" if hasattr(key, "day") else drawable(key)


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


def cut(ax: Axes, texts: Sequence[object], room: float) -> list[str]:
    """Return texts as they can be drawn, shortened to a width in points."""
    artist, short = note(ax, "", (0, 0)), []
    for text in texts:
        artist.set_text(drawable(text))
        fit(artist, room)
        short.append(artist.get_text())
    artist.remove()
    return short


def titled(ax: Axes, names: Collection[object]) -> dict[object, str]:
    """Return names of lines as they are written at the lines' ends, by name."""
    short = cut(ax, [spoken(name).capitalize() for name in names], 115)
    return dict(zip(names, short, strict=True))


def wrap(artist: Text, text: str) -> float:
    """Set a text in the fewest lines that fit the figure, evenly filled; return its height."""
    room = (artist.figure.get_figwidth() - 2 * PAD) * artist.figure.dpi

    def rows(letters: int) -> list[str]:
        return textwrap.wrap(text, letters)

    def width(letters: int) -> float:
        artist.set_text("\n".join(rows(letters)))
        return artist.get_window_extent().width

    most = max(bisect(range(min(len(text), 90) + 1), room, lo=1, key=width) - 1, 1)
    fewest = len(rows(most))
    least = bisect(range(most), -fewest - 1, lo=1, key=lambda letters: -len(rows(letters)))
    for letters in range(least, most + 1):
        if width(letters) <= room:
            break
    return artist.get_window_extent().height / artist.figure.dpi


def save(fig: Figure, png: Path, svg: Path, about: dict[str, str]) -> None:
    """Save a figure as both, `about` as the SVG's metadata.

    By the canvases themselves: savefig() would draw each one twice, once to see where all is.
    """
    canvas = pixels(fig)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())
    with ThreadPoolExecutor() as beside:  # Pillow leaves the interpreter free
        packed = beside.submit(_pack, drawn, png)
        FigureCanvasSVG(fig).print_svg(svg, metadata={"Date": None, "Creator": None, **about})
    packed.result()


def _pack(drawn: np.ndarray, png: Path) -> None:
    """Save an image in 256 colours: half the size, the same look.

    drawn: bytes in rows, columns, and RGBA. White, most of it, takes no part in choosing the rest.
    """
    coloured = drawn.view(np.uint32)[..., 0] != np.uint32(0xFFFFFFFF)
    rest = Image.fromarray(drawn[coloured][None, :, :3]).quantize(255, dither=Image.Dither.NONE)
    places = np.zeros(coloured.shape, np.uint8)
    places[coloured] = np.asarray(rest)[0] + 1
    image = Image.fromarray(places)
    image.putpalette([255, 255, 255, *rest.getpalette()])
    image.save(png)


def arrange(fig: Figure, title: str, subtitle: str, source: str) -> None:
    """Make the figure higher, and write two texts above the chart and one below it."""
    body = fig.get_figheight()
    looks = (
        {"fontsize": 17, "weight": "bold"},
        {"color": QUIET},
        {"fontsize": SMALL, "color": QUIET},
    )
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
    fig.get_layout_engine().execute(fig)
    fig.set_layout_engine("none")  # placed once, for both files
