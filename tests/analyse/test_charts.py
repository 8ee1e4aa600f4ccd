"""Charts: the numbers drawn are the numbers given, and every file is the same bytes each time.

Each form's look is compared with a picture in tests/analyse/baseline; after a change that is meant,
`python -m tests.analyse.test_charts` draws these anew.
"""

from __future__ import annotations

import csv
import datetime
import os
import subprocess
import sys
import tempfile
import warnings
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import IPython.display
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.dates import num2date
from matplotlib.text import Text
from PIL import Image

from lib import ROOT
from lib.analyse import charts, colours, labels, style

BASELINE = Path(__file__).with_name("baseline")

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
COHORTS = pd.DataFrame(
    [
        (DAYS[7 * cohort + 4], week, [1.0, 0.625, 0.4, 0.002, 0.0][week], 40 - cohort)
        for cohort in range(4)
        for week in range(5 - cohort)
    ],
    columns=["cohort", "weeks_since", "share", "users"],
)
SURVIVAL = pd.DataFrame(
    [
        (level, day, round(base**day, 3), 50 - 2 * day)
        for level, base in (("free", 0.98), ("paid", 0.95))
        for day in range(0, 21, 2)
    ],
    columns=["level", "days", "share", "at_risk"],
)
STATES = pd.DataFrame(
    [("CA", 6820), ("NY", 0), ("TX", None), ("ME", 57.25), ("HI", 1234567), ("PR", 3), (None, 8)],
    columns=["state", "plays"],
)
SESSIONS = pd.DataFrame(
    [("paid", 61.5, 20, 120), ("free", 12, 4, 31.5), ("W" * 99, 0, 0, 0), ("none", None, 1, 2)],
    columns=["level", "median", "low", "high"],
)
ERRORS = pd.DataFrame(
    [(day, n / 100, n / 200, n / 50) for n, day in enumerate(DAYS)],
    columns=["day", "rate", "low", "high"],
)
UNEQUAL = pd.DataFrame({"users": [0.25, 0.5, 0.75, 1], "plays": [0.02, 0.1, 0.3, 1]})
SPANS = pd.DataFrame(
    [
        (f"User {user}", since, until, level)
        for user in range(22)
        for since, until, level in (
            (pd.Timestamp(2018, 11, 1 + user), pd.Timestamp(2018, 11, 3 + user, 12), "free"),
            (pd.Timestamp(2018, 11, 3 + user, 12), None, "paid"),
        )
    ],
    columns=["user", "since", "until", "level"],
)
FUNNEL = pd.DataFrame(
    {"step": ["Visited", "Pressed", "Paid", "Stayed", "Came back"], "users": [400, 97, 1, 0, None]}
)
SPAN = {"low": "low", "high": "high"}
FORMS = {  # frame, form, and what is drawn
    "heatmap": (HOURS, charts.heatmap, {"x": "hour", "y": "weekday", "value": "plays"}),
    "lines": (LEVELS, charts.lines, {"x": "day", "y": "plays", "series": "level"}),
    "line": (CHANGES, charts.lines, {"x": "day", "y": "upgrades", "percent": True}),
    "columns": (CHANGES, charts.columns, {"x": "day", "y": "upgrades"}),
    "up and down": (CHANGES, charts.columns, {"x": "day", "y": "upgrades", "down": "downgrades"}),
    "bars": (
        SONGS,
        charts.bars,
        {"label": "song_title", "detail": "artist_name", "value": "plays"},
    ),
    "funnel": (FUNNEL, charts.bars, {"label": "step", "value": "users", "share": True}),
    "triangle": (
        *(COHORTS, charts.triangle),
        {"x": "weeks_since", "y": "cohort", "value": "share", "n": "users"},
    ),
    "steps": (
        *(SURVIVAL, charts.steps),
        {"x": "days", "y": "share", "n": "at_risk", "series": "level"},
    ),
    "tiles": (STATES, charts.tiles, {"state": "state", "value": "plays"}),
    "intervals": (SESSIONS, charts.intervals, {"label": "level", "value": "median", **SPAN}),
    "intervals by day": (
        *(ERRORS, charts.intervals),
        {"label": "day", "value": "rate", "percent": True, **SPAN},
    ),
    "lorenz": (UNEQUAL, charts.lorenz, {"x": "users", "y": "plays"}),
    "timeline": (
        *(SPANS, charts.timeline),
        {"label": "user", "start": "since", "end": "until", "kind": "level"},
    ),
}
PLACES = ["weekday", "hour", "weeks_since", "days"]  # columns that say where, not how many
TEXTS = {
    "title": "Listeners who pay start 82 % of all plays, though they are only one in four",
    "subtitle": "Plays by day, and level in force when played",
    "source": "Sparkify sample data",
    "alt": "Two lines; the one of the paid level is far above",
}
names = pytest.mark.parametrize("name", FORMS)


@pytest.fixture
def shown(monkeypatch) -> list:
    """Catch what a notebook would show."""
    pictures = []
    monkeypatch.setattr(IPython.display, "display", pictures.append)
    return pictures


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Finish each form once, and return the figure and the path of its files without ending."""
    folder, done = tmp_path_factory.mktemp("charts"), {}

    def finish(name: str) -> tuple:
        if name not in done:
            done[name] = drawn(name).figure
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(IPython.display, "display", lambda picture: None)
                charts.finish(done[name], **TEXTS, to=folder / name)
        return done[name], folder / name

    return finish


def small(picture: Path) -> Image.Image:
    """Return a picture of a chart at the width at which a notebook shows it."""
    return Image.open(picture).convert("RGB").reduce(2)


def drawn(name: str, frame=None, **changes):
    """Return the axes of a form, drawn from its usual frame and options unless changed."""
    usual, draw, options = FORMS[name]
    return draw(usual if frame is None else frame, **options | changes).axes[0]


def words(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def ticks(axis) -> list[str]:
    return [tick.get_text() for tick in axis.get_ticklabels()]


def heights(ax) -> list[float]:
    return [bar.get_height() for bar in ax.patches]


def bars_of(ax) -> LineCollection:
    return next(each for each in ax.collections if isinstance(each, LineCollection))


# What finish() promises


def test_finish_saves_its_files_and_shows_the_png_once_with_its_alt_text(tmp_path, shown):
    charts.finish(drawn("columns").figure, **TEXTS, to=tmp_path / "new" / "plays.2018")
    png, svg = tmp_path / "new" / "plays.2018.png", tmp_path / "new" / "plays.2018.svg"
    assert Image.open(png).width == 1200
    assert ElementTree.parse(svg).findtext("{*}title") == TEXTS["title"]
    (picture,) = shown
    assert picture.data == png.read_bytes()
    assert picture._repr_png_()[1] == {"alt": TEXTS["alt"], "width": 600}
    assert png.stat().st_size < 100_000


def test_files_are_the_same_bytes_in_another_process_under_other_settings(finished, tmp_path):
    code = """
import sys, lib.analyse.charts
assert "matplotlib.pyplot" not in sys.modules, "importing charts became slow"
import matplotlib, tests.analyse.test_charts as test
matplotlib.rcParams.update({"font.size": 30, "savefig.dpi": 50, "svg.fonttype": "none"})
for name in sys.argv[2:]:
    lib.analyse.charts.finish(test.drawn(name).figure, **test.TEXTS, to=sys.argv[1] + "/" + name)
"""
    some = ["heatmap", "lines", "bars", "tiles", "lorenz", "timeline"]
    command = [sys.executable, "-c", code, str(tmp_path), *some]
    env = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.DEVNULL) as run:
        folder = {finished(name)[1].parent for name in some}.pop()
    assert run.returncode == 0
    for file in tmp_path.iterdir():
        assert file.read_bytes() == (folder / file.name).read_bytes(), file.name
    assert len(list(tmp_path.iterdir())) == 3 * len(some)


@names
def test_nothing_is_cut_or_covered_or_too_small_for_a_phone(name, finished):
    fig, _ = finished(name)
    (ax,) = fig.axes
    title, subtitle, source = (text.get_window_extent() for text in fig.texts)
    body = ax.get_tightbbox()
    assert title.x0 == subtitle.x0 == source.x0
    assert fig.bbox.y1 > title.y1 > title.y0 >= subtitle.y1
    assert subtitle.y0 > body.y1 > body.y0 > source.y1 > source.y0 > fig.bbox.y0
    texts = [text for text in fig.findobj(Text) if text.get_text() and text.get_visible()]
    for text in (*fig.texts, *ax.texts):
        box = text.get_window_extent()
        assert fig.bbox.x0 <= box.x0 <= box.x1 <= fig.bbox.x1, text
    pixels = 375 / (fig.get_figwidth() * 72)  # a point's on a phone
    assert min(text.get_fontsize() for text in texts) * pixels >= 9
    for one, other in combinations(ax.texts, 2):
        boxes = (text.get_window_extent().padded(-2) for text in (one, other))
        assert not next(boxes).overlaps(next(boxes)), (one, other)


@names
def test_a_chart_looks_as_before(name, finished):
    now = np.asarray(small(finished(name)[1].with_suffix(".png")), dtype=float)
    before = np.asarray(Image.open(BASELINE / f"{name}.png").convert("RGB"), dtype=float)
    assert now.shape == before.shape
    assert np.sqrt(np.mean((now - before) ** 2)) < 2.5


@names
def test_the_frame_drawn_stands_beside_the_chart_value_by_value(name, finished):
    frame, *_ = FORMS[name]
    file = finished(name)[1].with_suffix(".csv")
    dates = [column for column in frame if column in ("day", "cohort", "since", "until")]
    read = pd.read_csv(file, parse_dates=dates, keep_default_na=False, na_values=[""])
    given = frame.astype(dict.fromkeys(dates, "datetime64[us]")).convert_dtypes()
    pd.testing.assert_frame_equal(read.convert_dtypes(), given, check_dtype=False)


def test_values_are_kept_exactly_in_the_csv_whatever_a_spreadsheet_makes_of_them(tmp_path, shown):
    texts = ["=1+1", "+44", "-", "@x", 'a "b", c', "d\re\nf", " ", "千"]
    frame = pd.DataFrame({"title": texts, "plays": [Decimal("0.10"), 1 / 3, *range(6)]})
    fig = charts.bars(frame, label="title", value="plays")
    frame.loc[0, "title"] = "changed after it was drawn"
    charts.finish(fig, **TEXTS, to=tmp_path / "chart")
    lines = (tmp_path / "chart.csv").read_bytes().decode().split("\n")
    assert lines[:3] == ['"title","plays"', '"=1+1",0.10', f'"+44",{1 / 3}']
    with open(tmp_path / "chart.csv", newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)] == ["title", *texts]


def test_a_readers_own_figure_and_settings_are_their_own(tmp_path, shown):
    with mpl.rc_context({"font.size": 7, "text.parse_math": True}):
        before, fig = dict(mpl.rcParams), mpl.figure.Figure(layout="constrained")
        fig.add_subplot().plot([1, 2])
        charts.finish(fig, **TEXTS, to=tmp_path / "own")
        charts.finish(drawn("lines").figure, **TEXTS, to=tmp_path / "lines")
        assert dict(mpl.rcParams) == before
    assert {file.name for file in tmp_path.glob("own*")} == {"own.png", "own.svg"}, "and no CSV"


# The numbers


def test_a_heatmap_holds_the_numbers_given_by_weekday_name_and_hour():
    ax = drawn("heatmap", HOURS.sample(frac=1, random_state=1))
    given, mesh = HOURS.plays.to_numpy().reshape(7, 24), ax.collections[0]
    assert np.array_equal(mesh.get_array().reshape(7, 24), given)
    assert ticks(ax.yaxis) == list(labels.WEEKDAYS)
    assert ticks(ax.xaxis)[:3] == ["00:00", "04:00", "08:00"]
    assert ax.yaxis_inverted(), "Monday on top"
    assert words(ax) == ["none", "1", "140 plays"], "the ends of the scale"
    assert ax.patches[0].get_xy() == (23, 6), "the highest is outlined"


def test_lines_hold_the_numbers_given_and_are_named_at_their_ends():
    ax = drawn("lines", strong="free")
    by_colour = {line.get_color(): list(line.get_ydata()) for line in ax.lines}
    assert by_colour[colours.STRONG] == list(LEVELS[LEVELS.level == "free"].plays)
    assert by_colour[colours.CONTEXT] == list(LEVELS[LEVELS.level == "paid"].plays)
    assert words(ax) == ["58", "Free", "Paid"]
    assert ax.get_ylim()[0] == 0
    (line,) = drawn("line", CHANGES.drop(index=3)).lines
    assert np.isnan(line.get_ydata()[3]), "a missing day is a gap"
    same_end = drawn("lines", LEVELS.assign(plays=50)).texts[-2:]
    low, high = (name.get_window_extent() for name in same_end)
    assert high.y0 > low.y1


def test_columns_hold_the_numbers_given_in_any_order_and_type():
    ax = drawn("columns", CHANGES.assign(upgrades=[*map(Decimal, CHANGES.upgrades)])[::-1])
    assert (heights(ax), words(ax)) == (list(CHANGES.upgrades), ["29"])
    ax = drawn("up and down")
    assert heights(ax) == [*CHANGES.upgrades, *-CHANGES.downgrades]
    assert words(ax) == ["Upgrades: 435", "Downgrades: 1,365"]
    ax = drawn("columns", CHANGES.assign(upgrades=CHANGES.upgrades / 1000), percent=True)
    ax.figure.draw_without_rendering()
    assert (words(ax), ticks(ax.yaxis)[:3]) == (["2.9%"], ["0%", "1%", "2%"])


def test_bars_hold_the_numbers_given_in_their_order_the_first_in_colour():
    ax = drawn("bars")
    assert [bar.get_width() for bar in ax.patches] == list(SONGS.plays)
    first, *others = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert (first, set(others)) == (colours.STRONG, {colours.CONTEXT})
    assert ax.yaxis_inverted()
    assert words(ax)[:3] == ["You're The One", "Dwight Yoakam", "37"]


def test_a_funnel_says_what_share_of_the_first_is_left_and_tells_none_from_unknown():
    said = words(drawn("funnel"))[1::2]
    assert said == ["400", "97 · 24%", "1 · <1%", "0 · 0%", "no data"]


def test_years_between_two_days_add_nothing_to_draw_and_the_days_can_be_seen():
    days = [datetime.date(2001, 1, 1), datetime.date(2018, 11, 1)]
    frame = pd.DataFrame({"day": days, "up": [3, 0], "down": [0, 2], "low": 0, "high": 4})
    (ax,) = charts.columns(frame, x="day", y="up", down="down").axes
    assert heights(ax) == [3, 0, 0, -2]
    left, right = ax.get_xlim()
    assert all(bar.get_width() > 0.001 * (right - left) for bar in ax.patches)
    (ax,) = charts.intervals(frame, label="day", value="up", low="low", high="high").axes
    assert len(bars_of(ax).get_segments()) == 2
    assert bars_of(ax).get_linewidth()[0] >= 1
    (ax,) = charts.lines(frame, x="day", y="up").axes
    assert len(ax.get_xticks()) <= 6
    assert ax.lines[0].get_markersize() >= 3


def test_partial_days_are_rings_that_are_explained():
    frame = LEVELS.assign(part=LEVELS.day.isin([DAYS[0], DAYS[-1]]))
    ax = drawn("lines", frame, partial="part")
    rings = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert sorted(list(ring.get_ydata()) for ring in rings) == [[0, 58], [0, 261]]
    assert ax.get_xlabel() == "○ part of a day only"
    assert drawn("lines", frame.assign(part=False), partial="part").get_xlabel() == ""


def test_a_triangle_holds_each_cohorts_shares_and_size_and_no_future():
    ax = drawn("triangle", COHORTS.sample(frac=1, random_state=1))
    cells = ax.collections[0].get_array()
    wide = COHORTS.pivot(index="cohort", columns="weeks_since", values="share")
    assert np.array_equal(cells.filled(np.nan), wide, equal_nan=True)
    sizes, cohorts = words(ax)[:5], words(ax)[5:10]
    assert sizes == ["users", "40", "39", "38", "37"]
    assert cohorts == ["cohort", "5 Nov", "12 Nov", "19 Nov", "26 Nov"]
    assert words(ax)[10:15] == ["100%", "62%", "40%", "<1%", "0%"]
    assert len(words(ax)) == 10 + len(COHORTS)
    ax = drawn("triangle", COHORTS[COHORTS.weeks_since != 2])
    assert ax.collections[0].get_array()[:, 2].mask.all(), "a week without any row stays empty"


def test_texts_in_cells_can_be_read_on_every_colour():
    def light(colour: str) -> float:  # relative luminance, WCAG 2
        parts = np.array(mpl.colors.to_rgb(colour))
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    mesh = drawn("heatmap").collections[0]
    for number in range(141):
        pair = light(style.choose_ink(mesh, number)), light(mesh.cmap(mesh.norm(number)))
        assert (max(pair) + 0.05) / (min(pair) + 0.05) >= 4.5, number


def test_steps_start_at_all_hold_the_shares_given_and_say_who_is_left():
    ax = drawn("steps", SURVIVAL.sample(frac=1, random_state=1), strong="paid")
    looks = (("free", colours.CONTEXT), ("paid", colours.STRONG))
    for line, (level, colour) in zip(ax.lines, looks, strict=True):
        given = SURVIVAL[SURVIVAL.level == level]
        assert list(line.get_xdata()) == [0, *given.days]
        assert list(line.get_ydata()) == [1, *given.share]
        assert (line.get_color(), line.get_drawstyle()) == (colour, "steps-post")
    assert words(ax) == ["Paid 35.8%\n10 at risk", "Free 66.8%\n10 at risk"]
    assert ax.get_ylim() == (0, 1)


def test_tiles_hold_each_states_number_at_its_place_and_what_is_not_on_the_map():
    ax = drawn("tiles")
    land, cells = (mesh.get_array() for mesh in ax.collections[:2])
    places = {code: at for at, code in np.ndenumerate(labels.STATES) if code != "."}
    assert len(places) == (~land.mask).sum() == 51
    assert (places["AK"], places["ME"], places["FL"]) == ((0, 0), (0, 10), (7, 8))
    known = {code: float(cells[at]) for code, at in places.items() if not cells.mask[at]}
    assert known == {"CA": 6820, "NY": 0, "ME": 57.25, "HI": 1234567}
    said = words(ax)
    numbers = {code: said[said.index(code) + 1] for code in known}
    assert numbers == {"CA": "6,820", "NY": "0", "ME": "57.2", "HI": "1.2m"}
    assert said[-4:] == ["no data", "57.2", "1,234,567 plays", "Not on the map: PR 3, unknown 8"]


def test_intervals_hold_each_rows_value_and_bounds():
    ax = drawn("intervals")
    bars = [tuple(segment[:, 0]) for segment in ax.collections[0].get_segments()]
    assert bars == [(20, 120), (4, 31.5), (0, 0), (1, 2)]
    assert list(ax.lines[0].get_xdata())[:3] == [61.5, 12, 0]
    assert words(ax) == ["61.5", "12", "0", "no data"]
    names = ticks(ax.yaxis)
    assert (names[0], names[2][-1]) == ("paid", "…")
    assert ax.yaxis_inverted()


def test_a_lorenz_curve_starts_at_nothing_and_names_the_lower_half():
    ax = drawn("lorenz", UNEQUAL[::-1])
    equal, curve = ax.lines[:2]
    assert list(equal.get_xdata()) == list(equal.get_ydata()) == [0, 1]
    assert list(curve.get_xdata()) == [0, *UNEQUAL.users]
    assert list(curve.get_ydata()) == [0, *UNEQUAL.plays]
    assert "The lower half of the users\nhas 10% of the plays" in words(ax)


def test_a_timeline_holds_each_span_in_its_kinds_colour_and_counts_who_is_not_drawn():
    ax = drawn("timeline")
    spans = [
        (round(bar.get_y() + 0.3), *map(num2date, bar.get_x() + np.r_[0, bar.get_width()]))
        for bar in ax.patches
    ]
    shown = SPANS[:40]
    assert [row for row, _, _ in spans] == [n // 2 for n in range(40)]
    assert [start.replace(tzinfo=None) for _, start, _ in spans] == list(shown.since)
    last = max(SPANS.since.max(), SPANS.until.max())  # no end: until the last moment known
    assert [end.replace(tzinfo=None) for _, _, end in spans] == list(shown.until.fillna(last))
    faces = [to_hex(bar.get_facecolor()) for bar in ax.patches]
    assert faces == [colours.CONTEXT, colours.STRONG] * 20
    assert words(ax) == ["■", "paid", "■", "free"]
    assert ax.get_xlabel() == "the first 20 of 22"


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


@names
def test_an_empty_frame_a_single_row_zeros_and_nulls_are_drawn(name):
    frame = FORMS[name][0]
    for empty in (frame.head(0), pd.DataFrame()):
        assert words(drawn(name, empty)) == ["no data"]
    numbers = frame.select_dtypes("number").columns.drop(PLACES, errors="ignore")
    zeros, nulls = frame.assign(**dict.fromkeys(numbers, 0)), frame.assign(**dict.fromkeys(numbers))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for some in (frame.head(1), zeros, nulls):
            style.apply_style(drawn(name, some).figure.draw_without_rendering)()


if __name__ == "__main__":
    IPython.display.display = lambda picture: None
    BASELINE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in FORMS:
            charts.finish(drawn(name).figure, **TEXTS, to=Path(folder) / name)
            picture = small(Path(folder) / f"{name}.png").quantize(256, dither=0)
            picture.save(BASELINE / f"{name}.png", optimize=True)
