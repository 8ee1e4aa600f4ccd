"""Run the notebooks headless: `python -m lib.run`, one process, a fresh kernel each.

Each run leaves a folder runs/<utc>-<target>/ with the executed notebooks, report.html, charts/ and
journal.json, a link runs/latest to it, and runs/index.html, a page over all runs. Exit code 0 only
when every cell ran, 1 when a notebook or anything else failed, 2 for a wrong option or setting or a
warehouse that can't be opened, 129 when the terminal was closed, 130 after Ctrl-C, 143 after
SIGTERM.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lib import ROOT, UserError, config
from lib.run.ending import (
    describe_possible,
    describe_running,
    explain_end,
    handle_signals,
    ignore,
    stop,
)
from lib.run.execution import Run, make_folder, shorten
from lib.run.terminal import OutputClosed, prepare_streams, show

NOTEBOOKS = ("01_provision", "02_schema", "03_load", "04_analyse", "05_teardown")
FOLDER = ROOT / "notebooks"
PLACES = ("config", "database", "log_data", "song_data")
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
ONE_ONLY = ("confirm", "teardown", "run")  # parameters that mean another thing in 01 than in 05


class UsageError(UserError):
    """An option or parameter that can't be used."""


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake in one sentence, with a suggestion."""

    def error(self, message: str):
        """Raise UsageError with the sentence."""
        if message.startswith("unrecognized arguments: -"):
            word = message.split()[2]
            options = [name for name in self._option_string_actions if name.startswith("--")]
            message = f"There is no option {word}; {config.suggestion(word, options)}"
        elif message.startswith("unrecognized arguments: "):
            message = f"{message.split(': ')[1]} belongs to no option; see --help."
        raise UsageError(message)


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
    yes = "confirm the price, and at the end the removal of what this run created (redshift)"
    add("--yes", action="store_true", help=yes)
    add("--keep", action="store_true", help="remove nothing at the end (redshift)")
    everything = "remove all that is this project's at the end, also what other runs created"
    add("--teardown", action="store_true", help=everything)
    add("--full-refresh", action="store_true", help="build the star anew from staging (03_load)")
    add("--verify", action="store_true", help="read every file again, unchanged or not (03_load)")
    add("--export", metavar="FOLDER", help="write the star as Parquet and CSV, and run nothing")
    add("--status", action="store_true", help="show what exists and costs, and run nothing")
    set_parameter = {"dest": "parameters", "nargs": 2, "action": "append", "default": []}
    names = {"metavar": ("NAME", "VALUE"), "help": "set a notebook's parameter; repeatable"}
    add("-p", "--parameter", **set_parameter, **names)
    return command


def select_notebooks(first: str | None, only: str | None) -> tuple[str, ...]:
    """Return the names of the notebooks to run. `first`, `only`: a number or a name."""
    if not (word := first or only):
        return NOTEBOOKS
    number = word.split("_")[0].zfill(2)
    for position, name in enumerate(NOTEBOOKS):
        if name == word or (word.isdigit() and name.startswith(number)):
            return NOTEBOOKS[position:] if first else (name,)
    raise UsageError(f"There is no notebook {word}; {config.suggestion(word, NOTEBOOKS)}")


def read_parameters(notebook: str) -> dict[str, str]:
    """Return the parameters that a notebook declares: name to type, '' for one without."""
    file = FOLDER / f"{notebook}.ipynb"
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        lines = ast.parse("".join(tagged[0]["source"]) if tagged else "").body
    except (OSError, SyntaxError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"The notebook {shorten(file)} can't be read: {error}.") from None
    kinds = {line.targets[0]: "" for line in lines if isinstance(line, ast.Assign)}
    typed = [line for line in lines if isinstance(line, ast.AnnAssign)]
    kinds |= {line.target: ast.unparse(line.annotation) for line in typed}
    return {ast.unparse(target): kind for target, kind in kinds.items()}


def convert_value(name: str, text: str, kind: str):
    """Return the text of a `-p` option as the parameter's declared type."""
    kinds = {"int": int, "float": float, "bool": lambda word: TRUTH[word.lower()]}
    try:
        return kinds.get(kind, str)(text)
    except (ValueError, KeyError):
        expected = {"int": "a whole number", "float": "a number", "bool": "true or false"}[kind]
        raise UsageError(f"The parameter {name} must be {expected}, not {text!r}.") from None


def choose_parameters(arguments, settings: config.Settings, folder: Path) -> dict[str, dict]:
    """Return each selected notebook's parameters. Raises UsageError for one that none declares."""
    selected = select_notebooks(arguments.first, arguments.only)
    known = {name: read_parameters(name) for name in selected}
    types = {parameter: kind for kinds in known.values() for parameter, kind in kinds.items()}
    given = {"target": settings.dwh.target, "out": str(folder), "run": folder.name}
    given |= {place: getattr(arguments, place) or "" for place in PLACES}
    given["teardown"] = arguments.teardown
    for name in ("full_refresh", "verify"):
        if getattr(arguments, name):
            if "03_load" not in known:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"{option} is for 03_load, which is not among these notebooks.")
            given[name] = True
    given |= convert_parameters(arguments.parameters, types, alone=len(known) == 1)
    removed = arguments.yes and not arguments.keep and settings.dwh.target == "redshift"
    confirmed = {"01_provision": arguments.yes, "05_teardown": removed}
    return {
        notebook: {
            name: value
            for name, value in ({"confirm": confirmed.get(notebook, False)} | given).items()
            if name in kinds
        }
        for notebook, kinds in known.items()
    }


def convert_parameters(pairs: list, types: dict[str, str], alone: bool) -> dict:
    """Return what the `-p` options give, each in its declared type. `alone`: to one notebook."""
    given = {}
    for name, text in pairs:
        if name in ONE_ONLY and not alone:
            raise UsageError(
                f"-p {name} is taken with --only 01 or --only 05 alone; for several notebooks, "
                "--yes confirms the price and the removal of what the run created, and --teardown "
                "the removal of everything."
            )
        if name not in types:
            hint = config.suggestion(name, types)
            raise UsageError(f"No notebook has a parameter {name}; {hint}")
        given[name] = convert_value(name, text, types[name])
    return given


def _absolute(place: str | None) -> str | None:
    """Return a path given on the command line as seen from where it was typed."""
    return os.path.abspath(os.path.expanduser(place)) if place and "://" not in place else place


def read_settings(arguments) -> config.Settings:
    """Return the settings that the command line asks for, its places as seen from where it was
    typed."""
    check_options(arguments)
    for name, value in arguments.parameters:
        if name in ("target", *PLACES):
            setattr(arguments, name, value)
    places = {place: _absolute(getattr(arguments, place)) for place in PLACES}
    vars(arguments).update(places)
    arguments.parameters = [pair for pair in arguments.parameters if pair[0] not in PLACES]
    return config.load(places.pop("config") or "", target=arguments.target, **places)


def check_options(arguments) -> None:
    """Raise UsageError for an option without a value, as of an empty variable, and for two that
    exclude each other."""
    options = {{"first": "from"}.get(name, name): value for name, value in vars(arguments).items()}
    for name, value in options.items():
        if value == "":
            raise UsageError(
                f"--{name.replace('_', '-')} is empty; give it a value or leave it out."
            )
    for one, other in (("from", "only"), ("keep", "teardown"), ("export", "status")):
        if options[one] and options[other]:
            raise UsageError(f"--{one} and --{other} exclude each other; give one of them.")


def prepare_run(arguments, settings: config.Settings) -> Run:
    """Return the run that the command line asks for, everything checked before a kernel starts."""
    name = arguments.name or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{settings.dwh.target}"
    if Path(name).name != name:
        raise UsageError(f"--name is the name of a folder, not a path: {name!r}.")
    if os.path.expanduser("~") == "~":
        raise UsageError("There is no home folder, which Jupyter needs; set HOME to one of yours.")
    runs = Path(os.path.abspath(os.path.expanduser(arguments.runs)))
    notebooks = choose_parameters(arguments, settings, runs / name)  # may refuse: nothing is made
    price = ""
    if settings.dwh.target == "redshift" and len(notebooks) > 1:
        said = show_plan(arguments, settings, name, creates="01_provision" in notebooks)
        price = said.get("price", "").partition(",")[0]
        if account := said.get("account", "").partition(",")[0]:  # whatever the login is later
            settings = replace(settings, aws=replace(settings.aws, account=account))
    folder = make_folder(runs, name, arguments.name)
    parameters = choose_parameters(arguments, settings, folder)
    return Run(folder, FOLDER, parameters, settings, describe_possible(settings, price))


def show_plan(arguments, settings: config.Settings, name: str, creates: bool) -> dict[str, str]:
    """Show what a run would create and remove, and go on only when that is confirmed; return the
    plan's header, if any."""
    from lib import provision

    plan = provision.creation(settings, name) if creates else None
    if plan:
        show(f"{plan}\n")
    pending = plan is not None and bool(plan.pending)
    keep = arguments.keep or not (arguments.yes or pending)
    if removed := provision.describe_end(settings, name, keep, arguments.teardown):
        show(f"{removed}\n")
    if pending and not arguments.yes:
        raise UsageError(plan.how_to_confirm)
    return dict(plan.header) if plan else {}


def answer_question(options, settings: config.Settings) -> str:
    """Do what is asked instead of a run, and return what there is to say of it; else ''."""
    if options.status:
        from lib import provision

        return provision.status(settings)
    if options.export is not None:
        from lib.warehouse import export

        if "://" in options.export:
            raise UsageError("--export writes to a folder of this machine; copy it on from there.")
        folder = Path(os.path.abspath(os.path.expanduser(options.export)))
        rows = export.export(settings, folder)
        lines = [f"{table:<9} {count:,} rows" for table, count in rows.items()]
        return "\n".join([*lines, f"written as Parquet and CSV to {shorten(folder)}"])
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code. Whatever ends it, ends here."""
    prepare_streams()
    run = error = None
    with handle_signals(stop):
        try:
            options = parser().parse_args(arguments)
            settings = read_settings(options)
            if answer := answer_question(options, settings):
                show(answer)
                return 0
            run = prepare_run(options, settings)
            run.execute()
            run.write_index()
            show(run.summarize())
        except BaseException as caught:  # noqa: BLE001
            error = caught
        with handle_signals(ignore):
            return end_run(run, error)


def end_run(run: Run | None, error: BaseException | None) -> int:
    """Say why a run ended early and how to go on, and what still runs and costs: to the terminal,
    and in the journal for when that was closed. Return the exit code."""
    code, why = explain_end(error, run and run.folder) if error else (0, "")
    if not run:
        _say(why, code)
        return code
    if error:
        run.note_end(why)
        between = "\n\n" if "\n" in why else " "
        _say(f"\n{why}{between}{run.explain_resuming()}", code)
    if still := describe_running(run.settings, run.may_run):
        _say(f"\n{still}", code)
    run.note_running(still)
    return code


def _say(words: str, code: int) -> None:
    with suppress(OutputClosed):
        show(words, sys.stderr if code else sys.stdout, end="\n" if words else "")
