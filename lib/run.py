"""Run the notebooks headless: `python -m lib.run`, one process, a fresh kernel each.

Each run leaves a folder runs/<utc>-<target>/ with the executed notebooks, report.html, charts/ and
journal.json, a link runs/latest to it, and runs/index.html, a page over all runs. Exit code 0 only
when every cell ran, 1 when a notebook failed, 2 for a wrong option or setting, 130 after Ctrl-C,
143 after SIGTERM.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from threading import Thread

from lib import ROOT, UserError, config

NOTEBOOKS = ("01_provision", "02_schema", "03_load", "04_analyse", "05_teardown")
FOLDER = ROOT / "notebooks"
PLACES = ("config", "database", "log_data", "song_data")
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class UsageError(UserError):
    """An option or parameter that can't be used."""


class NotebookFailed(UserError):
    """A notebook that did not run to its end."""


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake in one sentence, with a suggestion."""

    def error(self, message: str):
        """Exit with code 2 and the sentence."""
        if message.startswith("unrecognized arguments: -"):
            word = message.split()[2]
            options = [name for name in self._option_string_actions if name.startswith("--")]
            message = f"There is no option {word}; {config.suggestion(word, options)}"
        elif message.startswith("unrecognized arguments: "):
            message = f"{message.split(': ')[1]} belongs to no option; see --help."
        self.exit(2, f"{message}\n")


def parser() -> Parser:
    """Return the command line's parser."""
    command = Parser(
        prog="python -m lib.run", description="Run the five notebooks headless.", allow_abbrev=False
    )
    add = command.add_argument
    add("--target", help="the warehouse: local (default) or redshift")
    add("--config", metavar="FILE", help="configuration file (default: dwh.cfg)")
    add("--log-data", metavar="FOLDER", help="event logs (default: the sample)")
    add("--song-data", metavar="FOLDER", help="song metadata (default: the sample)")
    add("--database", metavar="FILE", help="DuckDB file")
    add("--runs", default="runs", metavar="FOLDER", help="where runs are kept (default: runs)")
    add("--from", dest="first", metavar="NN", help="start with this notebook, such as 03")
    add("--only", metavar="NN", help="run this notebook alone")
    add("--name", help="name of the run's folder (default: time and target)")
    add("--yes", action="store_true", help="confirm what costs money or deletes (redshift)")
    add("--keep", action="store_true", help="leave the cluster running (redshift)")
    add("--teardown", action="store_true", help="remove the warehouse at the end, whoever made it")
    add("--full-refresh", action="store_true", help="build the star anew from staging (03_load)")
    add("--verify", action="store_true", help="read every file again, unchanged or not (03_load)")
    add("--export", metavar="FOLDER", help="write the star as Parquet and CSV, and run nothing")
    add("--status", action="store_true", help="show what exists and costs, and run nothing")
    set_parameter = {"dest": "parameters", "nargs": 2, "action": "append", "default": []}
    names = {"metavar": ("NAME", "VALUE"), "help": "set a notebook's parameter; repeatable"}
    add("-p", "--parameter", **set_parameter, **names)
    return command


def selected(first: str | None, only: str | None) -> tuple[str, ...]:
    """Return the names of the notebooks to run. `first`, `only`: a number or a name."""
    if first and only:
        raise UsageError("--from and --only exclude each other; give one of them.")
    if not (word := first or only):
        return NOTEBOOKS
    number = word.split("_")[0].zfill(2)
    for position, name in enumerate(NOTEBOOKS):
        if name == word or (word.isdigit() and name.startswith(number)):
            return NOTEBOOKS[position:] if first else (name,)
    raise UsageError(f"There is no notebook {word}; {config.suggestion(word, NOTEBOOKS)}")


def declared(notebook: str) -> dict[str, str]:
    """Return the parameters that a notebook declares: name to type, '' for one without."""
    file = FOLDER / f"{notebook}.ipynb"
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        lines = ast.parse("".join(tagged[0]["source"]) if tagged else "").body
    except (OSError, SyntaxError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"The notebook {_short(file)} can't be read: {error}.") from None
    kinds = {line.targets[0]: "" for line in lines if isinstance(line, ast.Assign)}
    typed = [line for line in lines if isinstance(line, ast.AnnAssign)]
    kinds |= {line.target: ast.unparse(line.annotation) for line in typed}
    return {ast.unparse(target): kind for target, kind in kinds.items()}


def converted(name: str, text: str, kind: str):
    """Return the text of a `-p` option as the parameter's declared type."""
    kinds = {"int": int, "float": float, "bool": lambda word: TRUTH[word.lower()]}
    try:
        return kinds.get(kind, str)(text)
    except (ValueError, KeyError):
        expected = {"int": "a whole number", "float": "a number", "bool": "true or false"}[kind]
        raise UsageError(f"The parameter {name} must be {expected}, not {text!r}.") from None


def parameters_for(arguments, settings: config.Settings, folder: Path) -> dict[str, dict]:
    """Return each selected notebook's parameters. Raises UsageError for one that none declares."""
    known = {name: declared(name) for name in selected(arguments.first, arguments.only)}
    types = {parameter: kind for kinds in known.values() for parameter, kind in kinds.items()}
    local = settings.dwh.target == "local"
    given = {"target": settings.dwh.target, "out": str(folder), "run": folder.name}
    given |= {place: getattr(arguments, place) or "" for place in PLACES}
    for name in ("full_refresh", "verify"):
        if getattr(arguments, name):
            if "03_load" not in known:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is for 03_load, which is not among these notebooks.")
            given[name] = True
    for name, text in arguments.parameters:
        if name not in types:
            raise UsageError(
                f"No notebook has a parameter {name}; {config.suggestion(name, types)}"
            )
        given[name] = converted(name, text, types[name])
    confirmed = {
        "01_provision": arguments.yes,
        "05_teardown": arguments.yes and not arguments.keep and not local,
    }
    given["teardown"] = arguments.teardown
    return {
        notebook: {
            name: value
            for name, value in ({"confirm": confirmed.get(notebook, False)} | given).items()
            if name in kinds
        }
        for notebook, kinds in known.items()
    }


@dataclass
class Run:
    """One run: its folder, each notebook's parameters, and the journal of what happened."""

    folder: Path
    parameters: dict[str, dict]
    settings: config.Settings
    journal: dict = field(default_factory=dict)

    def execute(self) -> None:
        """Run the notebooks in order; raise NotebookFailed at the first that fails."""
        self.journal |= {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "status": "running",
            "target": self.settings.dwh.target,
            "data": _data(self.settings) if "03_load" in self.parameters else "",
            "parameters": self.parameters,
            "notebooks": [{"name": name, "status": "pending"} for name in self.parameters],
        }
        notebooks = [FOLDER / f"{name}.ipynb" for name in self.parameters]
        try:
            from lib.kernel import Kernels

            with Kernels(notebooks, ROOT, "import duckdb") as kernels:
                kernels.start()
                for entry in self.journal["notebooks"]:
                    self._execute_one(entry, kernels)
            self.journal["status"] = "completed"
        except BaseException:
            self.journal["status"] = "failed"
            raise
        finally:
            self._write_journal()
            self._write_index()

    def _execute_one(self, entry: dict, kernels) -> None:
        name, began = entry["name"], time.perf_counter()
        progress = Progress(name)
        entry["status"] = "running"
        self._write_journal()
        try:
            if name == "04_analyse":  # what its report needs is read while the kernel works
                Thread(target=import_module, args=("lib.report",)).start()
            with kernels.next() as kernel:
                run_notebook(name, self.folder, self.parameters[name], progress, kernel)
            if name == "04_analyse":
                self._write_report(name)
            entry["status"] = "completed"
        except BaseException as error:
            entry |= {"status": "failed", "heading": progress.heading}
            entry["error"] = str(error) or type(error).__name__
            raise
        finally:
            entry["seconds"] = round(time.perf_counter() - began, 2)
            progress.done(entry["status"], entry["seconds"])

    def _write_report(self, name: str) -> None:
        from lib import report

        notebook = self.folder / f"{name}.ipynb"
        report.write(notebook, self.folder / "report.html", f"Sparkify · {self.folder.name}")
        self.journal["headline"] = report.headline(notebook)
        facts = dict(report.tagged_rows(notebook, "about"))
        self.journal["data"] = self.journal["data"] or facts["Data"]

    def _write_index(self) -> None:
        """Write the page over all runs; what stops that says so, and the run stands."""
        from lib import index

        try:
            index.write(self.folder.parent)
        except OSError as error:
            at = _short(self.folder.parent / "index.html")
            print(f"\n{at} can't be written: {error.strerror}.", file=sys.stderr)

    def _write_journal(self) -> None:
        unfinished = self.folder / "journal.json.part"
        unfinished.write_text(json.dumps(self.journal, indent=2) + "\n", encoding="utf-8")
        os.replace(unfinished, self.folder / "journal.json")

    def summary(self) -> str:
        """Return what a person wants to know at the end: rows, coverage, seconds, the report."""
        lines = [""]
        if (loaded := self.folder / "load.json").exists():
            load = json.loads(loaded.read_text(encoding="utf-8"))
            lines += [f"{table:<16}{rows:>14,} rows" for table, rows in load["rows"].items()]
            matched = f"{load['matched']:,} of {load['plays']:,} plays"
            lines += [f"{'coverage':<16}{load['coverage']:>14.1%} ({matched} are matched)", ""]
        for entry in self.journal["notebooks"]:
            lines.append(f"{entry['name']:<16}{entry['seconds']:>14.1f} s")
        if (self.folder / "report.html").exists():
            latest = self.folder.parent / "latest"
            folder = latest if latest.exists() else self.folder
            lines += ["", f"report: {_short(folder / 'report.html')}"]
        if (index := self.folder.parent / "index.html").is_file():
            lines.append(f"all runs: {_short(index)}")
        return "\n".join(lines)


class Progress:
    """Shows the running notebook's step: in place on a terminal, else a line a step."""

    def __init__(self, name: str):
        self.name, self.heading = name, ""
        self._clear, self._end = ("\r\033[K", "") if sys.stdout.isatty() else ("", "\n")

    def step(self, cell, **_) -> None:
        """Note the heading of a cell that is about to run (a hook of nbclient)."""
        headings = [line for line in cell.source.splitlines() if line.startswith("#")]
        if cell.cell_type == "markdown" and headings:
            self.heading = headings[0].lstrip("# ")
            line = f"{self.name:<14}{self.heading}"[:78] + " …"
            print(f"{self._clear}{line}", end=self._end, flush=True)

    def done(self, status: str, seconds: float) -> None:
        """Show how the notebook ended."""
        print(f"{self._clear}{self.name:<14}{status} in {seconds:.1f} s", flush=True)


def run_notebook(name: str, folder: Path, parameters: dict, progress: Progress, kernel) -> None:
    """Execute one notebook into `folder`. Raises NotebookFailed unless every cell ran."""
    import papermill
    from nbclient.exceptions import CellControlSignal, DeadKernelError

    from lib.engine import Engine

    try:
        executed = papermill.execute_notebook(
            str(FOLDER / f"{name}.ipynb"),
            str(folder / f"{name}.ipynb"),
            parameters,
            engine_name=Engine.__module__,
            cwd=str(ROOT),
            progress_bar=False,
            on_cell_start=progress.step,
            km=kernel,
        )
        reason = unfinished(executed)
    except papermill.PapermillExecutionError as error:
        reason = f"{error.ename}: {error.evalue}"
    except (CellControlSignal, DeadKernelError) as error:
        reason = f"{type(error).__name__}: {error}"
    if reason:
        raise NotebookFailed(f"{name} failed at “{progress.heading}”:\n{reason}")


def unfinished(executed) -> str | int:
    """Return why a notebook is not finished, else 0. Papermill's own status is not asked: after a
    timeout it says that every cell was completed."""
    code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source]
    left = sum(cell.execution_count is None for cell in code)
    return left and f"{left} of {len(code)} cells did not run; a cell ended the notebook early"


def new_folder(runs: Path, name: str) -> Path:
    """Make the run's folder, and let runs/latest lead to it."""
    folder = runs / name
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{_short(folder)} exists; choose another --name.") from None
    except OSError as error:
        raise UsageError(
            f"{folder} can't be made: {error.strerror}; choose other --runs."
        ) from None
    link = runs / f".latest-{os.getpid()}"
    try:
        link.symlink_to(folder.name, target_is_directory=True)
        os.replace(link, runs / "latest")
    except OSError:  # no links here, or a folder of that name: the run goes on without
        link.unlink(missing_ok=True)
    return folder


def _data(settings: config.Settings) -> str:
    """Say what data a run is on, in words that anyone may read."""
    source = config.SOURCES[settings.data_kind]
    return source if settings.uses_sample else f"{source}, {config.named(settings.log_data)}"


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _absolute(place: str | None) -> str | None:
    """Return a path given on the command line as seen from where it was typed."""
    return os.path.abspath(os.path.expanduser(place)) if place and "://" not in place else place


def configured(arguments) -> config.Settings:
    """Return the settings that the command line asks for, its places as seen from where it was
    typed."""
    for name, value in arguments.parameters:
        if name in ("target", *PLACES):
            setattr(arguments, name, value)
    places = {place: _absolute(getattr(arguments, place)) for place in PLACES}
    vars(arguments).update(places)
    arguments.parameters = [pair for pair in arguments.parameters if pair[0] not in PLACES]
    return config.load(places.pop("config") or "", target=arguments.target, **places)


def prepared(arguments, settings: config.Settings) -> Run:
    """Return the run that the command line asks for, everything checked before a kernel starts."""
    name = arguments.name or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{settings.dwh.target}"
    if Path(name).name != name:
        raise UsageError(f"--name is the name of a folder, not a path: {name!r}.")
    runs = Path(os.path.abspath(os.path.expanduser(arguments.runs)))
    parameters = parameters_for(arguments, settings, runs / name)
    if settings.dwh.target == "redshift" and {"01_provision", "02_schema"} <= parameters.keys():
        _show_price(settings, arguments, name)
    return Run(new_folder(runs, name), parameters, settings)


def _show_price(settings: config.Settings, arguments, name: str) -> None:
    """Show what a run would create and remove, and go on only when that is confirmed."""
    from lib import provision

    plan = provision.creation(settings, name)
    keep = arguments.keep or not (arguments.yes or plan.pending)
    end = provision.describe_end(settings, name, keep, arguments.teardown)
    print(f"{plan}\n\n{end}\n", flush=True)
    if plan.pending and not arguments.yes:
        raise UsageError(plan.how_to_confirm)


def _asked(options, settings: config.Settings) -> str:
    """Do what is asked instead of a run, and return what there is to say of it; else ''."""
    if options.status:
        from lib import provision

        return provision.status(settings)
    if options.export is not None:
        from lib import export

        if "://" in options.export:
            raise UsageError("--export writes to a folder of this machine; copy it on from there.")
        folder = Path(os.path.abspath(os.path.expanduser(options.export)))
        rows = export.export(settings, folder)
        lines = [f"{table:<9} {count:,} rows" for table, count in rows.items()]
        return "\n".join([*lines, f"written as Parquet and CSV to {_short(folder)}"])
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        options = parser().parse_args(arguments)
        settings = configured(options)
        if said := _asked(options, settings):
            print(said)
            return 0
        run = prepared(options, settings)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        run.execute()
    except UserError as error:
        return _failed(run, f"\n{error}\n\n", 1)
    except KeyboardInterrupt:
        return _failed(run, "\nInterrupted. ", 130)
    except SystemExit as stop:
        return _failed(run, "\nTerminated. ", stop.code)
    print(run.summary())
    _say_what_runs(run, sys.stdout)
    return 0


def _failed(run: Run, why: str, code: int) -> int:
    """Say why a run ended early, how to go on, and what is still running and costs."""
    failed = next(entry for entry in run.journal["notebooks"] if entry["status"] != "completed")
    print(
        f"{why}The executed notebook is {_short(run.folder / failed['name'])}.ipynb; when the "
        f"cause is mended, go on with --from {failed['name'][:2]} and the same options.",
        file=sys.stderr,
    )
    _say_what_runs(run, sys.stderr)
    return code


def _say_what_runs(run: Run, to) -> None:
    """Say what is still running in AWS and what it costs, when there is something."""
    if run.settings.dwh.target != "redshift":
        return
    from lib import cluster

    try:
        if still := cluster.running(run.settings):
            print(f"\n{still}", file=to)
    except UserError as error:
        print(f"\nWhat is still running could not be asked: {error}", file=to)


if __name__ == "__main__":
    sys.exit(main())
