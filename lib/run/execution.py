"""One run: its notebooks executed in order, and its folder and journal."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from lib import ROOT, UserError, config, shorten_path
from lib.run.terminal import OutputClosed, Progress


@dataclass
class Run:
    """One run: its folder, each notebook's parameters, and the journal of what happened.

    `notebooks`: the folder that holds them.
    `may_run`: what may be running in AWS and what it costs, which the journal says from the start
    until AWS is asked at the end; '' if nothing can be.
    """

    folder: Path
    notebooks: Path
    parameters: dict[str, dict]
    settings: config.Settings
    may_run: str = ""
    journal: dict = field(default_factory=dict)

    def execute(self) -> None:
        """Run the notebooks in order; raise UserError at the first that fails."""
        notebooks = [{"name": name, "status": "pending"} for name in self.parameters]
        self.write_journal(
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            status="running",
            target=self.settings.dwh.target,
            data=_describe_data(self.settings) if "03_load" in self.parameters else "",
            parameters=self.parameters,
            notebooks=notebooks,
            still_running=self.may_run,
        )
        from lib.run.kernels import iterate_kernels

        account = self.settings.aws.account  # the planned one: no kernel works in another
        own = os.environ | ({"DWH_AWS_ACCOUNT": account} if account else {})
        with closing(iterate_kernels(tuple(self.parameters), cwd=str(ROOT), env=own)) as kernels:
            for entry in notebooks:
                self._execute_one(entry, kernels)
        self.write_journal(status="completed")

    def _execute_one(self, entry: dict, kernels) -> None:
        name, began = entry["name"], time.perf_counter()
        progress = Progress(name)
        entry["status"] = "running"
        self.write_journal()
        try:
            if name == "04_analyse":
                from lib.analyse import report  # takes a second, in which the kernel starts
            file = self.notebooks / f"{name}.ipynb"
            run_notebook(file, self.folder, self.parameters[name], progress, next(kernels))
            if name == "04_analyse":
                self._write_report(name, report)
            entry["status"] = "completed"
        except BaseException as error:
            entry |= {"status": "failed", "heading": progress.heading}
            entry["error"] = str(error) or type(error).__name__
            raise
        finally:
            entry["seconds"] = round(time.perf_counter() - began, 2)
            with suppress(OutputClosed):
                progress.show_end(entry["status"], entry["seconds"])

    def _write_report(self, name: str, report) -> None:
        file = Path(config.resolve_place(self.parameters[name]["out"]), "headline.json")
        headline = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        notebook, title = self.folder / f"{name}.ipynb", f"Sparkify · {self.folder.name}"
        report.write_report(notebook, self.folder / "report.html", title, headline)
        self.journal["headline"] = headline.get("figures", [])
        facts = {row["fact"]: row["value"] for row in headline.get("run", [])}
        self.journal["data"] = self.journal["data"] or facts.get("Data", "")

    def write_journal(self, **facts) -> None:
        """Add facts to journal.json, and write it whole or not at all; when they say how the run
        ended, also write the page over all runs."""
        self.journal |= facts
        unfinished = self.folder / "journal.json.part"
        unfinished.write_text(json.dumps(self.journal, indent=2) + "\n", encoding="utf-8")
        os.replace(unfinished, self.folder / "journal.json")
        if facts.get("status") in ("completed", "failed"):
            from lib.analyse import report

            report.write_index(self.folder.parent)

    def summarize(self) -> str:
        """Return what to print at the end: rows, coverage, seconds, where the report is."""
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
            lines += ["", f"report: {shorten_path(self.folder / 'report.html')}"]
        lines.append(f"all runs: {shorten_path(self.folder.parent / 'index.html')}")
        return "\n".join(lines)

    def explain_resuming(self) -> str:
        """Return where the notebook is that did not run to its end, and how to go on."""
        entries = self.journal.get("notebooks", [])
        left = [entry["name"] for entry in entries if entry["status"] != "completed"]
        if not left:
            return ""
        file = self.folder / f"{left[0]}.ipynb"
        where = f"The executed notebook is {shorten_path(file)}. " if file.exists() else ""
        resume = f"--from {left[0][:2]} and the same options, except --name"
        return f"{where}Once the cause is fixed, go on with {resume}."


def run_notebook(file: Path, folder: Path, parameters: dict, progress: Progress, kernel) -> None:
    """Execute one notebook into `folder`. Raises UserError unless every cell ran."""
    import papermill
    from nbclient.exceptions import CellControlSignal, DeadKernelError

    from lib.run import kernels

    try:
        executed = papermill.execute_notebook(
            str(file),
            str(folder / file.name),
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
    except BaseException as error:
        kernels.unwind_kernel(kernel)
        if not isinstance(error, CellControlSignal | DeadKernelError):
            raise
        reason = f"{type(error).__name__}: {error}"
    if reason:
        raise UserError(f"{file.stem} failed at “{progress.heading}”:\n{reason}")


def find_unfinished(executed) -> str:
    """Return why a notebook is not finished, else ''. Execution counts are read rather than
    papermill's status, which says "completed" for every cell after a timeout."""
    code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source]
    left = sum(cell.execution_count is None for cell in code)
    return f"{left} of {len(code)} cells did not run; a cell ended the notebook early" * bool(left)


def make_folder(runs: Path, name: str) -> Path:
    """Make a run's folder, and point the link runs/latest to it."""
    folder = runs / name
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        if folder.exists():
            raise UserError(f"{folder} exists; choose another --name.") from None
        raise UserError(f"{folder} can't be made: {error.strerror}; choose other --runs.") from None
    link = runs / f".latest-{os.getpid()}"
    try:
        link.symlink_to(folder.name, target_is_directory=True)
        os.replace(link, runs / "latest")
    except OSError:  # no links here, or a folder of that name: the run goes on without
        link.unlink(missing_ok=True)
    return folder


def _describe_data(settings: config.Settings) -> str:
    """Return the name of the data that a run is on, without the folders of this machine."""
    source = config.SOURCES[settings.data_kind]
    return (
        source if settings.uses_sample else f"{source}, {config.shorten_place(settings.log_data)}"
    )
