"""Charts: the numbers drawn are the numbers given, and every file is the same bytes each time."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import warnings
from decimal import Decimal
from xml.etree import ElementTree

import IPython.display
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from lib import ROOT, charts

DAYS = [datetime.date(2018, 11, 1) + datetime.timedelta(day) for day in range(30)]
HOURS = pd.DataFrame(
    [(weekday, hour, max(0, hour - 3) * weekday) for weekday in range(1, 8) for hour in range(24)],
    columns=["weekday", "hour", "plays"],
)
LEVELS = pd.DataFrame(
    [
        (day, level, n * size)
        for n, day in enumerate(DAYS)
        for level, size in (("free", 2), ("paid", 9))
    ],
    columns=["day", "level", "plays"],
)
CHANGES = pd.DataFrame({"day": DAYS, "upgrades": range(30), "downgrades": range(60, 30, -1)})
SONGS = pd.DataFrame(
    [
        ("You're The One", "Dwight Yoakam", 37),
        ("$ave Dat Money $x_1^2$ <b>&amp;</b> -- ]]>", "A$AP Rocky & Fetty Wap", 28),
        ("Horn Concerto No. 4 in E flat K495: II. Romance (Andante cantabile)" * 9, "W" * 99, 11),
        ("千本桜 🎉", None, 1),
        ("Bell\x07, line\nbreak\u202e", "Кино, حب", 0),
    ],
    columns=["song_title", "artist_name", "plays"],
)
FORMS = {
    "heatmap": (HOURS, lambda frame: charts.heatmap(frame, x="hour", y="weekday", value="plays")),
    "lines": (LEVELS, lambda frame: charts.lines(frame, x="day", y="plays", series="level")),
    "line": (CHANGES, lambda frame: charts.lines(frame, x="day", y="upgrades", percent=True)),
    "columns": (CHANGES, lambda frame: charts.columns(frame, x="day", y="upgrades")),
    "up and down": (
        CHANGES,
        lambda frame: charts.columns(frame, x="day", y="upgrades", down="downgrades"),
    ),
    "bars": (
        SONGS,
        lambda frame: charts.bars(frame, label="song_title", detail="artist_name", value="plays"),
    ),
}
TEXTS = {
    "title": "Listeners who pay start 82 % of all plays, though they are only one in four",
    "subtitle": "Plays by day, and level in force when played",
    "source": "Sparkify sample data",
    "alt": "Two lines; the one of the paid level is far above",
}
forms = pytest.mark.parametrize(("frame", "draw"), FORMS.values(), ids=FORMS)


@pytest.fixture
def shown(monkeypatch) -> list:
    """Catch what a notebook would show."""
    pictures = []
    monkeypatch.setattr(IPython.display, "display", pictures.append)
    return pictures


def drawn(name: str, frame=None):
    """Return the axes of a form drawn from a frame."""
    usual, draw = FORMS[name]
    return draw(usual if frame is None else frame).axes[0]


def words(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def heights(ax) -> list[float]:
    return [bar.get_height() for bar in ax.patches]


# What finish() promises


@pytest.mark.parametrize("missing", TEXTS)
@pytest.mark.parametrize("empty", ["", " \n", None])
def test_finish_demands_each_text(missing, empty, tmp_path):
    fig = drawn("columns").figure
    with pytest.raises(ValueError, match=rf"\b{missing}\b"):
        charts.finish(fig, **TEXTS | {missing: empty}, to=tmp_path / "chart")
    assert not list(tmp_path.iterdir())


def test_finish_saves_both_files_and_shows_the_png_once_with_its_alt_text(tmp_path, shown):
    charts.finish(drawn("columns").figure, **TEXTS, to=tmp_path / "new" / "plays.2018")
    png, svg = tmp_path / "new" / "plays.2018.png", tmp_path / "new" / "plays.2018.svg"
    assert Image.open(png).width == 1200
    assert ElementTree.parse(svg).findtext("{*}title") == TEXTS["title"]
    (picture,) = shown
    assert picture.data == png.read_bytes()
    assert picture._repr_png_()[1] == {"alt": TEXTS["alt"], "width": 600}
    assert png.stat().st_size < 100_000


def test_files_are_the_same_bytes_in_another_process_under_other_settings(tmp_path):
    code = """
import sys, lib.charts
assert not {"pandas", "matplotlib.pyplot"} & set(sys.modules), "importing charts became slow"
import matplotlib, tests.test_charts as test
if sys.argv[2] == "mine":
    matplotlib.rcParams.update({"font.size": 30, "savefig.dpi": 50, "svg.fonttype": "none"})
for name in "heatmap", "lines", "up and down", "bars":
    frame, draw = test.FORMS[name]
    lib.charts.finish(draw(frame), **test.TEXTS, to=sys.argv[1] + "/" + name)
"""
    runs = []
    for settings in ("usual", "mine"):
        command = [sys.executable, "-c", code, str(tmp_path / settings), settings]
        env = os.environ | {"PYTHONHASHSEED": str(len(runs)), "PYTHONPATH": str(ROOT)}
        runs.append(subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL))
    assert [run.wait() for run in runs] == [0, 0]
    for file in (tmp_path / "usual").iterdir():
        assert file.read_bytes() == (tmp_path / "mine" / file.name).read_bytes(), file.name
    assert len(list((tmp_path / "mine").iterdir())) == 8


@forms
def test_nothing_is_cut_or_covered(frame, draw, tmp_path, shown):
    fig = draw(frame)
    charts.finish(fig, **TEXTS, to=tmp_path / "chart")
    title, subtitle, source = (text.get_window_extent() for text in fig.texts)
    body = fig.axes[0].get_tightbbox()
    assert title.x0 == subtitle.x0 == source.x0
    assert fig.bbox.y1 > title.y1 > title.y0 >= subtitle.y1
    assert subtitle.y0 > body.y1 > body.y0 > source.y1 > source.y0 > fig.bbox.y0
    for text in (*fig.texts, *fig.axes[0].texts):
        box = text.get_window_extent()
        assert fig.bbox.x0 <= box.x0 <= box.x1 <= fig.bbox.x1, text


def test_a_readers_own_settings_stay_as_they_are(tmp_path, shown):
    with mpl.rc_context({"font.size": 7, "text.parse_math": True}):
        before = dict(mpl.rcParams)
        charts.finish(drawn("lines").figure, **TEXTS, to=tmp_path / "chart")
        assert dict(mpl.rcParams) == before


# The numbers


def test_a_heatmap_holds_the_numbers_given_by_weekday_name_and_hour():
    ax = drawn("heatmap", HOURS.sample(frac=1, random_state=1))
    given = HOURS.plays.to_numpy().reshape(7, 24)
    assert np.array_equal(ax.collections[0].get_array().reshape(7, 24), given)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(charts.WEEKDAYS)
    assert [tick.get_text() for tick in ax.get_xticklabels()][:3] == ["00:00", "04:00", "08:00"]
    assert ax.yaxis_inverted()  # Monday on top


def test_cells_with_zero_are_white_with_a_dot_and_the_lowest_others_are_not():
    ax = drawn("heatmap")
    mesh, dots = ax.collections[0], ax.lines[0]
    mesh.update_scalarmappable()
    colours = np.array([to_hex(colour) for colour in mesh.get_facecolor()])
    assert set(colours[HOURS.plays == 0]) == {"#ffffff"}
    assert "#ffffff" not in colours[HOURS.plays > 0]
    assert len(dots.get_xdata()) == (HOURS.plays == 0).sum()


def test_a_heatmap_names_the_ends_of_its_scale_and_outlines_the_highest_cell():
    ax = drawn("heatmap")
    assert words(ax) == ["none", "1", "140 plays"]
    assert ax.patches[0].get_xy() == (23, 6)


def test_lines_hold_the_numbers_given_and_are_named_at_their_ends():
    ax = charts.lines(LEVELS, x="day", y="plays", series="level", strong="free").axes[0]
    by_colour = {line.get_color(): list(line.get_ydata()) for line in ax.lines}
    assert by_colour[charts.STRONG] == list(LEVELS[LEVELS.level == "free"].plays)
    assert by_colour[charts.CONTEXT] == list(LEVELS[LEVELS.level == "paid"].plays)
    assert words(ax) == ["58", "Free", "Paid"]
    assert ax.get_ylim()[0] == 0


def test_lines_that_end_at_the_same_place_have_names_apart():
    frame = LEVELS.assign(plays=50)
    names = drawn("lines", frame).texts[-2:]
    low, high = (name.get_window_extent() for name in names)
    assert high.y0 > low.y1


def test_a_missing_day_is_a_gap_in_a_line():
    (line,) = drawn("line", CHANGES.drop(index=3)).lines
    assert len(line.get_ydata()) == 30
    assert np.isnan(line.get_ydata()[3])


def test_columns_hold_the_numbers_given_and_name_the_largest():
    ax = drawn("columns")
    assert heights(ax) == list(CHANGES.upgrades)
    assert words(ax) == ["29"]


def test_columns_go_up_and_down_and_give_both_totals():
    ax = drawn("up and down")
    assert heights(ax) == [*CHANGES.upgrades, *-CHANGES.downgrades]
    assert words(ax) == ["Upgrades: 435", "Downgrades: 1,365"]


def test_bars_hold_the_numbers_given_in_their_order_the_first_in_colour():
    ax = drawn("bars")
    assert [bar.get_width() for bar in ax.patches] == list(SONGS.plays)
    first, *others = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert (first, set(others)) == (charts.STRONG, {charts.CONTEXT})
    assert ax.yaxis_inverted()
    assert words(ax)[:3] == ["You're The One", "Dwight Yoakam", "37"]


def test_numbers_come_as_decimals_and_days_in_any_order():
    frame = CHANGES.assign(upgrades=[Decimal(n) for n in CHANGES.upgrades])[::-1]
    assert heights(drawn("columns", frame)) == list(CHANGES.upgrades)


def test_shares_are_shown_as_percentages():
    frame = CHANGES.assign(upgrades=CHANGES.upgrades / 1000)
    ax = charts.columns(frame, x="day", y="upgrades", percent=True).axes[0]
    assert words(ax) == ["2.9%"]
    ax.figure.draw_without_rendering()
    assert [tick.get_text() for tick in ax.get_yticklabels()][:3] == ["0%", "1%", "2%"]


# The texts


def test_labels_are_shown_as_they_are_written(tmp_path, shown):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of glyphs that the font lacks
        fig = drawn("bars").figure
        charts.finish(fig, **TEXTS, to=tmp_path / "songs")
    texts = fig.axes[0].texts
    assert not any(text.get_parse_math() for text in texts)
    written = words(fig.axes[0])
    assert "$ave Dat Money $x_1^2$ <b>&amp…" in written
    assert "□□□ □" in written
    assert "Bell, line break" in written
    assert "Кино, حب" in written
    ElementTree.parse(tmp_path / "songs.svg")


def test_a_long_label_is_cut_once_and_fills_the_width():
    ax = charts.bars(SONGS.iloc[2:3], label="song_title", value="plays").axes[0]
    label, number = ax.texts
    assert label.get_text().endswith("…")
    assert 0.9 < label.get_window_extent().width / ax.figure.bbox.width < 0.96
    assert number.get_text() == "11"


@forms
def test_an_empty_frame_says_no_data(frame, draw):
    for empty in (frame.head(0), pd.DataFrame()):
        assert words(draw(empty).axes[0]) == ["no data"]


@forms
def test_a_single_row_is_drawn_and_so_are_zeros_and_nulls(frame, draw):
    numbers = frame.select_dtypes("number").columns.drop(["weekday", "hour"], errors="ignore")
    zeros, nulls = frame.assign(**dict.fromkeys(numbers, 0)), frame.assign(**dict.fromkeys(numbers))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for some in (frame.head(1), zeros, nulls):
            charts.styled(draw(some).draw_without_rendering)()


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["Coldplay"], "Coldplay"),
        (["Coldplay", "Kings Of Leon"], "Coldplay and Kings Of Leon"),
        (["A", "B", "C", "D"], "A, B and 2 more"),
        ([], ""),
    ],
)
def test_those_who_share_the_lead_are_all_counted(names, title):
    assert charts.listed(names) == title
