"""Numbers and sentences of 04_analyse: the headline, the quality of the data, what was run."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from lib.analyse.labels import format_number
from lib.config import SOURCES, Settings, shorten_place
from lib.warehouse.base import Warehouse

SHARE = "paid_share"
FIGURES = {
    "plays": "Plays",
    "listeners": "Listeners",
    SHARE: "Played while paid",
    "plays_per_listener": "Plays per listener",
}
PACKAGES = ("sparkify-dwh", "duckdb", "redshift-connector", "pandas", "matplotlib")
UNKNOWN = "unknown"


def write_headline(
    warehouse: Warehouse, settings: Settings, folder: Path, audits: Mapping[str, int]
) -> dict[str, pd.DataFrame]:
    """Write `folder`/headline.json and return its tables: figures, quality and run.

    The report, the journal and the page over all runs take their numbers from this file.
    folder: the run's. audits: the number of rows that each audit found.
    """
    tables = {
        "figures": compare_weeks(warehouse.analysis("headline").to_dict("records")),
        "quality": check_quality(warehouse, audits),
        "run": describe_run(warehouse, settings, folder.name),
    }
    rows = {name: table.to_dict("records") for name, table in tables.items()}
    text = json.dumps(rows, indent=2, ensure_ascii=False)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "headline.json").write_text(text + "\n", encoding="utf-8")
    return tables


def compare_weeks(weeks: list[dict]) -> pd.DataFrame:
    """Return the last week's figures and how they changed, one row a figure, none without a week.

    weeks: the rows of sql/analysis/headline.sql, which says what counts as a week; last one first.
    Columns: figure, period, value, change, before (what the change is measured from); the last two
    are '' when there is no complete week before.
    """
    rows = [
        (title, format_days(*list(weeks[0].values())[:2]), *compare_figure(name, *weeks))
        for name, title in FIGURES.items()
        if weeks
    ]
    return pd.DataFrame(rows, columns=["figure", "period", "value", "change", "before"])


def compare_figure(name: str, week: dict, before: dict | None = None) -> tuple[str, str, str]:
    """Return a figure of a week, how it changed on the week before, and what it was then.

    A share changes by percentage points, everything else by per cent.
    """
    now, then = week[name], before[name] if before else None
    value = "–" if pd.isna(now) else format_number(now, name == SHARE)
    if pd.isna(now) or pd.isna(then):
        return value, "", ""
    if name == SHARE:
        change = f"{(now - then) * 100:+.1f} points"
    else:
        change = f"{now / then - 1:+.1%}" if then else "new"
    change = "unchanged" if change[1:].startswith("0.0") else change.replace("-", "−")
    days = format_days(before["first_day"], before["last_day"])
    days = days.removesuffix(f" {week['last_day'].year}")
    return value, change, f"{format_number(then, name == SHARE)} on {days}"


def format_days(first: object, last: object, partial: Iterable = ()) -> str:
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


def check_quality(warehouse: Warehouse, audits: Mapping[str, int]) -> pd.DataFrame:
    """Return how good the data is, over everything that was ever loaded, one row a check.

    audits: the number of rows that each audit found. Columns: check, finding, state (ok, look, '').
    """
    plays, matched = warehouse.coverage()
    loads = warehouse.rows("status/loads")
    files = " and ".join(f"{count:,} of {kind}" for kind, count, *_ in loads)
    size, rows, rejects = (sum(load[column] for load in loads) for column in (2, 3, 4))
    ((first, last),) = warehouse.rows("status/freshness")
    share = f"{matched / plays:.1%}" if plays else "–"
    left_out = f"None of {rows:,} records", "ok"
    if rejects:
        part = f"{rejects:,} of {rows + rejects:,} records ({rejects / (rows + rejects):.2%})"
        left_out = f"{part}; see load_rejects", "look"
    audited = f"All {len(audits)} passed", "ok"
    if failed := [f"{name} found {found:,}" for name, found in audits.items() if found]:
        audited = f"{len(failed)} of {len(audits)} failed: {', '.join(failed)}", "look"
    checks = [
        ("Coverage", f"{share} of {plays:,} plays match a song of the catalogue", ""),
        ("Left out", *left_out),
        ("Audits", *audited),
        ("Events", f"{format_time(first)} to {format_time(last)}" if first else "none", ""),
        ("Last load", format_time(max(at for *_, at in loads)) if loads else "none", ""),
        ("Files", f"{files}, {size / 1e6:,.1f}\u00a0MB" if loads else "none", ""),
    ]
    return pd.DataFrame(checks, columns=["check", "finding", "state"])


def describe_run(warehouse: Warehouse, settings: Settings, run: str) -> pd.DataFrame:
    """Return what was run on what and when, one row a fact: columns fact, value.

    Of a local data folder only the name is shown, not the path, which may hold a person's name.
    """
    target, engine, *_ = str(warehouse).split(" · ")
    versions = [f"Python {platform.python_version()}", *(f"{p} {version(p)}" for p in PACKAGES)]
    facts = {
        "Run": run,
        "Made": format_time(datetime.now(UTC)),
        "Warehouse": f"{target}, {engine}",
        "Data": warehouse.source,
        "Events from": shorten_place(settings.log_data),
        "Songs from": shorten_place(settings.song_data),
        "Versions": ", ".join(versions),
    }
    if facts["Data"] != SOURCES[settings.data_kind]:  # loaded from folders that are not named now
        del facts["Events from"], facts["Songs from"]
    return pd.DataFrame(list(facts.items()), columns=["fact", "value"])


def write_caution(warehouse: Warehouse) -> str:
    """Return the sentence that says where the figures would mislead."""
    if warehouse.data_kind == "sample":
        return (
            "All of this data is invented: a generator made the listeners, the songs and the "
            "plays, so the figures show what the warehouse can answer, and nothing of real people."
        )
    return (
        "If these are Sparkify's public logs, their users are simulated and only the songs are "
        "real: the figures show how a simulation behaves, not how people listen."
    )


def format_time(at: datetime) -> str:
    """Write a time (UTC)."""
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def list_names(names: Sequence[str], most: int = 2) -> str:
    """Join names for a title: up to `most` of them, then how many more there are."""
    names = [*map(str, names)]
    if len(names) <= most:
        return " and ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most:,} more"


def count_by_agent(frame: pd.DataFrame, part: str, least: int) -> pd.DataFrame:
    """Count users, plays and events by platform or browser, families without versions.

    frame: columns user_agent, user_id ('' when logged out), plays and events, as the analysis
    by_platform gives them. part: "platform" (such as Windows) or "browser" (such as Firefox).
    least: platforms of fewer users are one row, and so are those not known.
    Returns the columns `part`, users (different people), plays, events and `groups`, how many
    platforms are in the row; the most users first.
    """
    import ua_parser

    parse = ua_parser.parse_os if part == "platform" else ua_parser.parse_user_agent
    agents = frame["user_agent"].fillna("")
    families = {agent: getattr(parse(agent), "family", UNKNOWN) for agent in agents.unique()}
    people = frame["user_id"].where(frame["user_id"] != "")
    frame = frame.assign(user_id=people, family=agents.map(families))
    users = frame.groupby("family")["user_id"].nunique()
    few = users.index[(users < least) & (users.index != UNKNOWN)]
    other = f"others, under {least} users each"
    frame[part] = frame["family"].where(~frame["family"].isin(few), other)
    counts = {"plays": ("plays", "sum"), "events": ("events", "sum")}
    counts = {"users": ("user_id", "nunique"), **counts, "groups": ("family", "nunique")}
    counted = frame.groupby(part, as_index=False).agg(**counts)
    return counted.sort_values(["users", part], ascending=[False, True], ignore_index=True)
