"""The chart forms, one function each; finish() titles, saves and shows what one has drawn."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.dates import date2num
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from pandas import DataFrame, date_range

from lib.analyse import labels, style
from lib.analyse.colours import CONTEXT, EMPTY, OTHER, PALE, QUIET, STRONG
from lib.analyse.labels import STATES, add_label, format_name, format_number
from lib.analyse.style import GREY, SMALL, make_form

MOST = 20  # rows of a timeline
finish = style.finish


@make_form
def heatmap(frame: DataFrame, *, x: str, y: str, value: str) -> Figure:
    """Draw a cell for each x and y, darker for more, a dot for zero, the highest outlined.

    frame: columns x, y and value, one row per cell; weekdays (1 is Monday) and hours are named.
    """
    grid = frame.pivot(index=y, columns=x, values=value).astype(float)
    cells = np.ma.masked_invalid(grid.to_numpy())
    height, width = cells.shape
    fig, ax = style.make_figure(0.3 + 0.27 * (height + 1.2))
    mesh = style.draw_cells(ax, cells, cells)
    style.mark_zeros(ax, cells)
    ax.set(xlim=(0, width), ylim=(height + 1.2, 0))  # the scale stands below the last row
    ax.xaxis.tick_top()  # where there is room for six names
    for axis, keys, each in (ax.xaxis, grid.columns, -(-width // 6)), (ax.yaxis, grid.index, 1):
        names = [labels.format_key(key, keys.name) for key in keys[::each]]
        axis.set_ticks(np.arange(len(keys))[::each] + 0.5, names)
    if cells.max() > 0:
        row, column = np.unravel_index(cells.argmax(), cells.shape)
        ax.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=OTHER, linewidth=2.5))
    style.draw_scale(ax, mesh, value, y=height + 0.85, key=style.ZERO)
    return fig


@make_form
def triangle(frame: DataFrame, *, x: str, y: str, value: str, n: str) -> Figure:
    """Draw a row per cohort and a column per week since it began, darker for more of it left.

    frame: columns x (weeks since, from 0), y (the cohort), value (a share of 1) and n (the
    cohort's size), one row per cell; a cell that is not over yet has no row, or no value.
    """
    grid = frame.pivot(index=y, columns=x, values=value).astype(float)
    cells = np.ma.masked_invalid(grid.reindex(columns=range(int(max(grid)) + 1)).to_numpy())
    height, width = cells.shape
    each = min(0.3, max(6 / height, 0.1))  # inches of a row; many still fit a page
    fig, ax = style.make_figure(0.6 + each * height)
    mesh = style.draw_cells(ax, cells, cells[cells < 1])
    ax.set(xlim=(0, width), ylim=(height, 0), yticks=[])
    ax.set_xlabel(format_name(x), labelpad=7)
    weeks = range(0, width, -(-width // 14))
    ax.set_xticks(np.array(weeks) + 0.5, weeks)
    ax.xaxis.set(ticks_position="top", label_position="top")
    ax.tick_params(length=0, pad=6)
    sizes = frame[n].astype(float).groupby(frame[y]).max()[grid.index]
    columns = {n: map(format_number, sizes), y: map(labels.format_key, grid.index)}
    labels.draw_row_labels(ax, columns, -int(-0.22 // each))
    if width <= 13:
        style.draw_shares(ax, mesh, cells)
    else:
        style.mark_zeros(ax, cells)
        ax.set_ylim(height + 0.36 / each, 0)
        below = {"y": height + 0.23 / each, "row": 0.27 / each}
        style.draw_scale(ax, mesh, "", key=style.ZERO, percent=True, **below)
    return fig


@make_form
def tiles(frame: DataFrame, *, state: str, value: str) -> Figure:
    """Draw a square per US state and one for DC, darker for more, a light one for no data.

    frame: columns state (two letters) and value, one row per state; what is not on the map is
    said below it.
    """
    given = frame.set_index(frame[state].fillna("unknown"))[value].astype(float)
    cells = np.ma.masked_invalid([[given.get(code, np.nan) for code in row] for row in STATES])
    height, width = cells.shape
    fig, ax = style.make_figure(0.52 * (height + 1.2))
    land = np.ma.masked_where(STATES == ".", np.ones(STATES.shape))
    ax.pcolormesh(land, cmap=ListedColormap([EMPTY]), edgecolor="white", linewidth=1)
    mesh = style.draw_cells(ax, cells, cells)
    ax.set(xlim=(0, width), ylim=(height + 1.2, 0), aspect="equal")
    ax.set_axis_off()
    look = {"ha": "center", "va": "center", "fontsize": SMALL}
    for (y, x), code in np.ndenumerate(STATES):
        known = cells[y, x] is not np.ma.masked
        ink = style.choose_ink(mesh, cells[y, x]) if known else QUIET
        ax.text(x + 0.5, y + 0.3, code.strip("."), weight="bold", color=ink, **look)
        number = labels.abbreviate_number(cells[y, x]) if known else ""
        ax.text(x + 0.5, y + 0.7, number, color=ink, **look)
    style.draw_scale(ax, mesh, value, y=height + 0.5, key=style.UNKNOWN)
    rest = given[~given.index.isin(STATES.ravel())].dropna().map(labels.abbreviate_number)
    if len(rest):
        names = ", ".join(f"{labels.clean_text(code)} {number}" for code, number in rest.items())
        look = GREY | {"va": "center", "fontsize": SMALL}
        labels.fit_label(ax.text(0, height + 1, f"Not on the map: {names}", **look), 400)
    return fig


@make_form
def lines(
    frame: DataFrame, *, x: str, y: str, series="", strong="", percent=False, partial=""
) -> Figure:
    """Draw a line by day, or one per series, named at its end; the strong one in colour.

    frame: columns x (days, a missing one is a gap) and y; with series, one row per day and series;
    with partial, whether the day is not whole, as the first and the last may be.
    strong: the series that the title is about; without, the one with the largest sum.
    percent: y is a share of 1.
    """
    wide = frame.pivot(index=x, columns=series, values=y) if series else frame.set_index(x)[[y]]
    wide = style.fill_days(wide)
    strong = strong if strong in wide else wide.sum().idxmax()
    fig, ax, days = style.make_daily_figure(wide, percent)
    look = {"markersize": 3} if wide.count().max() <= 70 else {"markersize": 1, "linewidth": 1.2}
    look |= {"marker": "o", "clip_on": False}
    for name in sorted(wide, key=lambda name: name == strong):  # the strong one on top
        ax.plot(days, wide[name], color=STRONG if name == strong else CONTEXT, **look)
    if partial and frame[partial].any():
        style.mark_partial_days(ax, frame.loc[frame[partial].astype(bool), x])
    labels.label_peak(ax, wide[strong], percent)
    if series:
        labels.label_ends(ax, days[-1], wide.ffill().iloc[-1], strong, {})
    return fig


@make_form
def steps(frame: DataFrame, *, x: str, y: str, n: str, series="", strong="") -> Figure:
    """Draw a survival curve from 100 %, or one per series, with its last share and n at its end.

    frame: columns x (time since the start, such as days), y (the share of 1 that survives it) and
    n (how many are still at risk), one row per time and series; y holds until the next row.
    strong: the series that the title is about; without, the one that ends highest.
    """
    frame = frame.astype({x: float, y: float, n: float}).sort_values(x)
    parts = dict([*frame.groupby(frame[series] if series else np.full(len(frame), ""))])
    last = DataFrame({name: part.iloc[-1] for name, part in parts.items()}).T
    strong = strong if strong in parts else last[y].fillna(0).astype(float).idxmax()
    fig, ax = style.make_figure(2.7)
    style.draw_numbers(ax.yaxis, 0, 1, True)
    ax.set(xlim=(0, frame[x].max() or 1), xlabel=format_name(x))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    look = {"drawstyle": "steps-post", "marker": "o", "markersize": 5, "markevery": [-1]}
    details = {}
    for name in sorted(parts, key=lambda name: name == strong):  # the strong one on top
        time, share = np.r_[0, parts[name][x]], np.r_[1, parts[name][y]]
        ax.plot(time, share, color=STRONG if name == strong else CONTEXT, clip_on=False, **look)
        details[name] = f"{format_number(share[-1], True)}\n{format_number(last[n][name])} at risk"
    labels.label_ends(ax, ax.get_xlim()[1], last[y].astype(float), strong, details)
    return fig


@make_form
def columns(frame: DataFrame, *, x: str, y: str, down="", percent=False) -> Figure:
    """Draw a column per day up from zero, a dot for zero; with down a second one below, and totals.

    frame: columns x (days), y and down, none negative. percent: the values are shares of 1.
    """
    wide = style.fill_days(frame.set_index(x)[[y, down] if down else [y]])
    if down:
        wide[down] *= -1
    fig, ax, days = style.make_daily_figure(wide, percent)
    width = max(0.8, len(days) / 500)  # over years a day is still a line that can be seen
    for name, colour in zip(wide, (STRONG, OTHER), strict=False):
        known = wide[name].dropna()
        ax.bar(date2num(known.index), known, width, color=colour)
    none = days[(wide == 0).all(axis=1)]
    if len(none):
        ax.plot(none, np.zeros(len(none)), linestyle="", clip_on=False, **style.ZERO)
    if down:
        labels.label_totals(ax, wide, percent)
    else:
        labels.label_peak(ax, wide[y], percent)
    return fig


@make_form
def bars(frame: DataFrame, *, label: str, value: str, detail="", share=False) -> Figure:
    """Draw a bar per row in the order given, the first in colour, its label above it.

    frame: columns label and value, and detail, shown in grey after the label.
    share: write after each number what share of the first it is, as in a funnel.
    """
    values = frame[value].astype(float).to_list()
    details = frame[detail].fillna("") if detail else [""] * len(values)
    fig, ax = style.make_figure(0.5 * len(values))
    ax.barh(range(len(values)), values, 0.36, color=[STRONG] + [CONTEXT] * (len(values) - 1))
    most = np.nanmax([*values, 0])
    ax.set(xlim=(0, most or 1), ylim=(len(values) - 0.75, -0.75), xticks=[], yticks=[])
    ax.spines.bottom.set_visible(False)
    room = (fig.get_figwidth() - 2 * style.PAD) * 72  # in points
    for row, (text, more) in enumerate(zip(frame[label].fillna("–"), details, strict=True)):
        above = (0, row - 0.29)
        name = add_label(ax, labels.clean_text(text), above)
        used = labels.fit_label(name, room * 0.62 if more else room) + 7
        if more:
            name = add_label(ax, labels.clean_text(more), above, (used, 0), **GREY)
            labels.fit_label(name, room - used)
        number, end = format_number(values[row]), (np.nan_to_num(values[row]), row)
        if share and row and values[0] > 0 and values[row] >= 0:
            number += f" · {labels.format_share(values[row] / values[0])}"
        add_label(ax, number, end, (5, 0), va="center_baseline", weight="bold")
    return fig


@make_form
def intervals(
    frame: DataFrame, *, label: str, value: str, low: str, high: str, percent=False
) -> Figure:
    """Draw a dot with a bar from low to high per row, in the order given; days along a calendar.

    frame: columns label (a name or a day), value, low and high. percent: they are shares of 1.
    """
    numbers = frame[[value, low, high]].astype(float)
    if hasattr(frame[label].iloc[0], "day"):
        return style.draw_daily_intervals(style.fill_days(numbers.set_axis(frame[label])), percent)
    fig, ax = style.make_figure(0.3 * len(frame) + 0.5)
    rows = range(len(frame))
    ax.hlines(rows, numbers[low], numbers[high], color=CONTEXT, linewidth=6)
    ax.plot(numbers[value], rows, "o", color=STRONG, markersize=8, clip_on=False)
    ax.set_yticks(rows, labels.shorten_texts(ax, frame[label].fillna("–"), 150))
    ax.tick_params("y", pad=9)  # a dot at zero reaches beyond the axis
    ax.set_ylim(len(frame) - 0.4, -0.6)
    style.draw_numbers(ax.xaxis, min(0, numbers.min().min()), numbers.max().max(), percent)
    for row, number in enumerate(numbers[value]):
        at = np.nan_to_num([number, numbers[high].iloc[row]]).max(), row
        look = {"va": "center_baseline"} | (GREY if np.isnan(number) else labels.BOLD)
        add_label(ax, format_number(number, percent), at, (8, 0), **look)
    return fig


@make_form
def lorenz(frame: DataFrame, *, x: str, y: str) -> Figure:
    """Draw how unequally y is spread over x, against the line on which all have the same.

    frame: columns x and y, named for what they count (users, plays): the cumulative shares of 1,
    from those with the least to those with the most.
    """
    shares = frame[[x, y]].astype(float).sort_values([x, y])
    rank, held = np.r_[0, shares[x]], np.r_[0, shares[y]]
    fig, ax = style.make_figure(3.6)
    ax.fill_between(rank, held, rank, color=PALE, linewidth=0)
    ax.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
    ax.plot(rank, held, color=STRONG)
    half = np.interp(0.5, rank, held)
    ax.plot(0.5, half, "o", color=STRONG, markersize=8)
    style.draw_numbers(ax.xaxis, 0, 1, True)
    style.draw_numbers(ax.yaxis, 0, 1, True)
    people, things = format_name(x), format_name(y)
    ax.set(xlabel=f"{people}, from the least to the most {things}")
    look = {"rotation": 45, "rotation_mode": "anchor", "transform_rotates_text": True}
    ax.text(0.3, 0.32, "all have the same", ha="center", fontsize=SMALL, **GREY, **look)
    text = f"The lower half of the {people}\nhas {format_number(half, True)} of the {things}"
    ax.text(0.04, 0.96, text, va="top", **labels.BOLD)
    return fig


@make_form
def timeline(
    frame: DataFrame, *, label: str, start: str, end: str, kind: str, strong="paid"
) -> Figure:
    """Draw a row per label with a bar for each span of time, the strong kind in colour.

    frame: columns label, start and end (timestamps; a span without an end lasts to the last one of
    the frame) and kind; rows stand in the order given, and only the first 20 labels are drawn.
    """
    names = frame[label].fillna("–").astype(str)
    rows = [*dict.fromkeys(names)]
    starts, stops = (frame[column].astype("datetime64[s]") for column in (start, end))
    first, last = starts.min(), max(starts.max(), stops.fillna(starts).max())
    drawn = rows[:MOST]
    fig, ax = style.make_figure(0.27 * len(drawn) + 0.9)
    days = style.draw_calendar(ax, date_range(first, last, normalize=True))
    ax.set_xlim(days[0], days[-1] + 1)
    shown = names.isin(drawn)
    left, right = date2num(starts[shown]), date2num(stops[shown].fillna(last))
    colours = np.where(frame.loc[shown, kind] == strong, STRONG, CONTEXT)
    at = names[shown].map(drawn.index)
    ax.barh(at, right - left, 0.6, left, color=colours, edgecolor=colours, linewidth=1)
    ax.set_yticks(range(len(drawn)), labels.shorten_texts(ax, drawn, 130))
    ax.set_ylim(len(drawn) - 0.5, -0.5)
    kinds = sorted(frame[kind].dropna().unique(), key=lambda what: (what != strong, what))
    labels.draw_legend(ax, {what: STRONG if what == strong else CONTEXT for what in kinds})
    if len(rows) > MOST:
        ax.set_xlabel(f"the first {MOST} of {len(rows):,}", loc="right")
    return fig
