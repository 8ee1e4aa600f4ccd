"""The look that every chart form shares: figures, colours, axes, cells, titles and files.

Figures are made without pyplot, so that a reader's own figures and settings stay as they were.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path

import matplotlib as mpl
import numpy as np
from IPython import display
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import QuadMesh
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame, DatetimeIndex, Series
from PIL import Image

from lib.analyse import labels
from lib.analyse.colours import BLUES, CONTEXT, EMPTY, QUIET, STRONG
from lib.analyse.labels import GREY, SMALL, format_name, format_number

PAD = 0.15  # inches at every edge; the report's style sheet counts on it
UNKNOWN = {"label": "no data", "marker": "s", "color": EMPTY, "markersize": 9}
ZERO = {"label": "none", "marker": ".", "color": QUIET, "markersize": 3}
apply_style = mpl.rc_context(fname=Path(__file__).with_name("sparkify.mplstyle"))


def make_form(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Make a chart form of a function: in the style, with its frame kept, "no data" without rows.

    The frame is kept as the attribute `frame` of the figure, which finish() saves as CSV.
    """

    @apply_style
    @wraps(draw)
    def draw_form(frame: DataFrame, **names) -> Figure:
        if len(frame):
            fig = draw(frame, **names)
        else:
            fig, ax = make_figure(1.2)
            ax.set_axis_off()
            ax.text(0.5, 0.5, "no data", ha="center", va="center", **GREY)
        fig.frame = frame.copy()  # what a reader does to it later is not in the chart
        return fig

    return draw_form


def make_figure(height: float) -> tuple[Figure, Axes]:
    """Make an empty figure of the style's width and a height in inches."""
    fig = Figure(figsize=(mpl.rcParams["figure.figsize"][0], height), layout="constrained")
    FigureCanvasAgg(fig)  # which remembers how wide texts are
    return fig, fig.add_subplot()


def make_daily_figure(wide: DataFrame, percent: bool) -> tuple[Figure, Axes, np.ndarray]:
    """Make a figure of numbers by day; return the places of the days along it too."""
    fig, ax = make_figure(2.7)
    days = draw_calendar(ax, wide.index)
    draw_numbers(ax.yaxis, min(0, wide.min().min()), wide.max().max(), percent)
    return fig, ax, days


def fill_days(frame: DataFrame) -> DataFrame:
    """Turn a frame indexed by day into numbers for every day from the first to the last."""
    frame = frame.set_axis(frame.index.astype("datetime64[s]"))
    return frame.astype(float).sort_index().asfreq("D")


def draw_calendar(ax: Axes, days: DatetimeIndex) -> np.ndarray:
    """Label the horizontal axis with days, Mondays or months; return the places of the days."""
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


def draw_numbers(axis: Axis, low: float, high: float, percent: bool) -> None:
    """Label an axis that reaches from low to high with about five round numbers."""
    count = not percent and high >= 1
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=count))
    axis.set_major_formatter(lambda number, _: format_number(abs(number), percent))
    axis.axes.set(**{f"{axis.axis_name}lim": (low, high if high > low else low + 1)})
    axis.axes.grid(axis=axis.axis_name)


def draw_cells(ax: Axes, cells: np.ma.MaskedArray, scaled: np.ma.MaskedArray) -> QuadMesh:
    """Draw a grid's cells, darker for more; zero is white, and a masked cell is absent.

    scaled: the cells whose numbers above zero stretch the scale of colours.
    """
    ax.spines.bottom.set_visible(False)
    mesh = ax.pcolormesh(cells, cmap=BLUES, edgecolor="white", linewidth=1, clim=(0.5, 1))
    some = scaled[scaled > 0].compressed()
    if some.size:
        low, high = some.min(), some.max()
        mesh.set_clim(low if low < high else low / 2, high)
    return mesh


def mark_zeros(ax: Axes, cells: np.ma.MaskedArray) -> None:
    """Draw a dot in each cell with zero."""
    rows, columns = np.nonzero(cells.filled(-1) == 0)
    ax.plot(columns + 0.5, rows + 0.5, linestyle="", **ZERO)


def draw_scale(
    ax: Axes, mesh: QuadMesh, unit: str, *, y: float, key: dict, percent=False, row=1.0
) -> None:
    """Say below the cells what their colours mean, and what a cell without colour means.

    y: where, and row: how high a usual row is, both in cells. key: label and look of the cell
    without colour.
    """
    cells, width = mesh.get_array(), mesh.get_array().shape[1]
    look = GREY | {"va": "center"}
    ax.plot(0.02 * width, y, linestyle="", **key)
    ax.text(0.04 * width, y, key["label"], **look)
    some = cells[cells > 0].compressed()
    if not some.size:
        return
    low, high = some.min(), some.max()
    edges, shades = np.linspace(0.33, 0.6, 65) * width, np.linspace(low, high, 64)[None]
    strip = ax.pcolormesh(edges, [y - 0.2 * row, y + 0.2 * row], shades, edgecolor="face")
    strip.set(cmap=mesh.cmap, norm=mesh.norm)
    ax.text(0.315 * width, y, format_number(low, percent), ha="right", **look)
    end = f"{format_number(high, percent)} {format_name(unit)}".strip()
    ax.text(0.615 * width, y, end, **look)


def draw_shares(ax: Axes, mesh: QuadMesh, cells: np.ma.MaskedArray) -> None:
    """Write each cell's percentage in it."""
    sign = "%" if cells.shape[1] <= 9 else ""  # there is no room for more signs
    look = {"ha": "center", "va": "center_baseline", "fontsize": SMALL}
    for (row, column), share in np.ma.ndenumerate(cells):
        text = labels.format_share(share, sign)
        ax.text(column + 0.5, row + 0.5, text, color=choose_ink(mesh, share), **look)
    if not sign:
        ax.set_xlabel(f"{ax.get_xlabel()}; cells in %")


def choose_ink(mesh: QuadMesh, number: float) -> str:
    """Return the colour of a text that is readable on a number's cell."""
    return "white" if mesh.norm(number) > 0.46 else "black"  # a contrast of 4.5 at least


def mark_partial_days(ax: Axes, partial: Series) -> None:
    """Show the points of the lines on partial days as rings, and say what that means."""
    for line in ax.get_lines():
        at = np.isin(line.get_xdata(), date2num(partial))
        look = {"color": line.get_color(), "markerfacecolor": "white", "markersize": 6}
        ax.plot(line.get_xdata()[at], np.asarray(line.get_ydata())[at], "o", clip_on=False, **look)
    ax.set_xlabel("○ part of a day only", fontsize=SMALL, loc="right")


def draw_daily_intervals(wide: DataFrame, percent: bool) -> Figure:
    """Draw intervals along a calendar from a frame of value, low and high by day."""
    fig, ax, days = make_daily_figure(wide, percent)
    value, _, upper = (wide[name] for name in wide)
    room = 330 / (len(days) + 8)  # points for a day
    known = wide.dropna()
    _, lows, highs = known.to_numpy().T
    look = {"color": CONTEXT, "linewidth": min(6, max(1, 0.6 * room))}
    ax.vlines(date2num(known.index), lows, highs, **look)
    ax.plot(days, value, "o", color=STRONG, markersize=min(7, max(2, 0.7 * room)), clip_on=False)
    labels.label_peak(ax, value, percent, upper.fillna(value))
    return fig


@apply_style
def finish(fig: Figure, *, title: str, subtitle: str, source: str, alt: str, to: Path) -> None:
    """Write title, subtitle and source on a chart, save it as PNG and SVG, and display it.

    The frame that a form drew is saved beside them as CSV, its values exactly as they are: a
    spreadsheet must be told to read them as text, or it runs a song title that is a formula.
    title: the finding. subtitle: what is shown, and its unit. alt: what a reader who does not
    see the picture needs to know. to: path of the files, without .png, .svg and .csv.
    """
    title, subtitle, source = map(labels.clean_text, (title, subtitle, f"Source: {source}"))
    add_titles(fig, title, subtitle, source)
    png, svg, data = (Path(to).with_name(Path(to).name + kind) for kind in (".png", ".svg", ".csv"))
    png.parent.mkdir(parents=True, exist_ok=True)
    save_figure(fig, png, svg, {"Title": title, "Description": labels.clean_text(alt)})
    if (frame := getattr(fig, "frame", None)) is not None:
        frame.to_csv(data, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    width = round(fig.get_figwidth() * 100)
    display.display(display.Image(filename=png, alt=alt, width=width))


def add_titles(fig: Figure, title: str, subtitle: str, source: str) -> None:
    """Make the figure higher, and write two texts above the chart and one below it."""
    body = fig.get_figheight()
    looks = {"fontsize": 17, "weight": "bold"}, GREY, GREY | {"fontsize": SMALL}
    gaps = PAD, 0.06, body + 0.26  # above each text, in inches
    texts, heights = [], []
    for look, text in zip(looks, (title, subtitle, source), strict=True):
        texts.append(fig.text(PAD, 0, "", va="top", transform=fig.dpi_scale_trans, **look))
        heights.append(labels.wrap_label(texts[-1], text, fig.get_figwidth() - 2 * PAD))
    height = top = sum(gaps) + sum(heights) + PAD
    for text, gap, used in zip(texts, gaps, heights, strict=True):
        text.set_y(top - gap)
        top -= gap + used
    fig.set_figheight(height)
    box = (0, (PAD + heights[2] + 0.14) / height, 1, body / height)
    fig.get_layout_engine().set(rect=box, w_pad=PAD, h_pad=0)
    fig.get_layout_engine().execute(fig)
    fig.set_layout_engine("none")  # placed once, for both files


def save_figure(fig: Figure, png: Path, svg: Path, metadata: dict[str, str]) -> None:
    """Save a figure as both files, the SVG with metadata.

    Written by the canvases themselves: savefig() would draw each one twice, once to measure it.
    """
    canvas = FigureCanvasAgg(fig)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())
    with ThreadPoolExecutor() as pool:  # Pillow releases the GIL
        packed = pool.submit(_save_png, pixels, png)
        FigureCanvasSVG(fig).print_svg(svg, metadata={"Date": None, "Creator": None, **metadata})
    packed.result()


def _save_png(pixels: np.ndarray, png: Path) -> None:
    """Save an image in 256 colours: half the size, the same look.

    pixels: bytes in rows, columns and RGBA. White, most of it, takes no part in choosing the rest.
    """
    coloured = pixels.view(np.uint32)[..., 0] != np.uint32(0xFFFFFFFF)
    rest = Image.fromarray(pixels[coloured][None, :, :3]).quantize(255, dither=Image.Dither.NONE)
    places = np.zeros(coloured.shape, np.uint8)
    places[coloured] = np.asarray(rest)[0] + 1
    image = Image.fromarray(places)
    image.putpalette([255, 255, 255, *rest.getpalette()])
    image.save(png)
