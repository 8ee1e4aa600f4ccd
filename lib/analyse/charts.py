"""One function per chart form, and finish(), which writes on a chart, saves it and shows it.

A notebook shows a chart once, when finish() displays the file that it saved.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.dates import date2num
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from lib.analyse.figure import (
    CONTEXT,
    DRAWN,
    EMPTY,
    NONE,
    OTHER,
    PAD,
    PALE,
    QUIET,
    SMALL,
    STRONG,
    amount,
    amounts,
    arrange,
    beside,
    brief,
    calendar,
    canvas,
    cut,
    daily,
    dots,
    drawable,
    ends,
    fit,
    form,
    halves,
    hollow,
    key_name,
    legend,
    note,
    peak,
    save,
    scale,
    shade,
    shares,
    spoken,
    styled,
    tile,
    titled,
    whole,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST = 20  # rows of a timeline
UNKNOWN = {"label": "no data", "marker": "s", "color": EMPTY, "markersize": 9}
TILES = """
AK .  .  .  .  .  .  .  .  .  ME
.  .  .  .  .  WI .  .  .  VT NH
WA ID MT ND MN IL MI .  NY MA .
OR NV WY SD IA IN OH PA NJ CT RI
CA UT CO NE MO KY WV VA MD DE .
.  AZ NM KS AR TN NC SC DC .  .
.  .  .  OK LA MS AL GA .  .  .
HI .  .  TX .  .  .  .  FL .  .
"""  # the grid of the Washington Post
STATES = np.array([row.split() for row in TILES.split("\n")[1:-1]])


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
    mesh = shade(ax, cells, cells)
    dots(ax, cells)
    ax.set(xlim=(0, width), ylim=(height + 1.2, 0))  # the scale stands below the last row
    ax.xaxis.tick_top()
    step = -(-width // 6)  # there is room for six names of columns
    for axis, keys, each in (ax.xaxis, grid.columns, step), (ax.yaxis, grid.index, 1):
        names = [key_name(key, keys.name) for key in keys[::each]]
        axis.set_ticks(np.arange(len(keys))[::each] + 0.5, names)
    ax.spines.bottom.set_visible(False)
    if cells.max() > 0:
        row, column = np.unravel_index(cells.argmax(), cells.shape)
        ax.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=OTHER, linewidth=2.5))
    scale(ax, mesh, value, y=height + 0.85, key=NONE)
    return fig


@form
def triangle(frame: DataFrame, *, x: str, y: str, value: str, n: str) -> Figure:
    """Draw a row per cohort and a column per week since it began, darker for more of it left.

    frame: columns x (weeks since, from 0), y (the cohort), value (a share of 1) and n (the
    cohort's size), one row per cell; a cell that is not over yet has no row, or no value.
    """
    grid = frame.pivot(index=y, columns=x, values=value).astype(float)
    cells = np.ma.masked_invalid(grid.reindex(columns=range(int(max(grid)) + 1)).to_numpy())
    height, width = cells.shape
    each = min(0.3, max(6 / height, 0.1))  # inches of a row; many still fit a page
    fig, ax = canvas(0.6 + each * height)
    mesh = shade(ax, cells, cells[cells < 1])
    ax.set(xlim=(0, width), ylim=(height, 0), xlabel=spoken(x), yticks=[])
    weeks = range(0, width, -(-width // 14))
    ax.set_xticks(np.array(weeks) + 0.5, weeks)
    ax.xaxis.set(ticks_position="top", label_position="top")
    ax.tick_params(length=0, pad=6)
    ax.xaxis.labelpad = 7
    ax.spines.bottom.set_visible(False)
    rows = range(0, height, -int(-0.22 // each))
    sizes = frame[n].astype(float).groupby(frame[y]).max()[grid.index]
    names = {n: [amount(size) for size in sizes], y: [key_name(key) for key in grid.index]}
    beside(ax, rows, names)
    if width <= 13:
        shares(ax, mesh, cells)
    else:
        dots(ax, cells)
        ax.set_ylim(height + 0.36 / each, 0)
        scale(ax, mesh, "", y=height + 0.23 / each, key=NONE, percent=True, row=0.27 / each)
    return fig


@form
def tiles(frame: DataFrame, *, state: str, value: str) -> Figure:
    """Draw a square per US state and one for DC, darker for more, a light one for no data.

    frame: columns state (two letters) and value, one row per state; what is not on the map is
    said below it.
    """
    given = frame.set_index(frame[state].fillna("unknown"))[value].astype(float)
    cells = np.ma.masked_invalid([[given.get(code, np.nan) for code in row] for row in STATES])
    height, width = cells.shape
    fig, ax = canvas(0.52 * (height + 1.2))
    land = np.ma.masked_where(STATES == ".", np.ones(STATES.shape))
    ax.pcolormesh(land, cmap=ListedColormap([EMPTY]), edgecolor="white", linewidth=1)
    mesh = shade(ax, cells, cells)
    ax.set(xlim=(0, width), ylim=(height + 1.2, 0), aspect="equal")
    ax.set_axis_off()
    for (row, column), code in np.ndenumerate(STATES):
        if code != ".":
            tile(ax, mesh, code, cells[row, column], (column, row))
    scale(ax, mesh, value, y=height + 0.5, key=UNKNOWN)
    rest = given[~given.index.isin(STATES.ravel())].dropna()
    if len(rest):
        texts = (f"{drawable(code)} {brief(number)}" for code, number in rest.items())
        look = {"color": QUIET, "va": "center", "fontsize": SMALL}
        fit(ax.text(0, height + 1, f"Not on the map: {', '.join(texts)}", **look), 400)
    return fig


@form
def lines(
    frame: DataFrame, *, x: str, y: str, series="", strong="", percent=False, partial=""
) -> Figure:
    """Draw a line by day, or one per series, named at its end; the strong one in colour.

    frame: columns x (days, a missing one is a gap) and y; with series, one row per day and series;
    with partial, whether the day is not whole, as the first and the last may be.
    strong: the series that the title speaks of; without, the one with the largest sum.
    percent: y is a share of 1.
    """
    wide = frame.pivot(index=x, columns=series, values=y) if series else frame.set_index(x)[[y]]
    wide = daily(wide)
    strong = strong if strong in wide else wide.sum().idxmax()
    fig, ax = canvas(2.7)
    days = calendar(ax, wide.index)
    amounts(ax.yaxis, min(0, wide.min().min()), wide.max().max(), percent)
    few = wide.count().max() <= 70
    look = {"markersize": 3} if few else {"markersize": 1, "linewidth": 1.2}
    for name in sorted(wide, key=lambda name: name == strong):  # the strong one on top
        colour = STRONG if name == strong else CONTEXT
        ax.plot(days, wide[name], color=colour, marker="o", clip_on=False, **look)
    if partial and frame[partial].any():
        hollow(ax, daily(frame.groupby(x)[[partial]].max())[partial] > 0)
    peak(ax, wide[strong], percent)
    if series:
        last = wide.ffill().iloc[-1]
        ends(ax, days[-1], last, strong, titled(ax, last.index))
    return fig


@form
def steps(frame: DataFrame, *, x: str, y: str, n: str, series="", strong="") -> Figure:
    """Draw a survival curve from 100 %, or one per series, with its last share and n at its end.

    frame: columns x (time since the start, such as days), y (the share of 1 that survives it) and
    n (how many are still at risk), one row per time and series; y holds until the next row.
    strong: the series that the title speaks of; without, the one that ends highest.
    """
    from pandas import Series

    frame = frame.astype({x: float, y: float, n: float})
    parts = dict([*frame.sort_values(x).groupby(series)]) if series else {"": frame.sort_values(x)}
    last = Series({name: part[y].iloc[-1] for name, part in parts.items()})
    strong = strong if strong in parts else last.fillna(0).idxmax()
    fig, ax = canvas(2.7)
    amounts(ax.yaxis, 0, 1, True)
    end = frame[x].max() or 1
    ax.set(xlim=(0, end), xlabel=spoken(x))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    texts = titled(ax, parts)
    for name in sorted(parts, key=lambda name: name == strong):  # the strong one on top
        time, share = np.r_[0, parts[name][x]], np.r_[1, parts[name][y]]
        colour = STRONG if name == strong else CONTEXT
        look = {"drawstyle": "steps-post", "marker": "o", "markersize": 5, "markevery": [-1]}
        ax.plot(time, share, color=colour, clip_on=False, **look)
        risk = amount(parts[name][n].iloc[-1])
        texts[name] = f"{texts[name]} {amount(last[name], True)}".strip() + f"\n{risk} at risk"
    ends(ax, end, last, strong, texts)
    return fig


@form
def columns(frame: DataFrame, *, x: str, y: str, down="", percent=False) -> Figure:
    """Draw a column per day up from zero, a dot for zero; with down a second one below, and totals.

    frame: columns x (days), y and down, none negative. percent: the values are shares of 1.
    """
    wide = daily(frame.set_index(x)[[y, down] if down else [y]])
    if down:
        wide[down] *= -1
    fig, ax = canvas(2.7)
    days = calendar(ax, wide.index)
    amounts(ax.yaxis, min(0, wide.min().min()), wide.max().max(), percent)
    width = max(0.8, len(days) / 500)  # over years a day is still a line that can be seen
    for name, colour in zip(wide, (STRONG, OTHER), strict=False):
        known = wide[name].dropna()
        ax.bar(date2num(known.index), known, width, color=colour)
    none = days[(wide == 0).all(axis=1)]
    if len(none):
        ax.plot(none, np.zeros(len(none)), linestyle="", clip_on=False, **NONE)
    if down:
        halves(ax, wide, percent)
    else:
        peak(ax, wide[y], percent)
    return fig


@form
def bars(frame: DataFrame, *, label: str, value: str, detail="", share=False) -> Figure:
    """Draw a bar per row in the order given, the first in colour, its label above it.

    frame: columns label and value, and detail, shown in grey after the label.
    share: write after each number what share of the first it is, as in a funnel.
    """
    values = frame[value].astype(float).to_list()
    details = frame[detail].fillna("") if detail else [""] * len(values)
    fig, ax = canvas(0.5 * len(values))
    ax.barh(range(len(values)), values, 0.36, color=[STRONG] + [CONTEXT] * (len(values) - 1))
    most = np.nanmax([*values, 0])
    ax.set(xlim=(0, most or 1), ylim=(len(values) - 0.75, -0.75), xticks=[], yticks=[])
    ax.spines.bottom.set_visible(False)
    room = (fig.get_figwidth() - 2 * PAD) * 72  # in points
    for row, (text, more) in enumerate(zip(frame[label].fillna("–"), details, strict=True)):
        above = (0, row - 0.29)
        used = fit(note(ax, drawable(text), above), room * 0.62 if more else room)
        if more:
            fit(note(ax, drawable(more), above, (used + 7, 0), color=QUIET), room - used - 7)
        said = amount(values[row])
        if share and row and values[0] > 0 and values[row] >= 0:
            said += f" · {whole(values[row] / values[0])}"
        look = {"va": "center_baseline", "weight": "bold"}
        note(ax, said, (np.nan_to_num(values[row]), row), (5, 0), **look)
    return fig


@form
def intervals(
    frame: DataFrame, *, label: str, value: str, low: str, high: str, percent=False
) -> Figure:
    """Draw a dot with a bar from low to high per row, in the order given; days along a calendar.

    frame: columns label (a name or a day), value, low and high. percent: they are shares of 1.
    """
    numbers = frame[[value, low, high]].astype(float)
    least, most = min(0, numbers.min().min()), numbers.max().max()
    if hasattr(frame[label].iloc[0], "day"):
        return upright(daily(numbers.set_axis(frame[label])), least, most, percent)
    fig, ax = canvas(0.3 * len(frame) + 0.5)
    rows = range(len(frame))
    ax.hlines(rows, numbers[low], numbers[high], color=CONTEXT, linewidth=6)
    ax.plot(numbers[value], rows, "o", color=STRONG, markersize=8, clip_on=False)
    ax.set_yticks(rows, cut(ax, frame[label].fillna("–"), 150))
    ax.tick_params("y", pad=9)  # a dot at zero reaches beyond the axis
    ax.set_ylim(len(frame) - 0.4, -0.6)
    amounts(ax.xaxis, least, most, percent)
    for row, number in enumerate(numbers[value]):
        at = max(number, numbers[high].iloc[row], key=np.nan_to_num)
        known = {"weight": "bold", "color": STRONG}
        look = {"va": "center_baseline", **({"color": QUIET} if np.isnan(number) else known)}
        note(ax, amount(number, percent), (np.nan_to_num(at), row), (8, 0), **look)
    return fig


def upright(wide: DataFrame, low: float, high: float, percent: bool) -> Figure:
    """Draw intervals along a calendar from a frame of value, low and high by day."""
    fig, ax = canvas(2.7)
    days = calendar(ax, wide.index)
    amounts(ax.yaxis, low, high, percent)
    value, _, upper = (wide[name] for name in wide)
    room = 330 / (len(days) + 8)  # points for a day
    known = wide.dropna()
    _, lows, highs = known.to_numpy().T
    look = {"color": CONTEXT, "linewidth": min(6, max(1, 0.6 * room))}
    ax.vlines(date2num(known.index), lows, highs, **look)
    ax.plot(days, value, "o", color=STRONG, markersize=min(7, max(2, 0.7 * room)), clip_on=False)
    peak(ax, value, percent, upper.fillna(value))
    return fig


@form
def lorenz(frame: DataFrame, *, x: str, y: str) -> Figure:
    """Draw how unequally y is spread over x, against the line on which all have the same.

    frame: columns x and y, named for what they count (users, plays): the cumulative shares of 1,
    from those with the least to those with the most.
    """
    shares = frame[[x, y]].astype(float).sort_values([x, y])
    rank, held = np.r_[0, shares[x]], np.r_[0, shares[y]]
    fig, ax = canvas(3.6)
    ax.fill_between(rank, held, rank, color=PALE, linewidth=0)
    ax.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    ax.plot(rank, held, color=STRONG)
    half = np.interp(0.5, rank, held)
    ax.plot(0.5, half, "o", color=STRONG, markersize=8)
    amounts(ax.xaxis, 0, 1, True)
    amounts(ax.yaxis, 0, 1, True)
    ax.set(xlabel=f"{spoken(x)}, from the least to the most {spoken(y)}")
    look = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    ax.text(0.3, 0.32, "all have the same", ha="center", color=QUIET, fontsize=SMALL, **look)
    text = f"The lower half of the {spoken(x)}\nhas {amount(half, True)} of the {spoken(y)}"
    ax.text(0.04, 0.96, text, va="top", color=STRONG, weight="bold")
    return fig


@form
def timeline(
    frame: DataFrame, *, label: str, start: str, end: str, kind: str, strong="paid"
) -> Figure:
    """Draw a row per label with a bar for each span of time, the strong kind in colour.

    frame: columns label, start and end (moments; one without an end lasts to the last moment of
    the frame) and kind; rows stand in the order given, and only the first 20 labels are drawn.
    """
    from pandas import date_range

    labels = frame[label].fillna("–").astype(str)
    names = [*dict.fromkeys(labels)]
    starts, stops = (frame[column].astype("datetime64[s]") for column in (start, end))
    first, last = starts.min(), max(starts.max(), stops.fillna(starts).max())
    fig, ax = canvas(0.27 * min(len(names), MOST) + 0.9)
    days = calendar(ax, date_range(first, last, normalize=True))
    ax.set_xlim(days[0], days[-1] + 1)
    for name, a, b, what in zip(labels, starts, stops.fillna(last), frame[kind], strict=True):
        if names.index(name) < MOST:
            colour = STRONG if what == strong else CONTEXT
            look = {"left": date2num(a), "color": colour, "linewidth": 1, "edgecolor": colour}
            ax.barh(names.index(name), date2num(b) - date2num(a), 0.6, **look)
    ax.set_yticks(range(len(names[:MOST])), cut(ax, names[:MOST], 130))
    ax.set_ylim(len(names[:MOST]) - 0.5, -0.5)
    kinds = sorted(frame[kind].dropna().unique(), key=lambda what: (what != strong, what))
    legend(ax, {what: STRONG if what == strong else CONTEXT for what in kinds})
    if len(names) > MOST:
        ax.set_xlabel(f"the first {MOST} of {len(names):,}", loc="right")
    return fig


@styled
def finish(fig: Figure, *, title: str, subtitle: str, source: str, alt: str, to: Path) -> None:
    """Write title, subtitle and source on a chart, save it as PNG and SVG, and display it.

    The frame that a form drew is saved beside them as CSV, its values exactly as they are: a
    spreadsheet must be told to read them as text, or it runs a song title that is a formula.
    title: the finding. subtitle: what is shown, and its unit. alt: what a reader who does not
    see the picture needs to know. to: path of the files, without .png, .svg and .csv.
    Raises ValueError naming each text that is empty.
    """
    from IPython import display  # only a notebook needs it, and has it already

    texts = {"title": title, "subtitle": subtitle, "source": source, "alt": alt}
    if missing := [name for name, text in texts.items() if not (text or "").strip()]:
        raise ValueError(f"finish() needs a text for {' and '.join(missing)}")
    arrange(fig, drawable(title), drawable(subtitle), drawable(f"Source: {source}"))
    png, svg, data = (Path(to).with_name(Path(to).name + kind) for kind in (".png", ".svg", ".csv"))
    png.parent.mkdir(parents=True, exist_ok=True)
    about = {"Title": drawable(title), "Description": drawable(alt)}
    save(fig, png, svg, about)
    if fig in DRAWN:
        DRAWN[fig].to_csv(data, index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    width = round(fig.get_figwidth() * 100)
    display.display(display.Image(filename=png, alt=alt, width=width))


def listed(names: Sequence[str], most: int = 2) -> str:
    """Return names for a title: all of them when they are at most `most`, else how many more."""
    names = [*map(str, names)]
    if len(names) <= most:
        return " and ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"
