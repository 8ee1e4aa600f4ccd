"""One run: its notebooks executed in order, and its folder with what became of them."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lib import ROOT, UserError, config
from lib.run.terminal import OutputClosed, Progress, show

MOST = 100  # runs of one name


class NotebookFailed(UserError):
    """A notebook that did not run to its end."""


DEFAULT_NAME = re.compile(r"\d{8}T\d{6}Z-")


@dataclass
class Run:
    """One run: its folder, each notebook's parameters, and the journal of what happened.

    `notebooks`: the folder that holds them. `may_run`: what may be running and costing in AWS from
    the run's begin on, which the journal says until it is known better; '' for nothing.
    """

    folder: Path
    notebooks: Path
    parameters: dict[str, dict]
    settings: config.Settings
    may_run: str = ""
    journal: dict = field(default_factory=dict)

    def execute(self) -> None:
        """Run the notebooks in order; raise NotebookFailed at the first that fails."""
        self.journal |= {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": "running",
            "target": self.settings.dwh.target,
            "data": _describe_data(self.settings) if "03_load" in self.parameters else "",
            "parameters": self.parameters,
            "notebooks": [{"name": name, "status": "pending"} for name in self.parameters],
        }
        if self.may_run:
            self.journal["still_running"] = self.may_run
        self.write_journal()
        from lib.run.kernels import iterate_kernels

        account = self.settings.aws.account  # the planned one: no kernel works in another
        own = os.environ | ({"DWH_AWS_ACCOUNT": account} if account else {})
        with closing(iterate_kernels(tuple(self.parameters), cwd=str(ROOT), env=own)) as kernels:
            for entry in self.journal["notebooks"]:
                self._execute_one(entry, kernels)
        self.journal["status"] = "completed"
        self.write_journal()

    def _execute_one(self, entry: dict, kernels) -> None:
        name, began = entry["name"], time.perf_counter()
        progress = Progress(name)
        entry["status"] = "running"
        self.write_journal()
        try:
            if name == "04_analyse":
                from lib.analyse import report  # noqa: F401 - takes a second, in which the kernel starts
            file = self.notebooks / f"{name}.ipynb"
            run_notebook(file, self.folder, self.parameters[name], progress, next(kernels))
            if name == "04_analyse":
                self._write_report(name)
        except BaseException as error:
            seconds = round(time.perf_counter() - began, 2)
            entry |= {"status": "failed", "heading": progress.heading, "seconds": seconds}
            entry["error"] = str(error) or type(error).__name__
            with suppress(OutputClosed):
                progress.show_end("failed", seconds)
            raise
        entry |= {"status": "completed", "seconds": round(time.perf_counter() - began, 2)}
        progress.show_end("completed", entry["seconds"])

    def _write_report(self, name: str) -> None:
        from lib.analyse import report

        file = Path(config.located(self.parameters[name]["out"]), "headline.json")
        headline = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        notebook, title = self.folder / f"{name}.ipynb", f"Sparkify · {self.folder.name}"
        report.write_report(notebook, self.folder / "report.html", title, headline)
        self.journal["headline"] = headline.get("figures", [])
        facts = {row["fact"]: row["value"] for row in headline.get("run", [])}
        self.journal["data"] = self.journal["data"] or facts.get("Data", "")

    def write_index(self) -> None:
        """Write the page over all runs; what stops that is said, and this run stands."""
        from lib.analyse import report

        try:
            report.write_index(self.folder.parent)
        except Exception as error:  # noqa: BLE001 - whatever other folders hold
            at = shorten(self.folder.parent / "index.html")
            reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
            with suppress(OutputClosed):
                show(f"\n{at} can't be written: {reason}.", sys.stderr)

    def note_end(self, why: str) -> None:
        """Keep in the journal what ended the run early, where it can be written."""
        if self.journal.get("status") != "completed":
            self.journal["status"] = "failed"
        self.journal["ended"] = why
        with suppress(OSError):
            self.write_journal()
        self.write_index()

    def note_running(self, still: str) -> None:
        """Keep in the journal what is still running in AWS, where it can be written."""
        if self.may_run:
            self.journal["still_running"] = still
            with suppress(OSError):
                self.write_journal()

    def write_journal(self) -> None:
        """Write journal.json, whole or not at all."""
        unfinished = self.folder / "journal.json.part"
        unfinished.write_text(json.dumps(self.journal, indent=2) + "\n", encoding="utf-8")
        os.replace(unfinished, self.folder / "journal.json")

    def summarize(self) -> str:
        """Return what a person wants to know at the end: rows, coverage, seconds, the report."""
        lines = [""]
        if (loaded := self.folder / "load.json").exists():
            load = json.loads(loaded.read_text(encoding="utf-8"))
            lines += [load["summary"], ""]
            lines += [f"{table:<16}{rows:>14,} rows" for table, rows in load["rows"].items()]
            matched = f"{load['matched']:,} of {load['plays']:,} plays"
            lines += [f"{'coverage':<16}{load['coverage']:>14.1%} ({matched} are matched)", ""]
        for entry in self.journal["notebooks"]:
            lines.append(f"{entry['name']:<16}{entry['seconds']:>14.1f} s")
        if (self.folder / "report.html").exists():
            latest = self.folder.parent / "latest"  # another run's by now, when two run at once
            folder = latest if latest.exists() and latest.samefile(self.folder) else self.folder
            lines += ["", f"report: {shorten(folder / 'report.html')}"]
        if (index := self.folder.parent / "index.html").is_file():
            lines.append(f"all runs: {shorten(index)}")
        return "\n".join(lines)

    def explain_resuming(self) -> str:
        """Return which notebook did not run to its end, where it is, and how to go on."""
        entries = self.journal.get("notebooks", [])
        left = [entry["name"] for entry in entries if entry["status"] != "completed"]
        if not left:
            return ""
        file = self.folder / f"{left[0]}.ipynb"
        where = f"The executed notebook is {shorten(file)}; when" if file.exists() else "When"
        other = "" if DEFAULT_NAME.match(self.folder.name) else ", but another --name"
        resume = f"--from {left[0][:2]} and the same options{other}"
        return f"{where} the cause is mended, go on with {resume}."


def run_notebook(file: Path, folder: Path, parameters: dict, progress: Progress, kernel) -> None:
    """Execute one notebook into `folder`. Raises NotebookFailed unless every cell ran."""
    import papermill
    from nbclient.exceptions import CellControlSignal, DeadKernelError

    from lib.run import kernels

    try:
        executed = papermill.execute_notebook(
            _spell(file),
            _spell(folder / file.name),
            parameters,
            engine_name=kernels.__name__,
            kernel_name="python3",
            language="python",
            cwd=str(ROOT),
            progress_bar=False,
            on_cell_start=progress.show_step,
            km=kernel,
        )
        reason = find_unfinished(executed)
    except papermill.PapermillExecutionError as error:
        reason = f"{error.ename}: {error.evalue}"
    except (CellControlSignal, DeadKernelError) as error:
        reason = f"{type(error).__name__}: {error}"
        kernels.unwind_kernel(kernel)
    except BaseException:
        kernels.unwind_kernel(kernel)
        raise
    if reason:
        raise NotebookFailed(f"{file.stem} failed at “{progress.heading}”:\n{reason}")


def _spell(path: Path) -> str:
    """Return a path as papermill takes it, to which a brace begins a parameter's name."""
    return str(path).replace("{", "{{").replace("}", "}}")


def find_unfinished(executed) -> str:
    """Return why a notebook is not finished, else ''. Papermill's own status is not asked: after a
    timeout it says that every cell was completed."""
    code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source]
    left = sum(cell.execution_count is None for cell in code)
    return f"{left} of {len(code)} cells did not run; a cell ended the notebook early" * bool(left)


def make_folder(runs: Path, name: str, given: str | None) -> Path:
    """Make a run's folder, and let runs/latest lead to it. `given`: the name that must be taken;
    without one, a number is added when another run has begun in the same second."""
    names = [given] if given else [name, *(f"{name}-{number}" for number in range(2, MOST))]
    for name in names:
        try:
            (runs / name).mkdir(parents=True)
            break
        except FileExistsError as error:
            if os.path.exists(runs):
                continue
            raise UserError(
                f"{runs} is a link to what is not there; choose other --runs."
            ) from error
        except OSError as error:
            raise UserError(
                f"{runs / name} can't be made: {error.strerror}; choose other --runs."
            ) from None
    else:
        raise UserError(f"{shorten(runs / name)} exists; choose another --name.")
    link = runs / f".latest-{os.getpid()}"
    try:
        link.symlink_to(name, target_is_directory=True)
        os.replace(link, runs / "latest")
    except OSError:  # no links here, or a folder of that name: the run goes on without
        link.unlink(missing_ok=True)
    return runs / name


def _describe_data(settings: config.Settings) -> str:
    """Say what data a run is on, in words that anyone may read."""
    source = config.SOURCES[settings.data_kind]
    return source if settings.uses_sample else f"{source}, {config.named(settings.log_data)}"


def shorten(path: Path) -> str:
    """Return a path as seen from the current folder when it is below that, else whole."""
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except OSError:  # the current folder is no more
        return str(path)
