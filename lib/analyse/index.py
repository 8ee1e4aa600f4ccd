"""The page over all runs of a folder: when, on what, how each ended, and its report."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader

from lib.analyse import page


def write(runs: Path) -> Path:
    """Write `runs`/index.html over the runs in that folder, newest first."""
    env = Environment(loader=FileSystemLoader(page.TEMPLATES), autoescape=True)
    listed = sorted(filter(None, map(entry, runs.iterdir())), key=lambda one: one["name"])
    listed.sort(key=lambda one: one["started"] or datetime.min.replace(tzinfo=UTC), reverse=True)
    resources = {"metadata": {"name": "Sparkify · all runs"}} | page.parts()
    html = env.get_template("index.html.j2").render(resources=resources, runs=listed)
    return page.write(html, runs / "index.html")


def entry(folder: Path) -> dict | None:
    """Return one run as the page shows it, None for a folder that is none.

    A journal that can't be read is said to be so; of an older one, what it does not hold is ''.
    """
    journal, report = folder / "journal.json", folder / "report.html"
    if folder.is_symlink() or not os.path.lexists(journal):  # runs/latest, or no run
        return None
    unreadable = {"name": folder.name, "started": None, "status": "journal can't be read"}
    try:
        if not journal.is_file():
            return unreadable  # reading a pipe would wait for ever
        about = described(json.loads(journal.read_text(encoding="utf-8")))
    except Exception:  # noqa: BLE001 - any program may have written it
        return unreadable
    link = f"./{quote(os.fsencode(folder.name))}/report.html" if os.path.isfile(report) else ""
    return unreadable | about | {"link": link}


def described(journal: dict) -> dict:
    """Return what a journal says of its run."""
    notebooks = journal["notebooks"]
    failed = next((one for one in notebooks if one["status"] == "failed"), None)
    where = f" in {failed['name']}, “{failed.get('heading', '')}”" if failed else ""
    states = {"completed": "ok", "running": "running, or cut off", "failed": f"failed{where}"}
    targets = [given["target"] for given in journal["parameters"].values() if "target" in given]
    (plays,) = [one for one in journal.get("headline", []) if one["figure"] == "Plays"] or [{}]
    return {
        "started": datetime.fromisoformat(journal["started"]).astimezone(UTC),
        "status": states[journal["status"]],
        "target": str(journal.get("target", targets[0] if targets else "")),
        "data": str(journal.get("data", "")),
        "minutes": sum(one.get("seconds", 0) for one in notebooks) / 60,
        "plays": str(plays.get("value", "")),
        "period": str(plays.get("period", "")),
    }
