"""The notebooks as a person steps through them: JupyterLab in a browser, on copies of them."""

import json
import os
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

from lib import ROOT, sample
from lib.run import NOTEBOOKS

PATIENCE = 60_000  # milliseconds that one step may take
RAN = """panel => {
    const prompts = [...panel.querySelectorAll(".jp-CodeCell .jp-InputPrompt")];
    const done = prompts.every(prompt => /\\d|\\[ \\]/.test(prompt.textContent));
    return done && prompts.some(prompt => /\\d/.test(prompt.textContent))
        && panel.querySelector(".jp-Notebook-ExecutionIndicator[data-status='idle']") !== null;
}"""
# The cells' numbers of the run before, which would pass for those of the next.
FORGET = "panel => panel.querySelectorAll('.jp-InputPrompt').forEach(p => (p.innerText = ''))"
# The outputs that do not fit: JupyterLab gives them a scroll bar of their own.
TOO_WIDE = """panel => [...panel.querySelectorAll(".jp-OutputArea-output")]
    .filter(output => output.scrollWidth > output.clientWidth + 1)
    .map(output => output.textContent.slice(0, 80))"""
CHARTS = """panel => [...panel.querySelectorAll(".jp-OutputArea-output img")]
    .map(chart => chart.complete && chart.naturalWidth > 0 && chart.clientWidth > 300)"""


class Lab:
    """JupyterLab in a page of the browser: a person's hands and eyes."""

    def __init__(self, page, events: int = 0):
        self.events = events  # how many its data has
        self.page, self.panel = page, page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def open(self, notebook: str) -> None:
        """Open a notebook from the list of files, and wait for its kernel."""
        self.page.locator(".jp-DirListing-item", has_text=f"{notebook}.ipynb").dblclick()
        self.page.locator(".lm-TabBar-tab.lm-mod-current", has_text=notebook).wait_for()
        self.panel.locator(".jp-KernelName", has_text="ipykernel").wait_for()
        self.panel.locator("[data-status='idle']").first.wait_for()

    def choose(self, entry: str, menu: str = "Run") -> None:
        """Choose an entry of a menu."""
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.locator(".lm-Menu-item").get_by_text(entry, exact=True).click()

    def run_all(self, again: bool = False) -> None:
        """Run all cells, `again` in a new kernel, and wait for the last one."""
        if again:
            self.panel.evaluate(FORGET)
            self.choose("Restart Kernel and Run All Cells…")
            self.page.locator(".jp-Dialog").get_by_text("Restart", exact=True).click()
        else:
            self.choose("Run All Cells")
        self.wait_until_run()

    def wait_until_run(self) -> None:
        """Wait until no cell is running or queued."""
        time.sleep(0.5)  # until the cells are queued
        element = self.panel.element_handle()
        self.page.wait_for_function(RAN, arg=element)

    def errors(self) -> list[str]:
        """Return what cells have shown as an error or a warning."""
        kinds = "[data-mime-type$='.stderr'], [data-mime-type$='.error']"
        return self.panel.locator(kinds).all_inner_texts()

    def seen(self, what: str) -> list:
        """Return what a look at the notebook, a JavaScript function, finds."""
        return self.panel.evaluate(what)


def copies(folder: Path) -> dict[str, int]:
    """Copy the notebooks, with small data of their own; return how many events it has.

    Two of them are changed as a person might: one has a mistake in its SQL, one loads slowly.
    """
    made = sample.make(folder / "data", scale=0.05, songs=40)
    own = {
        "database": folder / "own.duckdb",
        "log_data": folder / "data" / "log_data",
        "song_data": folder / "data" / "song_data",
        "out": folder / "out",
    }
    own = {f'{name}: str = ""': f'{name}: str = "{place}"' for name, place in own.items()}
    slow = {
        "with Bar(": "import time\npauses = globals().get('pauses', [60])\nwith Bar(",
        " progress, keep": " lambda step: progress(step) or 'events' in step and pauses"
        " and time.sleep(pauses.pop()), keep",
    }
    for name in NOTEBOOKS:
        _copy(name, folder / f"{name}.ipynb", own)
    _copy("02_schema", folder / "mistake.ipynb", own | {"from information_schema.columns": "frm x"})
    _copy("03_load", folder / "slow.ipynb", own | slow)
    return made


def _copy(name: str, to: Path, changes: dict[str, str]) -> None:
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        for was, becomes in changes.items():
            cell.source = cell.source.replace(was, becomes)
    nbformat.write(notebook, to)


@contextmanager
def server(folder: Path):
    """Start JupyterLab on this machine alone, behind a token, with no one's settings."""
    token, about = secrets.token_hex(16), folder / ".jupyter"
    kinds = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    environment = os.environ | {f"JUPYTER_{kind}": str(about / kind) for kind in kinds}
    environment |= {"JUPYTER_TOKEN": token, "IPYTHONDIR": str(about), "PYTHONPATH": str(ROOT)}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(about), "JUPYTERLAB_WORKSPACES_DIR": str(about)}
    quiet = about / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    words = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0"]
    words += ["--allow-root", f"--notebook-dir={folder}"]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(PATIENCE // 100):
            if found := list((about / "RUNTIME_DIR").glob("jpserver-*.json")):
                break
            time.sleep(0.1)
        yield f"{json.loads(found[0].read_text())['url']}lab?reset&token={token}"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def lab(browser, tmp_path):
    made = copies(tmp_path)
    with server(tmp_path) as url, browser.new_page(viewport={"width": 1280, "height": 900}) as page:
        page.set_default_timeout(PATIENCE)
        page.goto(url)
        yield Lab(page, made["events"])


def looks_well(lab: Lab) -> bool:
    """Assert that nothing is amiss in the notebook that was run."""
    assert lab.errors() == []
    assert lab.seen(TOO_WIDE) == []
    assert all(lab.seen(CHARTS))
    return True


def test_a_person_steps_through_in_jupyterlab(lab, tmp_path):
    for name in NOTEBOOKS[:2]:
        lab.open(name)
        lab.run_all()
        assert looks_well(lab)

    lab.open("mistake")
    lab.run_all()
    (said,) = lab.errors()
    assert said.startswith("WarehouseError: ")
    assert "syntax error" in said
    assert "Traceback" not in said
    lab.choose("Shut Down Kernel", menu="Kernel")

    lab.open("slow")
    lab.choose("Run All Cells")
    lab.panel.get_by_text("reading events").wait_for()
    lab.page.get_by_role("button", name="Interrupt the kernel").click()
    lab.wait_until_run()
    assert "KeyboardInterrupt" in lab.errors()[-1]
    bar = lab.panel.locator("progress")
    assert 0 < int(bar.get_attribute("value")) < int(bar.get_attribute("max"))
    lab.run_all()
    assert looks_well(lab)
    assert bar.get_attribute("value") == bar.get_attribute("max")
    loaded = json.loads((tmp_path / "out" / "load.json").read_text())
    assert set(loaded["rows_before"].values()) == {0}, "what was interrupted has left nothing"
    assert loaded["rows"]["staging_events"] == lab.events

    for name in NOTEBOOKS[3:]:
        lab.open(name)
        lab.run_all()
        assert looks_well(lab)
        assert (len(lab.seen(CHARTS)) > 5) == (name == "04_analyse")

    lab.open("03_load")
    lab.run_all(again=True)
    assert looks_well(lab)
    assert lab.panel.get_by_text("Nothing new").count() == 1
