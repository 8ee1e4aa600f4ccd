"""What a report opens and closes with, each as a DataFrame of texts: the headline figures, how good
the data is, and what was run on what."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from lib.analyse import charts
from lib.config import SOURCES, Settings, named
from lib.load.star import STAGE_AUDITS, STAR_AUDITS, Scope
from lib.warehouse.base import Warehouse

SHARE = "paid_share"
HEADLINE = {
    "plays": "Plays",
    "listeners": "Listeners",
    SHARE: "Played while paid",
    "plays_per_listener": "Plays per listener",
}
PACKAGES = ("sparkify-dwh", "duckdb", "redshift-connector", "pandas", "matplotlib")
PUBLIC = "s3://udacity-dend/"


def headline(warehouse: Warehouse) -> pd.DataFrame:
    """Return the last week's figures and how they changed, one row a figure, none without a week.

    Columns: figure, period, value, change, before (what the change is measured from); the last two
    are '' when there is no complete week before. What counts as a week: sql/analysis/headline.sql.
    """
    weeks = warehouse.analysis("headline").to_dict("records")
    period = [write_days(week["first_day"], week["last_day"]) for week in weeks[:1]]
    rows = [
        (title, *period, written(name, weeks[0]), *changed(name, *weeks))
        for name, title in HEADLINE.items()
        if weeks
    ]
    return pd.DataFrame(rows, columns=["figure", "period", "value", "change", "before"])


def written(name: str, week: dict) -> str:
    """Write one figure of a week; a dash when there is none."""
    value = week[name]
    return "–" if pd.isna(value) else charts.amount(value, name == SHARE)


def changed(name: str, week: dict, before: dict | None = None) -> tuple[str, str]:
    """Return how a figure changed on the week before, and what it was in which days.

    A share changes by percentage points, everything else by per cent.
    """
    if not before or "–" in (written(name, week), was := written(name, before)):
        return "", ""
    now, then = week[name], before[name]
    if name == SHARE:
        change = f"{(now - then) * 100:+.1f} points"
    else:
        change = f"{now / then - 1:+.1%}" if then else "new"
    change = "unchanged" if change[1:].startswith("0.0") else change.replace("-", "−")
    year = f" {week['last_day'].year}"
    days = write_days(before["first_day"], before["last_day"])
    return change, f"{was} on {days.removesuffix(year)}"


def write_days(first: object, last: object, partial: Iterable = ()) -> str:
    """Write a range of days: 24–30 Nov 2018, 29 Oct – 4 Nov 2018, 29 Dec 2018 – 4 Jan 2019.

    partial: the days that are marked as such when they are the first or the last.
    """
    first, last, *others = (date.fromisoformat(str(day)[:10]) for day in (first, last, *partial))
    part = dict.fromkeys(others, " (in part)")
    end = f"{last.day} {last:%b %Y}{part.get(last, '')}"
    if first == last:
        return end
    if (first.year, first.month) == (last.year, last.month) and not {first, last} & part.keys():
        return f"{first.day}–{end}"
    year = f" {first.year}" if first.year < last.year else ""
    return f"{first.day} {first:%b}{year}{part.get(first, '')} – {end}"


def quality(warehouse: Warehouse, settings: Settings) -> pd.DataFrame:
    """Return how good the data is, one row a question: columns check, finding, state.

    The audits are asked now, over everything that was ever loaded. `state`: ok, look, or ''.
    """
    plays, matched = warehouse.coverage()
    loads = warehouse.rows("status/loads")
    files = " and ".join(f"{count:,} of {kind}" for kind, count, *_ in loads)
    size, rows, rejects = (sum(load[column] for load in loads) for column in (2, 3, 4))
    ((first, last),) = warehouse.rows("status/freshness")
    share = f"{matched / plays:.1%}" if plays else "–"
    checks = [
        ("Coverage", f"{share} of {plays:,} plays match a song of the catalogue", ""),
        ("Left out", *left_out(rejects, rows + rejects)),
        ("Audits", *audited(warehouse, settings)),
        ("Events", f"{moment(first)} to {moment(last)}" if first else "none", ""),
        ("Last load", moment(max(at for *_, at in loads)) if loads else "none", ""),
        ("Files", f"{files}, {size / 1e6:,.1f}\u00a0MB" if loads else "none", ""),
    ]
    return pd.DataFrame(checks, columns=["check", "finding", "state"])


def left_out(rejects: int, records: int) -> tuple[str, str]:
    """Say how many records could not be loaded."""
    if not rejects:
        return f"None of {records:,} records", "ok"
    return f"{rejects:,} of {records:,} records ({rejects / records:.2%}); see load_rejects", "look"


def audited(warehouse: Warehouse, settings: Settings) -> tuple[str, str]:
    """Ask every audit over all loads, and say which found something."""
    found = Scope(warehouse, settings, 0).count_offending((*STAGE_AUDITS, *STAR_AUDITS))
    failed = ", ".join(f"{name} found {rows:,}" for name, rows in found.items() if rows)
    if not failed:
        return f"All {len(found)} passed", "ok"
    return f"{sum(map(bool, found.values()))} of {len(found)} failed: {failed}", "look"


def about(warehouse: Warehouse, settings: Settings, out: str) -> pd.DataFrame:
    """Return what was run on what and when, one row a fact: columns fact, value.

    `out`: the run's folder, of which only the name is told; of a local folder of data as well, so
    that no one's home is.
    """
    target, engine, *_ = str(warehouse).split(" · ")
    versions = [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in PACKAGES)]
    facts = {
        "Run": Path(out).name or "interactive",
        "Made": moment(datetime.now(UTC)),
        "Warehouse": f"{target}, {engine}",
        "Data": warehouse.source,
        "Events from": named(settings.log_data),
        "Songs from": named(settings.song_data),
        "Versions": ", ".join(versions),
    }
    if facts["Data"] != SOURCES[settings.data_kind]:  # the data was not named again
        del facts["Events from"], facts["Songs from"]
    return pd.DataFrame(list(facts.items()), columns=["fact", "value"])


def caution(warehouse: Warehouse, settings: Settings) -> str:
    """Return the sentence that says where the figures would mislead."""
    if warehouse.data_kind == "sample":
        return (
            "All of this data is invented: a generator made the listeners, the songs and the "
            "plays, so the figures show what the warehouse can answer, and nothing of real people."
        )
    public = settings.log_data.startswith(PUBLIC)
    logs = "These are Sparkify's public logs" if public else "If these are Sparkify's public logs"
    return (
        f"{logs}{';' if public else ','} their users are simulated and only the songs are real: "
        "the figures show how a simulation behaves, not how people listen."
    )


def moment(at: datetime) -> str:
    """Write a time (UTC)."""
    return f"{at.day} {at:%b %Y, %H:%M} UTC"
