"""The page over all runs: every run once, whatever else lies in the folder."""

import json
import os
import socket
from contextlib import chdir

import pytest
from bs4 import BeautifulSoup

from lib.analyse import index
from tests.browser import faults

EVIL = "<img src=x onerror=alert(1)> & javascript:alert(2)"
HEADLINE = [{"figure": "Plays", "period": "24–30 Nov 2018", "value": "1,655"}]


def journal(status="completed", **more) -> dict:
    return {
        "started": "2026-11-24T22:31:40+00:00",
        "status": status,
        "parameters": {"04_analyse": {"target": "local"}},
        "notebooks": [{"name": "04_analyse", "status": status, "seconds": 90, "heading": "Songs"}],
        **more,
    }


@pytest.fixture
def runs(tmp_path):
    """Runs of every kind, and what is none."""
    whole = journal(target="local", data="Sparkify sample (invented data)", headline=HEADLINE)
    named = {
        "whole": whole,
        "failed": journal("failed", started="2026-11-25T08:00:00+00:00"),
        "killed": journal("running", started="2026-11-23T08:00:00+00:00"),
        EVIL: journal(data=EVIL, target=EVIL, headline=[HEADLINE[0] | {"value": EVIL}]),
        "a list": [],
        "a number for notebooks": journal(notebooks=3),
        "a time that is none": journal(started="yesterday"),
        "a state that is none": journal("excellent"),
    }
    for name, about in named.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "journal.json").write_text(json.dumps(about))
    (tmp_path / "not json").mkdir()
    (tmp_path / "not json" / "journal.json").write_bytes(b"\xff{")
    (tmp_path / "a folder" / "journal.json").mkdir(parents=True)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "file.txt").touch()
    (tmp_path / "latest").symlink_to("whole")
    for name in ("whole", EVIL):
        (tmp_path / name / "report.html").touch()
    index.write(tmp_path)
    return tmp_path


def test_every_run_is_there_once_with_how_it_ended_and_its_report(runs):
    page = BeautifulSoup((runs / "index.html").read_text("utf-8"), "html.parser")
    rows = [[cell.text for cell in row(["td", "th"])] for row in page.tbody("tr")]
    about = {name: tuple(more) for name, *more in rows}
    assert list(about)[:2] == ["failed", EVIL], "the newest first"
    assert about["whole"] == (
        *("2026-11-24 22:31", "ok", "1,655", "24–30 Nov 2018", "1.5"),
        *("local", "Sparkify sample (invented data)"),
    )
    assert about["failed"][1] == "failed in 04_analyse, “Songs”"
    assert about["failed"][5:] == ("local", ""), "an older journal knows less"
    assert about["killed"][1] == "running, or cut off"
    unreadable = {name for name, row in about.items() if row[1] == "journal can't be read"}
    assert unreadable == {
        *("a list", "a number for notebooks", "a time that is none", "a state that is none"),
        *("not json", "a folder"),
    }
    assert len(about) == len(rows) == 10
    links = {link.text: link["href"] for link in page("a")}
    assert links["whole"] == "./whole/report.html"
    assert links.keys() == {"whole", EVIL}
    assert not page("img")
    assert len(page("script")) == 1


@pytest.mark.parametrize(("width", "scheme"), [(375, "dark"), (1100, "light")])
def test_it_opens_without_a_fault_and_its_links_lead_to_reports(
    opened_offline, runs, width, scheme
):
    with opened_offline(runs / "index.html", width=width, scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert faults(page) == []
        page.get_by_role("button", name="Minutes").click()
        assert page.locator("thead th").nth(5).get_attribute("aria-sort") == "descending"
        page.get_by_role("link", name=EVIL).click()
        assert page.url.endswith("/report.html")


STRANGE = {
    "time without a zone": json.dumps(journal(started="2026-11-22T08:00:00")),
    "time before all": json.dumps(journal(started="0001-01-01T00:00:00+14:00")),
    "seconds without end": json.dumps(journal(notebooks=[{"status": "", "seconds": 10**400}])),
    "figure that is a list": json.dumps(journal(headline=[["Plays"]])),
    "deep data": json.dumps(journal()).replace(
        '"parameters"', f'"data": {"[" * 400 + "]" * 400}, "parameters"'
    ),
    "too deep": "[" * 100_000,
    "half a surrogate": json.dumps(journal(data="\ud800")),
    "no text": b"\x00\xff",
}


@pytest.mark.parametrize("name", [*STRANGE, "pipe", "socket", "folder", "link to itself"])
def test_a_journal_that_is_not_ours_stops_no_run(tmp_path, name):
    strange, ours = tmp_path / "strange" / "journal.json", tmp_path / "ours" / "journal.json"
    for file in (strange, ours):
        file.parent.mkdir()
    ours.write_text(json.dumps(journal()))
    if name == "pipe":
        os.mkfifo(strange)
    elif name == "socket":
        with socket.socket(socket.AF_UNIX) as made, chdir(strange.parent):
            made.bind(strange.name)
    elif name == "folder":
        strange.mkdir()
    elif name == "link to itself":
        strange.symlink_to(strange)
    else:
        content = STRANGE[name]
        strange.write_bytes(content if isinstance(content, bytes) else content.encode())
    page = BeautifulSoup(index.write(tmp_path).read_text("utf-8"), "html.parser")
    assert {row.th.text for row in page.tbody("tr")} == {"ours", "strange"}


def test_a_folder_without_runs_gets_a_page_too(tmp_path):
    assert "0 runs" in index.write(tmp_path).read_text("utf-8")
