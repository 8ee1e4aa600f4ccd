"""The report: one file that opens anywhere, says what the notebook says, and fetches nothing."""

from __future__ import annotations

import base64
import os
import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from jupyter_client import KernelManager
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from traitlets.config import Config

from lib import ROOT, report

EVIL = "<script>alert(1)</script><img src='http://evil.example/x.png' onerror=alert(2)>"
SETUP = """
import sys
import pandas as pd
from IPython.display import HTML, Markdown
from lib import charts
evil = {evil!r}
songs = pd.DataFrame({{"song_title": [evil, "W" * 200], "where": "Lake " * 20, "plays": [9, 8]}})
users = pd.DataFrame({{"day": pd.date_range("2018-11-01", periods=30), "users": range(30)}})
texts = dict(subtitle="Users by day", source="Sparkify sample data")
print("set up")
"""
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
]


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
    report.write(folder / "04_analyse.ipynb", folder / "report.html", "Sparkify & <friends>")
    return folder


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


def picture(**metadata):
    data = {"image/png": base64.b64encode(b"png").decode(), "text/plain": "<Figure>"}
    output = new_output("display_data", data, metadata={"image/png": metadata})
    return new_code_cell("draw()", outputs=[output])


# What the page holds


def test_the_page_says_what_it_is_and_what_it_may_load(html, page):
    assert html.startswith("<!DOCTYPE html>")
    assert page.html["lang"] == "en"
    assert page.title.text == "Sparkify & <friends>"
    assert "width=device-width" in page.find("meta", attrs={"name": "viewport"})["content"]
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_nothing_is_fetched_and_nothing_runs(html, page):
    assert not page(["script", "link", "iframe", "object", "embed", "base", "form"])
    assert not [tag for tag in page(True) for name in tag.attrs if name.startswith("on")]
    assert all(tag["src"].startswith("data:") for tag in page(src=True))
    assert not re.search(r"url\(|@import", page.style.text)


def test_every_picture_is_there_once_with_the_words_of_its_chart(page):
    assert [img["alt"] for img in page("img")] == ['Columns that "rise" & <rise>', "Bars"]


def test_pictures_are_the_saved_files(page, folder):
    data = page.img["src"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(data) == (folder / "users.png").read_bytes()


def test_headings_and_prose_are_kept_and_dollars_are_no_formula(page):
    headings = ["What listeners play", "Who listens?", "Which songs?"]
    assert [heading.text for heading in page(["h1", "h2"])] == headings
    assert page.p.text == "All plays; the price is $5 or $6."


def test_code_hidden_cells_and_warnings_are_left_out(html):
    for text in ("charts.finish", "import pandas", "set up", "a warning", "In&nbsp;["):
        assert text not in html


def test_what_a_cell_prints_is_a_paragraph_with_its_lines(page):
    assert page.find("p", class_="said").text == "29 users listen.\nMost pay."


def test_markup_in_data_is_shown_and_never_passed_through(page):
    prints, plain = page("p", class_="said")[-1], page("pre")[-1]
    frame, unescaped = page(class_="table")
    marked = page.find("strong", string="Most played").parent
    for place in (prints, plain, frame, unescaped, marked):
        assert "<script>alert(1)</script>" in place.text
        assert not place(["script", "img"])


def test_tables_scroll_on_their_own_and_numbers_align(page):
    table = page.find(class_="table")
    header, first, _ = table("tr")
    assert [cell.text for cell in header(class_="number")] == ["", "plays"]
    assert [cell.text for cell in first(class_="number")] == ["0", "9"]


# What no report is made of


def test_a_picture_without_words_is_refused_by_its_heading(tmp_path):
    asked = new_markdown_cell("# Report\n\n## Who *pays*?\n\ntext")
    for cell in (picture(), picture(alt=""), picture(alt=None)):
        path = notebook(tmp_path, asked, said(), cell)
        with pytest.raises(report.ReportError, match=r"“Who \*pays\*\?”.*no alt text"):
            report.write(path, tmp_path / "report.html", "title")
    assert os.listdir(tmp_path) == [path.name]


def test_a_hidden_picture_needs_no_words(tmp_path):
    hidden = picture() | {"metadata": {"tags": ["report-hide"]}}
    path = notebook(tmp_path, said(), nbformat.from_dict(hidden))
    assert "<img" not in report.write(path, tmp_path / "r.html", "title").read_text("utf-8")


def test_a_failed_notebook_is_refused_in_one_sentence(tmp_path):
    error = new_output("error", ename="KeyError", evalue="'plays'\nmore", traceback=["…"])
    path = notebook(tmp_path, new_markdown_cell("## Songs"), new_code_cell("x", outputs=[error]))
    with pytest.raises(report.ReportError) as raised:
        report.write(path, tmp_path / "report.html", "title")
    assert str(raised.value) == "04_analyse.ipynb failed under “Songs”: KeyError: 'plays'"


def test_a_notebook_that_never_ran_is_refused(tmp_path):
    path = notebook(tmp_path, new_markdown_cell("# Songs"), new_code_cell("1"))
    with pytest.raises(report.ReportError, match="has no outputs; run it first"):
        report.write(path, tmp_path / "report.html", "title")


def test_a_notebook_that_stopped_halfway_is_refused(tmp_path):
    path = notebook(tmp_path, said(), new_markdown_cell("## Songs"), new_code_cell("1"))
    nb = nbformat.read(path, as_version=4)
    nb.cells[-1].execution_count = None
    nbformat.write(nb, path)
    with pytest.raises(report.ReportError, match="not run to its end; it stopped under “Songs”"):
        report.write(path, tmp_path / "report.html", "title")


def test_a_write_that_fails_leaves_the_last_report_as_it_was(tmp_path, monkeypatch):
    path, to = notebook(tmp_path, said("first")), tmp_path / "out" / "report.html"
    before = report.write(path, to, "title").read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        report.write(notebook(tmp_path, said("second")), to, "title")
    assert to.read_bytes() == before
    assert os.listdir(to.parent) == ["report.html"]


def test_the_same_notebook_gives_the_same_bytes(folder, html):
    again = report.write(folder / "04_analyse.ipynb", folder / "again.html", "Sparkify & <friends>")
    assert again.read_text(encoding="utf-8") == html


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
