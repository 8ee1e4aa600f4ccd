"""The pages that a run leaves: report.html, its findings without code, and index.html, all runs.

Both are one file that fetches nothing. A cell's tags say how it is shown in the report: report-hide
leaves it out, `caution` makes a note of what it prints, and `headline`, `quality` and `about` show
the figures and facts of headline.json in its place.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote

import mistune
import nbformat
from bs4 import BeautifulSoup
from bs4.element import PreformattedString
from jinja2 import Environment, FileSystemLoader
from nbconvert import HTMLExporter
from traitlets.config import Config

TEMPLATES = Path(__file__).with_name("templates")
KINDS = ["image/png", "image/jpeg", "image/svg+xml", "text/html", "text/markdown", "text/plain"]
CONFIG = Config(
    NbConvertBase={"display_data_priority": KINDS},
    CoalesceStreamsPreprocessor={"enabled": True},  # a busy machine sends one print in pieces
    TagRemovePreprocessor={"remove_cell_tags": {"report-hide"}, "enabled": True},
)
TAGS = {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "div", "span", "p", "br"}
NUMBER = re.compile(r"[-−+]?\d[\d.,]*%?|nan|none|<na>|", re.IGNORECASE)
TABLE = '<div class="table" role="group" aria-label="Table" tabindex="0">'


class Prose(mistune.HTMLRenderer):
    """Render Markdown, with HTML shown as it is written, and pictures by their text alone.

    `contents`: the second-level headings so far, as anchor and HTML.
    """

    def __init__(self):
        super().__init__(escape=True)
        self.contents = {}

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Show a picture's alternative text."""
        return escape(text)

    def heading(self, text: str, level: int, **attrs) -> str:
        """Give a second-level heading an anchor, made of its words."""
        if level != 2:
            return super().heading(text, level, **attrs)
        plain = re.sub(r"<[^>]+>", "", text)
        words = re.sub(r"\W+", "-", unescape(plain).lower()).strip("-")
        anchor = f"{len(self.contents) + 1}-{words}"
        self.contents[anchor] = plain
        return f'<h2 id="{anchor}">{text}</h2>\n'

    def table(self, text: str) -> str:
        """Let a wide table scroll on its own."""
        return f"{TABLE}<table>\n{text}</table>\n</div>\n"

    def list_contents(self) -> str:
        """Return the table of contents; '' when there are fewer than two headings."""
        links = [f'<li><a href="#{to}">{text}</a></li>' for to, text in self.contents.items()]
        label = '<nav aria-labelledby="contents"><p id="contents">Contents</p>'
        return f"{label}\n<ol>\n{chr(10).join(links)}\n</ol></nav>\n" if len(links) > 1 else ""


def write_report(notebook: Path, to: Path, title: str, headline: dict | None = None) -> Path:
    """Write an executed notebook as one HTML file for reading, whole or not at all.

    headline: the content of headline.json; without, its cells are shown as the tables they are.
    """
    nb = nbformat.read(notebook, as_version=4)
    prose = Prose()
    markdown = mistune.create_markdown(renderer=prose, plugins=["table"])
    exporter = HTMLExporter(
        config=CONFIG,
        template_name="report",
        extra_template_basedirs=[str(TEMPLATES)],
        extra_template_paths=[str(TEMPLATES)],
        filters={"prose": markdown, "tables": clean_tables},
    )
    resources = read_parts(title) | {"headline": headline or {}}
    html, _ = exporter.from_notebook_node(nb, resources=resources)
    return write_page(html.replace("<h2", f"{prose.list_contents()}<h2", 1), to)


def clean_tables(html: str) -> str:
    """Return HTML with its tables and paragraphs alone, and columns of numbers aligned.

    Any other markup is shown as it is written, but for styles and comments, which are left out.
    """
    soup = BeautifulSoup(html, "html.parser")
    for hidden in [*soup(string=lambda text: isinstance(text, PreformattedString)), *soup("style")]:
        hidden.extract()
    for tag in soup(True):
        if tag.name in TAGS:
            spans = {"colspan", "rowspan"} & tag.attrs.keys()
            tag.attrs = {name: tag[name] for name in sorted(spans) if tag[name].isdigit()}
        else:
            tag.replace_with(str(tag))
    for table in soup("table"):
        for column in zip(*(row(["th", "td"]) for row in table("tr")), strict=False):
            if all(NUMBER.fullmatch(cell.text.strip()) for cell in column[1:]):
                for cell in column:
                    cell["class"] = "number"
        for heading in table("th"):
            if heading.string:
                heading.string = heading.string.replace("_", " ")
            heading["scope"] = "col" if heading.find_parent("thead") else "row"
            if not heading.text.strip():
                heading.name = "td"  # above an index without a name, it is the heading of nothing
                del heading["scope"]
        table.wrap(BeautifulSoup(TABLE, "html.parser").div)
    return str(soup)


def write_index(runs: Path) -> Path:
    """Write `runs`/index.html, a page over all runs in that folder, newest first."""
    env = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    found = filter(None, map(read_run, runs.iterdir()))
    rows = sorted(found, key=lambda run: (run["started"], run["name"]), reverse=True)
    page = env.get_template("index.html.j2")
    html = page.render(resources=read_parts("Sparkify · all runs"), runs=rows)
    return write_page(html, runs / "index.html")


def read_run(folder: Path) -> dict | None:
    """Return a run as the page over all runs shows it; None for a folder that holds none."""
    file = folder / "journal.json"
    if folder.is_symlink() or not file.is_file():  # runs/latest; a pipe would be waited for
        return None
    foreign = OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError
    with suppress(*foreign):
        journal = json.loads(file.read_text(encoding="utf-8"))
        notebooks = journal["notebooks"]
        failed = next((one for one in notebooks if one["status"] == "failed"), None)
        where = f" in {failed['name']}, “{failed.get('heading', '')}”" if failed else ""
        states = {"completed": "ok", "running": "running, or cut off", "failed": f"failed{where}"}
        plays = [one for one in journal.get("headline", []) if one["figure"] == "Plays"]
        has_report = (folder / "report.html").is_file()
        return {
            "name": folder.name,
            "link": f"./{quote(os.fsencode(folder.name))}/report.html" if has_report else "",
            "started": datetime.fromisoformat(journal["started"]).astimezone(UTC),
            "status": states[journal["status"]],
            "target": journal.get("target", ""),
            "data": journal.get("data", ""),
            "minutes": sum(one.get("seconds", 0) for one in notebooks) / 60,
            **(plays[0] if plays else {}),
        }


def read_parts(title: str) -> dict:
    """Return what a page's head holds: title, policy, style, and a script that sorts tables.

    The policy lets no other script run, and nothing be fetched.
    """
    style, script = ((TEMPLATES / f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )
    return {"metadata": {"name": title}, "policy": policy, "style": style, "script": script}


def write_page(html: str, to: Path) -> Path:
    """Write a page, whole or not at all."""
    draft = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        draft.write_text(html, encoding="utf-8", errors="replace", newline="\n")
        return draft.replace(to)
    finally:
        draft.unlink(missing_ok=True)
