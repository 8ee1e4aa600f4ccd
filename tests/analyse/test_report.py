"""The pages of a run: each one file that opens anywhere, says what was found, fetches nothing."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from traitlets.config import Config

from lib import ROOT
from lib.analyse import report
from tests.browser import faults

EVIL = "<script>alert(1)</script><img src='http://evil.example/x.png' onerror=alert(2)>"
SETUP = """
import sys
import pandas as pd
from IPython.display import HTML, Markdown
from lib.analyse import charts
evil = {evil!r}
titles, where = [evil, "W" * 200, "Song"], "Lake " * 20
songs = pd.DataFrame({{"song_title": titles, "where": where, "plays": [9, 8, 10]}})
users = pd.DataFrame({{"day": pd.date_range("2018-11-01", periods=30), "users": range(30)}})
texts = dict(subtitle="Users by day", source="Sparkify sample data")
print("set up")
"""


def tagged(tag, source):
    return new_code_cell(source, metadata={"tags": [tag]})


CELLS = [
    new_markdown_cell("# What listeners play\n\nAll plays; the price is $5 or $6."),
    new_code_cell(SETUP.format(evil=EVIL), metadata={"tags": ["report-hide"]}),
    new_markdown_cell("## Who listens?\n\n| a | b |\n|---|---|\n| " + "wide " * 60 + " | 2 |"),
    new_code_cell(
        "fig = charts.columns(users, x='day', y='users')\n"
        "charts.finish(fig, title='29 users', alt='Columns that \"rise\" & <rise>', **texts,"
        " to='{folder}/users')"
    ),
    new_code_cell("print('29 users listen.\\nMost pay.')\nprint('a warning', file=sys.stderr)"),
    new_markdown_cell("## Which songs?"),
    new_code_cell(
        "fig = charts.bars(songs, label='song_title', value='plays')\n"
        "charts.finish(fig, title='One song', alt='Bars', **texts, to='{folder}/songs')"
    ),
    new_code_cell("songs"),
    new_code_cell("HTML(f'<table><tr><th>song</th></tr><tr><td>{evil}</td></tr></table>')"),
    new_code_cell("Markdown(f'**Most played**: {evil} ![x](http://evil.example/y.png)')"),
    new_code_cell("print(evil)\nsongs.song_title[0]"),
    tagged("headline", "songs"),
    tagged("quality", "songs"),
    tagged("about", "songs"),
    tagged("caution", "print('All of it is invented.', evil)"),
]
WEEK = {"figure": "Plays", "period": "24–30 Nov 2018", "value": "1,655"}
HEADLINE = {
    "figures": [
        WEEK | {"change": "−5.5%", "before": "1,752 on 17–23 Nov"},
        WEEK | {"figure": EVIL, "change": "", "before": ""},
    ],
    "quality": [
        {"check": "Audits", "finding": "1 of 9 failed", "state": "look"},
        {"check": EVIL, "finding": EVIL, "state": "ok"},
        {"check": "Files", "finding": "3", "state": ""},
    ],
    "run": [{"fact": "Run", "value": EVIL}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run a notebook as the runner would, and make its report."""
    folder = tmp_path_factory.mktemp("report")
    cells = [nbformat.from_dict(cell) for cell in CELLS]
    for cell in cells:
        cell.source = cell.source.replace("{folder}", str(folder))
    nb = new_notebook(cells=cells)
    quiet = Config({"KernelManager": {"transport_encryption": "auto"}})
    manager = KernelManager(config=quiet, kernel_name="python3")
    NotebookClient(nb, km=manager, resources={"metadata": {"path": str(ROOT)}}).execute()
    nbformat.write(nb, folder / "04_analyse.ipynb")
    write_report(folder / "04_analyse.ipynb", folder / "report.html")
    return folder


def write_report(notebook, to, headline=HEADLINE) -> BeautifulSoup:
    return read(report.write_report(notebook, to, "Sparkify & <friends>", headline))


def read(page) -> BeautifulSoup:
    return BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def html(folder) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def notebook(tmp_path, *cells):
    """Write a notebook that looks executed."""
    for count, cell in enumerate(cell for cell in cells if cell.cell_type == "code"):
        cell.execution_count = cell.get("execution_count") or count + 1
    path = tmp_path / "04_analyse.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)
    return path


def said(text="hello"):
    return new_code_cell("say()", outputs=[new_output("stream", text=text)])


# What the page holds


def test_the_page_says_what_it_is_and_loads_nothing(html, page, folder):
    assert [script.text for script in page("script")] == [report.read_parts("")["script"]]
    assert not page(["link", "iframe", "object", "embed", "base", "form"])
    assert not [tag for tag in page(True) for name in tag.attrs if name.startswith("on")]
    assert all(tag["src"].startswith("data:") for tag in page(src=True))
    assert not re.search(r"url\(|@import", page.style.text)
    assert html.startswith("<!DOCTYPE html>")
    assert page.html["lang"] == "en"
    assert page.title.text == "Sparkify & <friends>"
    assert "width=device-width" in page.find("meta", attrs={"name": "viewport"})["content"]
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy.startswith("default-src 'none'; base-uri 'none'; form-action 'none'; ")
    assert "img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" in policy
    write_report(folder / "04_analyse.ipynb", folder / "again.html")
    assert (folder / "again.html").read_text(encoding="utf-8") == html, "the same bytes again"


def test_prose_prints_and_pictures_are_kept_and_code_hidden_cells_and_warnings_are_not(
    html, page, folder
):
    headings = ["What listeners play", "Who listens?", "Which songs?"]
    assert [heading.text for heading in page(["h1", "h2"])] == headings
    assert page.p.text == "All plays; the price is $5 or $6.", "dollars are no formula"
    assert page.find("p", class_="said").text == "29 users listen.\nMost pay."
    assert [img["alt"] for img in page("img")] == ['Columns that "rise" & <rise>', "Bars"]
    data = page.img["src"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(data) == (folder / "users.png").read_bytes()
    for text in ("charts.finish", "import pandas", "set up", "a warning", "In&nbsp;["):
        assert text not in html


def test_figures_and_facts_stand_out(page):
    first, second = page.find(class_="band")("div")
    assert first.dt.text == "Plays 24–30 Nov 2018"
    changed = "▼ −5.5% from 1,752 on 17–23 Nov"
    assert [dd.text for dd in first("dd")] == ["1,655", changed]
    assert [dd.text for dd in second("dd")] == ["1,655"], "no change without an earlier week"
    audits, _, files = page.find(class_="box")("div")
    assert audits.text.split("\n") == ["Audits1 of 9 failed Needs a look"]
    assert files.text == "Files3"
    assert page.find("p", class_="caution").text.startswith("All of it is invented.")


def test_numbers_come_from_the_file_and_never_from_an_output(tmp_path):
    table = new_output("execute_result", {"text/html": "<p>12</p>"}, execution_count=1)
    cells = (tagged(tag, "x") | {"outputs": [table]} for tag in ("headline", "quality", "about"))
    path, to = notebook(tmp_path, *map(nbformat.from_dict, cells)), tmp_path / "report.html"
    nothing = write_report(path, to, {"figures": [], "quality": [], "run": []})
    assert "The log holds no complete day yet" in nothing.text
    assert "12" not in nothing.main.text
    table_itself = write_report(path, to, {}).main.text.strip()
    assert table_itself == "12" * 3, "of a notebook that writes no headline.json"


def test_markup_in_data_is_shown_and_never_passed_through(page):
    prints, plain = page("p", class_="said")[-1], page("pre")[-1]
    _, frame, unescaped = page(class_="table")
    marked = page.find("strong", string="Most played").parent
    tagged = page(class_=["band", "box", "caution"])
    assert len(tagged) == 4
    for place in (prints, plain, frame, unescaped, marked, *tagged):
        assert "<script>alert(1)</script>" in place.text
        assert not place(["script", "img"])


def test_a_print_that_came_in_several_messages_is_one_paragraph(tmp_path):
    pieces = [new_output("stream", text=text) for text in ("29 us", "ers listen.\nMost", " pay.\n")]
    warned = new_output("stream", name="stderr", text="a warning")
    again = new_output("stream", text="And more.")
    path = notebook(tmp_path, new_code_cell("say()", outputs=[*pieces, warned, again]))
    page = write_report(path, tmp_path / "r.html")
    said = [p.text for p in page("p", class_="said")]
    assert said == ["29 users listen.\nMost pay.", "And more."]


@pytest.mark.parametrize(
    ("html", "kept"),
    [
        ("<b>bold</b> & x", "&lt;b&gt;bold&lt;/b&gt; &amp; x"),
        ("1 < 2 > 0 &lt;b&gt; &#60;b&#62;", "1 &lt; 2 &gt; 0 &lt;b&gt; &lt;b&gt;"),
        ("<ScRiPt>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<script src=//evil>", '&lt;script src="//evil"&gt;&lt;/script&gt;'),
        ("<p onclick='alert(1)' style=x class=y id=z>a</p>", "<p>a</p>"),
        ("<td colspan=2 rowspan='1 onclick=x'>a</td>", '<td colspan="2">a</td>'),
        ("a<!-- <p> --><![CDATA[<p>]]><?php x><style><p></style>b", "ab"),
        ("a</div></table><br/>b", "a<br/>b"),
        (
            "<p><b><script>x</script></b></p>",
            "<p>&lt;b&gt;&lt;script&gt;x&lt;/script&gt;&lt;/b&gt;</p>",
        ),
    ],
)
def test_of_an_outputs_markup_only_tables_and_paragraphs_are_kept(html, kept):
    assert report.clean_tables(html) == kept


def test_a_picture_of_ones_own_may_lack_words_and_a_hidden_one_is_left_out(tmp_path):
    data = {"image/png": base64.b64encode(b"png").decode(), "text/plain": "<Figure>"}
    outputs = [new_output("display_data", data)]
    shown, hidden = new_code_cell("draw()", outputs=outputs), tagged("report-hide", "draw()")
    hidden.outputs = outputs
    page = write_report(notebook(tmp_path, shown, hidden), tmp_path / "report.html")
    assert [picture["alt"] for picture in page("img")] == [""]


def test_a_write_that_fails_leaves_the_last_report_as_it_was(tmp_path, monkeypatch):
    to = tmp_path / "out" / "report.html"
    to.parent.mkdir()
    write_report(notebook(tmp_path, said("first")), to)
    before = to.read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="disk full"):
        write_report(notebook(tmp_path, said("second")), to)
    assert to.read_bytes() == before
    assert os.listdir(to.parent) == [to.name], "no draft is left"


# What a reader sees


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
def test_it_opens_offline_without_a_fault_at_any_width(opened_offline, folder, width, scheme):
    with opened_offline(folder / "report.html", width=width, scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("document.images.length") == 2
        text, picture = (page.locator(name).first.bounding_box() for name in ("h1", "img"))
        inset = picture["width"] * 0.15 / 6  # the white at a chart's edge
        assert picture["x"] + inset == pytest.approx(text["x"], abs=1)
        assert picture["width"] > 0.9 * min(width, 608)
        assert faults(page) == []


def test_a_table_is_sorted_by_mouse_and_by_keys(opened_offline, folder):
    with opened_offline(folder / "report.html") as page:
        table = page.locator(".table table").nth(1)
        plays, title = (table.get_by_role("button", name=name) for name in ("plays", "song title"))
        heading = table.locator("th", has_text="plays")

        def shown():
            return table.locator("tbody td:last-child").all_text_contents()

        assert (shown(), heading.get_attribute("aria-sort")) == (["9", "8", "10"], None)
        plays.click()
        assert (shown(), heading.get_attribute("aria-sort")) == (["10", "9", "8"], "descending")
        plays.press("Enter")
        assert (shown(), heading.get_attribute("aria-sort")) == (["8", "9", "10"], "ascending")
        title.focus()
        page.keyboard.press("Space")
        assert (shown(), heading.get_attribute("aria-sort")) == (["9", "10", "8"], None)
        assert faults(page) == []


def test_the_policy_lets_no_other_script_run_and_nothing_be_fetched(browser, html, tmp_path):
    """Were something passed through, the browser itself would still refuse it."""
    worse = tmp_path / "worse.html"
    passed = "<script>document.title = 'ran'</script><img src='x.png' onerror='document.title = 1'>"
    worse.write_text(html.replace("</main>", f"{passed}</main>"), encoding="utf-8")
    (tmp_path / "x.png").write_bytes(b"")
    with browser.new_context() as context:
        page, refused = context.new_page(), []
        page.on("console", lambda message: refused.append(message.text))
        page.goto(worse.as_uri())
        assert page.title() == "Sparkify & <friends>"
        assert len(refused) == 3, refused


def test_keys_lead_past_the_contents_to_the_report_and_to_each_chapter(opened_offline, folder):
    with opened_offline(folder / "report.html", width=375) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.tagName") == "MAIN"
        for link in page.locator("nav a").all():
            target = page.locator(f'[id="{link.get_attribute("href")[1:]}"]')
            assert target.inner_text() == link.inner_text()
        assert page.locator("nav a").count() == page.locator("h2").count() == 2


def test_on_paper_there_is_nothing_to_press(opened_offline, folder):
    with opened_offline(folder / "report.html", scheme="dark") as page:
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        for place, look, value in (
            ("body", "backgroundColor", "rgb(255, 255, 255)"),
            ("figure", "breakInside", "avoid"),
        ):
            style = f"getComputedStyle(document.querySelector('{place}')).{look}"
            assert page.evaluate(style) == value


# As a PDF


def make_pdf(folder, path: str = os.environ["PATH"]) -> tuple[int, list[str]]:
    """Run make report-pdf with that PATH; return the exit code and the lines that it says."""
    command = [shutil.which("make"), "-s", "-C", str(ROOT), "report-pdf", f"RUN={folder}"]
    done = subprocess.run(command, env={"PATH": path}, capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    return done.returncode, [line for line in said if not line.startswith("make: ")]


def test_the_pdf_is_written_by_the_installed_chromium(browser, folder):
    assert make_pdf(folder) == (0, [f"{folder}/report.pdf"])
    assert (folder / "report.pdf").read_bytes().startswith(b"%PDF-")
    assert not (folder / "part.pdf").exists()


@pytest.mark.parametrize(
    ("fake", "report_is_there", "sentence"),
    [
        (None, True, "No Chromium or Chrome is installed here"),
        ("echo half >part.pdf; exit 1", True, "chromium did not print"),
        ("exit 0", True, "chromium did not print"),
        ("echo whole >part.pdf", False, "There is no"),
    ],
)
def test_what_can_not_be_printed_gets_one_sentence(tmp_path, fake, report_is_there, sentence):
    run, programs = tmp_path / "a run", tmp_path / "bin"
    run.mkdir()
    programs.mkdir()
    for name in ("id", "mv", "rm"):
        (programs / name).symlink_to(shutil.which(name))
    if fake:
        (programs / "chromium").write_text(f"#!/bin/sh\n{fake}\n")
        (programs / "chromium").chmod(0o755)
    if report_is_there:
        (run / "report.html").write_text("<!DOCTYPE html>")
    code, (said,) = make_pdf(run, str(programs))
    assert code == 2
    assert sentence in said
    assert f"{run}/report.html" in said
    assert [file.name for file in run.iterdir()] == ["report.html"] * report_is_there


# All runs


def journal(status="completed", **more) -> dict:
    return {
        "started": "2026-11-24T22:31:40+00:00",
        "status": status,
        "notebooks": [{"name": "04_analyse", "status": status, "seconds": 90, "heading": "Songs"}],
        **more,
    }


UNREADABLE = {
    "a number for notebooks": journal(notebooks=3),
    "a time that is none": journal(started="yesterday"),
    "a figure that is a list": journal(headline=[["Plays"]]),
}


@pytest.fixture
def runs(tmp_path):
    """Runs of every kind, and what is none."""
    named = UNREADABLE | {
        "whole": journal(target="local", data="Sparkify sample (invented data)", headline=[WEEK]),
        "failed": journal("failed", started="2026-11-25T08:00:00+00:00"),
        "killed": journal("running", started="2026-11-23T08:00:00"),
        EVIL.replace("/", "-"): journal(data="\ud800" + EVIL, headline=[WEEK | {"value": EVIL}]),
    }
    for name, about in named.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "journal.json").write_text(json.dumps(about))
        if "whole" in name or "<" in name:
            (tmp_path / name / "report.html").touch()
    (tmp_path / "not json").mkdir()
    (tmp_path / "not json" / "journal.json").write_bytes(b"\xff{")
    (tmp_path / "foreign" / "journal.json").mkdir(parents=True)
    (tmp_path / "pipe").mkdir()
    if hasattr(os, "mkfifo"):  # not on Windows
        os.mkfifo(tmp_path / "pipe" / "journal.json")
    (tmp_path / "file.txt").touch()
    (tmp_path / "latest").symlink_to("whole")
    return tmp_path


def test_every_run_is_there_once_with_how_it_ended_and_its_report(runs):
    page = read(report.write_index(runs))
    rows = [[cell.text for cell in row(["td", "th"])] for row in page.tbody("tr")]
    about = {name: tuple(more) for name, *more in rows}
    assert next(iter(about)) == "failed", "the newest first"
    assert about["whole"] == (
        *("2026-11-24 22:31", "ok", "1,655", "24–30 Nov 2018", "1.5"),
        *("local", "Sparkify sample (invented data)"),
    )
    assert about["failed"][1] == "failed in 04_analyse, “Songs”"
    assert about["failed"][5:] == ("", ""), "an older journal knows less"
    assert about["killed"][1] == "running, or cut off"
    assert len(about) == len(rows) == 4, "what holds no journal of ours is left out"
    links = {link.text: link["href"] for link in page("a")}
    assert links["whole"] == "./whole/report.html"
    assert len(links) == 2
    assert not page("img")
    assert len(page("script")) == 1


@pytest.mark.parametrize(("width", "scheme"), [(375, "dark"), (1100, "light")])
def test_it_opens_without_a_fault_and_its_links_lead_to_reports(
    opened_offline, runs, width, scheme
):
    with opened_offline(report.write_index(runs), width=width, scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert faults(page) == []
        page.get_by_role("button", name="Minutes").click()
        assert page.locator("thead th").nth(5).get_attribute("aria-sort") == "descending"
        page.get_by_role("link", name="<script>").click()
        assert page.url.endswith("/report.html")
