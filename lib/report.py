"""An executed notebook as one HTML file for reading: no code, no script, nothing to fetch."""

from __future__ import annotations

import os
import re
from html import escape
from pathlib import Path

import bleach
import mistune
import nbformat
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter
from traitlets.config import Config

from lib import UserError

KINDS = ["image/png", "image/jpeg", "image/svg+xml", "text/html", "text/markdown", "text/plain"]
CONFIG = Config(
    NbConvertBase={"display_data_priority": KINDS},
    TagRemovePreprocessor={"remove_cell_tags": {"report-hide"}, "enabled": True},
)
TAGS = {"table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "div", "span", "p", "br"}
NUMBER = re.compile(r"[-−+]?\d[\d.,]*%?|nan|none|<na>|", re.IGNORECASE)


class ReportError(UserError):
    """A notebook that no report can be made of."""


class Prose(mistune.HTMLRenderer):
    """Markdown in which HTML is shown as it is written, and no picture is fetched."""

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """Show what a picture's author wrote of it."""
        return escape(text)


prose = mistune.create_markdown(renderer=Prose(escape=True), plugins=["table"])


def write(notebook: Path, to: Path, title: str) -> Path:
    """Write an executed notebook as one offline HTML file, whole or not at all.

    Cells tagged report-hide are left out; every picture needs `alt` in its output's metadata.
    Raises ReportError when the notebook did not run to its end without an error, and for a
    picture without alternative text.
    """
    notebook, to = Path(notebook), Path(to)
    nb = nbformat.read(notebook, as_version=4)
    check(nb, notebook.name)
    exporter = HTMLExporter(
        config=CONFIG,
        template_name="report",
        extra_template_basedirs=[str(Path(__file__).with_name("templates"))],
    )
    exporter.register_filter("prose", prose)
    exporter.register_filter("tables", tables)
    page, _ = exporter.from_notebook_node(nb, resources={"metadata": {"name": title}})
    to.parent.mkdir(parents=True, exist_ok=True)
    draft = to.with_name(f".{to.name}.{os.getpid()}")
    try:
        draft.write_text(page, encoding="utf-8", errors="replace")
        os.replace(draft, to)
    finally:
        draft.unlink(missing_ok=True)
    return to


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


def tables(html: str) -> str:
    """Keep an output's tables and plain text markup; escape the rest; columns of numbers align."""
    html = re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL | re.IGNORECASE)
    soup = BeautifulSoup(bleach.clean(html, TAGS, {"*": ["colspan", "rowspan"]}), "html.parser")
    for table in soup("table"):
        for column in zip(*(row(["th", "td"]) for row in table("tr")), strict=False):
            if all(NUMBER.fullmatch(cell.text.strip()) for cell in column[1:]):
                for cell in column:
                    cell["class"] = "number"
        table.wrap(soup.new_tag("div", attrs={"class": "table", "tabindex": "0"}))
    return str(soup)
