"""An executed notebook as one HTML file for reading: no code, nothing to fetch.

What a cell tagged `headline`, `quality` or `about` gives (summary.py) becomes a band of figures
or a box of facts, what one tagged `caution` prints a note; report-hide leaves a cell out.
"""

from __future__ import annotations

import re
from html import escape, unescape
from pathlib import Path

import mistune
import nbformat
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from traitlets.config import Config

from lib import UserError
from lib.analyse import page

KINDS = ["image/png", "image/jpeg", "image/svg+xml", "text/html", "text/markdown", "text/plain"]
CONFIG = Config(
    NbConvertBase={"display_data_priority": KINDS},
    CoalesceStreamsPreprocessor={"enabled": True},  # a busy machine sends one print in pieces
    TagRemovePreprocessor={"remove_cell_tags": {"report-hide"}, "enabled": True},
)
TAGS = {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "div", "span", "p", "br"}
TAG = re.compile(r"<(/?)([a-z]+)([^<>]*)>|[<>]", re.IGNORECASE)
SPAN = re.compile(r"\s(?:colspan|rowspan)=\"\d+\"", re.IGNORECASE)
DROPPED = re.compile(r"<style.*?</style>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
NUMBER = re.compile(r"[-−+]?\d[\d.,]*%?|nan|none|<na>|", re.IGNORECASE)
TABLE = '<div class="table" role="group" aria-label="Table" tabindex="0">'


class ReportError(UserError):
    """A notebook that no report can be made of."""


class Prose(mistune.HTMLRenderer):
    """Markdown in which HTML is shown as it is written, and no picture is fetched.

    `contents`: the second-level headings so far, each as its anchor and its text as HTML.
    """

    def __init__(self):
        super().__init__(escape=True)
        self.contents = {}

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Show what a picture's author wrote of it."""
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

    def nav(self) -> str:
        """Return the list of contents; nothing when there is nothing to choose from."""
        links = [f'<li><a href="#{to}">{text}</a></li>' for to, text in self.contents.items()]
        label = '<nav aria-labelledby="contents"><p id="contents">Contents</p>'
        return f"{label}\n<ol>\n{chr(10).join(links)}\n</ol></nav>\n" if len(links) > 1 else ""


def write(notebook: Path, to: Path, title: str) -> Path:
    """Write an executed notebook as one offline HTML file, whole or not at all.

    Cells tagged report-hide are left out; every picture needs `alt` in its output's metadata.
    Raises ReportError when the notebook did not run to its end without an error, and for a
    picture without alternative text.
    """
    notebook, to = Path(notebook), Path(to)
    nb = nbformat.read(notebook, as_version=4)
    check(nb, notebook.name)
    prose = Prose()
    markdown = mistune.create_markdown(renderer=prose, plugins=["table"])
    exporter = HTMLExporter(
        config=CONFIG,
        template_name="report",
        extra_template_basedirs=[str(page.TEMPLATES)],
        extra_template_paths=[str(page.TEMPLATES)],
        filters={"prose": markdown, "rows": rows, "tables": tables, "is_drawn": is_drawn},
    )
    resources = {"metadata": {"name": title}} | page.parts()
    html, _ = exporter.from_notebook_node(nb, resources=resources)
    return page.write(html.replace("<h2", f"{prose.nav()}<h2", 1), to)


def headline(notebook: Path) -> list[dict[str, str]]:
    """Return the figures of an executed notebook's headline, as summary.py names them."""
    names = ("figure", "period", "value", "change", "before")
    return [dict(zip(names, row, strict=False)) for row in tagged_rows(notebook, "headline")]


def tagged_rows(notebook: Path, tag: str) -> list[list[str]]:
    """Return the texts of the rows that the cells of a tag show in an executed notebook."""
    nb = nbformat.read(notebook, as_version=4)
    return [
        row
        for cell in nb.cells
        if tag in cell.metadata.get("tags", [])
        for output in cell.get("outputs", [])
        for row in rows(output.get("data", {}).get("text/html", ""))
    ]


def check(nb: nbformat.NotebookNode, name: str) -> None:
    """Raise ReportError unless every cell ran well and every picture shown has its text."""
    if not any(cell.get("outputs") for cell in nb.cells):
        raise ReportError(f"{name} has no outputs; run it first.")
    heading = "the beginning"
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            heading = [heading, *re.findall(r"^#+ +(.+)", cell.source, re.MULTILINE)][-1]
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                why = f"{output.ename}: {output.evalue}".partition("\n")[0]
                raise ReportError(f"{name} failed under “{heading}”: {why}")
            pictures = [kind for kind in output.get("data", {}) if kind.startswith("image/")]
            shown = "report-hide" not in cell.metadata.get("tags", [])
            if shown and not all(output.metadata.get(kind, {}).get("alt") for kind in pictures):
                raise ReportError(f"A picture under “{heading}” in {name} has no alt text.")
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            raise ReportError(f"{name} was not run to its end; it stopped under “{heading}”.")


def rows(html: str) -> list[list[str]]:
    """Return the texts of a DataFrame's rows, without its index."""
    table = BeautifulSoup(html, "html.parser")
    return [[cell.text for cell in row("td")] for row in table("tr") if row("td")]


def is_drawn(cell: nbformat.NotebookNode) -> bool:
    """Tell whether a cell shows a picture; a table beside it repeats what it draws."""
    return any(kind.startswith("image/") for one in cell.outputs for kind in one.get("data", {}))


def keep_tag(found: re.Match) -> str:
    """Return a tag of TAGS without its attributes, but for what a cell spans; escape any other."""
    slash, name, attributes = found.groups()
    if not name or name.lower() not in TAGS:
        return escape(found[0])
    return f"<{slash}{name}{''.join(SPAN.findall(attributes))}>"


def tables(html: str) -> str:
    """Keep an output's tables and plain text markup; escape the rest; columns of numbers align."""
    soup = BeautifulSoup(TAG.sub(keep_tag, DROPPED.sub("", html)), "html.parser")
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
