"""Numbers, names and other texts as a chart shows them, shortened or wrapped to fit."""

from __future__ import annotations

import textwrap
import unicodedata
from bisect import bisect
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import date2num
from matplotlib.font_manager import get_font
from matplotlib.text import Text
from pandas import DataFrame, Series

from lib.analyse.colours import OTHER, QUIET, STRONG

SMALL = 11  # points; less is hard to read on a phone
BOLD, GREY = {"color": STRONG, "weight": "bold"}, {"color": QUIET}  # looks of texts
STATES = np.genfromtxt(Path(__file__).with_name("states.txt"), dtype=str)
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def format_number(number: float, percent: bool = False) -> str:
    """Write a number for reading: 1,234 or 2.5 or 3.4%, and a missing one as "no data"."""
    if np.isnan(number):
        return "no data"
    number = round(number * 100 if percent else number, 1)
    return f"{number:,.1f}".removesuffix(".0") + "%" * percent


def format_share(share: float, sign: str = "%") -> str:
    """Write a share of 1 as a whole percentage; only none is 0%, and only all is 100%."""
    if 0 < share < 0.005:
        return f"<1{sign}"
    return f">99{sign}" if 0.995 <= share < 1 else f"{share:.0%}".replace("%", sign)


def abbreviate_number(number: float) -> str:
    """Write a number in at most five characters: 1,234 or 57k or 1.3m."""
    for unit, name in (1e9, "bn"), (1e6, "m"), (1e3, "k"):
        if number >= max(0.9995 * unit, 9999.5):
            return f"{number / unit:.{1 if number < 9.95 * unit else 0}f}{name}"
    return format_number(number if number < 100 else round(number))


def format_name(name: object) -> str:
    """Write the name of a column or a series for reading."""
    return clean_text(str(name).replace("_", " "))


def format_key(key: object, column: str = "") -> str:
    """Write the key of a row or a column of cells: a weekday, an hour, a day or a name."""
    if column in ("weekday", "hour"):
        return WEEKDAYS[int(key) - 1] if column == "weekday" else f"{int(key):02d}:00"
    return f"{key.day} {key:%b}" if hasattr(key, "day") else clean_text(key)


@cache
def _read_glyphs() -> frozenset[int]:
    """Return the characters that the font can draw, both regular and bold."""
    files = (f"{mpl.get_data_path()}/fonts/ttf/DejaVuSans{bold}.ttf" for bold in ("", "-Bold"))
    return frozenset.intersection(*(frozenset(get_font(file).get_charmap()) for file in files))


def clean_text(text: object) -> str:
    """Remove control characters and line breaks, and show □ for what the font lacks."""
    text = unicodedata.normalize("NFC", " ".join(str(text).split()))
    kept = (letter for letter in text if unicodedata.category(letter) not in ("Cc", "Cf"))
    return "".join(letter if ord(letter) in _read_glyphs() else "□" for letter in kept)


def add_label(ax: Axes, text: str, at: tuple, offset: tuple = (0, 0), **look) -> Text:
    """Write a text at a point of the data, offset by some points of type."""
    return ax.annotate(text, at, offset, textcoords="offset points", annotation_clip=False, **look)


def fit_label(label: Text, room: float) -> float:
    """Shorten a label until it is no wider than `room`, and return its width, both in points."""
    text = label.get_text()[:120]
    label.set_in_layout(False)

    def width(letters: int) -> float:
        label.set_text(text if letters == len(text) else text[:letters].rstrip() + "…")
        return label.get_window_extent().width * 72 / label.figure.dpi

    used = width(len(text))
    return used if used <= room else width(bisect(range(len(text)), room, key=width) - 1)


def shorten_texts(ax: Axes, texts: Iterable[object], room: float) -> list[str]:
    """Return texts as they can be drawn, each at most `room` points wide."""
    label, short = add_label(ax, "", (0, 0)), []
    for text in texts:
        label.set_text(clean_text(text))
        fit_label(label, room)
        short.append(label.get_text())
    label.remove()
    return short


def wrap_label(label: Text, text: str, room: float) -> float:
    """Write a text in the fewest lines of at most `room` inches, evenly filled.

    Returns the text's height in inches.
    """
    room *= label.figure.dpi

    def width(letters: int) -> float:
        label.set_text(textwrap.fill(text, letters))
        return label.get_window_extent().width

    most = max(bisect(range(min(len(text), 90) + 1), room, lo=1, key=width) - 1, 1)
    fewest = len(textwrap.wrap(text, most))
    for letters in range(max(most // 2, 1), most + 1):
        if len(textwrap.wrap(text, letters)) == fewest and width(letters) <= room:
            break
    return label.get_window_extent().height / label.figure.dpi


def draw_row_labels(ax: Axes, columns: dict, step: int) -> None:
    """Write columns of texts at the left of every step-th row of cells, the first next to them."""
    used = 8
    for name, texts in columns.items():
        look = GREY | {"ha": "right", "va": "bottom"}
        column = [add_label(ax, format_name(name), (0, 0), (-used, 6), **look)]
        look = {"ha": "right", "va": "center_baseline"}
        for row, text in [*enumerate(texts)][::step]:
            column.append(add_label(ax, text, (0, row + 0.5), (-used, 0), **look))
        used += 12 + max(text.get_window_extent().width for text in column) * 72 / ax.figure.dpi


def label_peak(ax: Axes, values: Series, percent: bool, tops: Series | None = None) -> None:
    """Write the largest number above its point, or above what reaches higher there (`tops`)."""
    if values.max() > 0:
        at = (date2num(values.idxmax()), (values if tops is None else tops)[values.idxmax()])
        side = "right" if values.argmax() == len(values) - 1 > 0 else "center"
        text = format_number(values.max(), percent)
        add_label(ax, text, at, (0, 7), ha=side, va="bottom", **BOLD)


def label_ends(ax: Axes, x: float, heights: Series, strong: str, details: dict) -> None:
    """Name lines at their right ends; names of lines that end close together move apart.

    heights: where each line ends, by name. details: what to write after the names, if anything.
    """
    names = shorten_texts(ax, map(str.capitalize, map(format_name, heights.index)), 115)
    texts = dict(zip(heights.index, names, strict=True))
    reach, gap = -np.inf, ax.get_ylim()[1] * (0.26 if details else 0.1)
    for name, end in heights.dropna().sort_values().items():
        reach = max(end, reach + gap)
        text = f"{texts[name]} {details.get(name, '')}".strip()
        add_label(ax, text, (x, reach), (9, 0), va="center", **BOLD if name == strong else GREY)


def label_totals(ax: Axes, wide: DataFrame, percent: bool) -> None:
    """Name what goes up and what goes down, each with its total, above and below the columns."""
    low, high = ax.get_ylim()
    ax.set_yticks([tick for tick in ax.get_yticks() if low <= tick <= high])
    ax.set_ylim(low - 0.16 * (high - low), high + 0.16 * (high - low))  # room for the names
    for name, colour, edge in zip(wide, (STRONG, OTHER), ("top", "bottom"), strict=True):
        text = f"{format_name(name).capitalize()}: {format_number(abs(wide[name].sum()), percent)}"
        look = BOLD | {"va": edge, "color": colour, "xycoords": "axes fraction"}
        add_label(ax, text, (0, edge == "top"), **look)
    ax.axhline(0, color=QUIET, linewidth=1)
    ax.spines.bottom.set_visible(False)
    ax.tick_params(length=0, pad=8)


def draw_legend(ax: Axes, colours: dict[str, str]) -> None:
    """Write names, each with its colour, in a row above the axes."""
    used = 0
    for name, colour in colours.items():
        look = {"xycoords": "axes fraction", "va": "bottom"}
        add_label(ax, "■", (0, 1), (used, 6), color=colour, **look)
        used += 16
        label = add_label(ax, format_name(name), (0, 1), (used, 6), **GREY, **look)
        used += 14 + fit_label(label, 120)
