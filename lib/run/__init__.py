"""Run the notebooks headless: `python -m lib.run`, one process, a fresh kernel each.

Each run leaves a folder runs/<utc>-<target>/ with the executed notebooks, report.html, charts/ and
journal.json, a link runs/latest to it, and runs/index.html, a page over all runs. Exit code 0 only
when every cell ran, 1 when a notebook or anything else failed, 2 for a wrong option or setting or a
warehouse that can't be opened, 129 when the terminal was closed, 130 after Ctrl-C, 143 after
SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lib import ROOT, UserError, config, shorten_path
from lib.run.ending import describe_possible, describe_running, explain_end, handle_signals
from lib.run.execution import Run, make_folder
from lib.run.terminal import OutputClosed, prepare_streams, show

NOTEBOOKS = ("01_provision", "02_schema", "03_load", "04_analyse", "05_teardown")
FOLDER = ROOT / "notebooks"
PLACES = ("config", "database", "log_data", "song_data")
DEFAULTS = {"int": 0, "float": 0.0, "bool": False}  # of other types: a string
ONE_ONLY = ("confirm", "teardown", "run")  # parameters that mean another thing in 01 than in 05


class Parser(argparse.ArgumentParser):
    """An argument parser that answers a mistake in one sentence, with a suggestion."""

    def error(self, message: str):
        """Raise UserError with the sentence."""
        if message.startswith("unrecognized arguments: "):
            word = message.split()[2]
            options = [name for name in self._option_string_actions if name.startswith("--")]
            message = f"There is no option {word}; {config.suggest_name(word, options)}"
        raise UserError(message.replace("argument ", ""))


def make_parser() -> Parser:
    """Return the command line's parser."""
    command = Parser(
        prog="python -m lib.run", description="Run the five notebooks headless.", allow_abbrev=False
    )
    add, group = command.add_argument, command.add_mutually_exclusive_group
    add_which, add_end, add_instead = (group().add_argument for _ in range(3))
    add("--target", help="the warehouse: local (default) or redshift")
    add("--config", metavar="FILE", help="configuration file (default: dwh.cfg)")
    add("--log-data", metavar="FOLDER", help="event logs (default: the sample)")
    add("--song-data", metavar="FOLDER", help="song metadata (default: the sample)")
    add("--database", metavar="FILE", help="DuckDB file")
    add("--runs", default="runs", metavar="FOLDER", help="where runs are kept (default: runs)")
    add_which("--from", metavar="NN", help="start with this notebook, such as 03")
    add_which("--only", metavar="NN", help="run this notebook alone")
    add("--name", help="name of the run's folder (default: time and target)")
    yes = "confirm the price, and at the end the removal of what this run created (redshift)"
    add("--yes", action="store_true", help=yes)
    add_end("--keep", action="store_true", help="remove nothing at the end (redshift)")
    everything = "remove all that is this project's at the end, also what other runs created"
    add_end("--teardown", action="store_true", help=everything)
    pairs = {"dest": "parameters", "default": []}
    flag, refresh = pairs | {"action": "append_const"}, "build the star anew from staging (03_load)"
    add("--full-refresh", **flag, const=("full_refresh", "true"), help=refresh)
    verify = "read every file again, unchanged or not (03_load)"
    add("--verify", **flag, const=("verify", "true"), help=verify)
    add_instead("--export", metavar="FOLDER", help="write the star as Parquet and CSV, run nothing")
    add_instead("--status", action="store_true", help="show what exists and costs, run nothing")
    names = {"metavar": ("NAME", "VALUE"), "help": "set a notebook's parameter; repeatable"}
    add("-p", "--parameter", **pairs, nargs=2, action="append", **names)
    return command


def select_notebooks(first: str | None, only: str | None) -> tuple[str, ...]:
    """Return the names of the notebooks to run. `first`, `only`: a number or a name."""
    if not (word := first or only):
        return NOTEBOOKS
    for position, name in enumerate(NOTEBOOKS):
        if word.zfill(2) in (name, name[:2]):
            return NOTEBOOKS[position:] if first else (name,)
    raise UserError(f"There is no notebook {word}; {config.suggest_name(word, NOTEBOOKS)}")


def read_parameters(notebook: str) -> dict[str, str]:
    """Return the parameters that a notebook declares: name to type, 'None' for one without."""
    import papermill

    declared = papermill.inspect_notebook(str(FOLDER / f"{notebook}.ipynb"))
    return {name: about["inferred_type_name"] for name, about in declared.items()}


def choose_parameters(options, settings: config.Settings) -> dict[str, dict]:
    """Return each selected notebook's parameters; `out` and `run` stay empty unless given.

    Raises UserError for one that none of them declares.
    """
    declared = {
        of: read_parameters(of) for of in select_notebooks(vars(options)["from"], options.only)
    }
    types = {name: kind for kinds in declared.values() for name, kind in kinds.items()}
    given = {place: getattr(options, place) or "" for place in PLACES}
    given |= {"target": settings.dwh.target, "out": "", "run": "", "teardown": options.teardown}
    for name, text in options.parameters:
        if name in ONE_ONLY and len(declared) > 1:
            raise UserError(
                f"-p {name} can be used only with --only 01 or --only 05; for several notebooks, "
                "--yes confirms the price and the removal of what the run created, and --teardown "
                "the removal of everything."
            )
        if name not in types:
            hint = config.suggest_name(name, types)
            raise UserError(f"None of these notebooks has a parameter {name}; {hint}")
        kind = config.declare_key(DEFAULTS.get(types[name], ""))
        given[name] = config.convert_value(kind, text, f"The parameter {name}")
    removed = options.yes and not options.keep and settings.dwh.target == "redshift"
    confirmed = {"01_provision": options.yes, "05_teardown": removed}
    chosen = {of: {"confirm": confirmed.get(of, False)} | given for of in declared}
    return {
        of: {name: value for name, value in values.items() if name in declared[of]}
        for of, values in chosen.items()
    }


def read_settings(options) -> config.Settings:
    """Return the settings that the command line asks for; make its paths absolute, from the current
    folder."""
    for name, value in vars(options).items():
        if value == "":  # as of a variable that is not set
            option = name.replace("_", "-")
            raise UserError(f"--{option} is empty; give it a value or leave it out.")
    vars(options).update(pair for pair in options.parameters if pair[0] in ("target", *PLACES))
    options.parameters = [pair for pair in options.parameters if pair[0] not in PLACES]
    for name in (*PLACES, "runs", "export"):
        place = getattr(options, name)
        if place and "://" not in place:
            setattr(options, name, os.path.abspath(os.path.expanduser(place)))
    places = {place: getattr(options, place) for place in PLACES}
    return config.read_settings(places.pop("config") or "", target=options.target, **places)


def prepare_run(options, settings: config.Settings) -> Run:
    """Return the run that the command line asks for, after checking everything that can be checked
    before a kernel starts."""
    name = options.name or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{settings.dwh.target}"
    if Path(name).name != name:
        raise UserError(f"--name is the name of a folder, not a path: {name!r}.")
    parameters = choose_parameters(options, settings)
    price = ""
    if settings.dwh.target == "redshift" and len(parameters) > 1:
        plan = show_plan(options, settings, name, creates="01_provision" in parameters)
        price = plan.get("price", "").partition(",")[0]
        if account := plan.get("account", "").partition(",")[0]:  # whatever the login is later
            settings = replace(settings, aws=replace(settings.aws, account=account))
    folder = make_folder(Path(options.runs), name)
    for chosen in parameters.values():
        own = {"out": str(folder), "run": folder.name}
        chosen |= {key: own[key] for key in own if chosen.get(key) == ""}
    return Run(folder, FOLDER, parameters, settings, describe_possible(settings, price))


def show_plan(options, settings: config.Settings, name: str, creates: bool) -> dict[str, str]:
    """Show what a run would create and remove, and go on only when that is confirmed; return the
    plan's header, if any."""
    from lib import provision

    plan = provision.plan_creation(settings, name) if creates else None
    if plan:
        show(f"{plan}\n")
    pending = plan is not None and bool(plan.pending)
    keep = options.keep or not (options.yes or pending)
    if removed := provision.describe_end(settings, name, keep, options.teardown):
        show(f"{removed}\n")
    if pending and not options.yes:
        raise UserError(plan.how_to_confirm)
    return dict(plan.header) if plan else {}


def answer_question(options, settings: config.Settings) -> str:
    """Answer --status or --export, and return what to print; '' when neither is given."""
    if options.status:
        from lib import provision

        return provision.describe_status(settings)
    if options.export is not None:
        from lib.warehouse import export

        if "://" in options.export:
            raise UserError("--export writes to a folder of this machine; copy it on from there.")
        rows = export.export(settings, Path(options.export))
        lines = [f"{table:<9} {count:,} rows" for table, count in rows.items()]
        where = shorten_path(Path(options.export))
        return "\n".join([*lines, f"written as Parquet and CSV to {where}"])
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for; return the exit code. Every exception is caught here."""
    prepare_streams()
    run = error = None
    with handle_signals():
        try:
            options = make_parser().parse_args(arguments)
            settings = read_settings(options)
            if answer := answer_question(options, settings):
                show(answer)
                return 0
            run = prepare_run(options, settings)
            run.execute()
            show(run.summarize())
        except BaseException as caught:  # noqa: BLE001
            error = caught
        with handle_signals(are_ignored=True):
            return end_run(run, error)


def end_run(run: Run | None, error: BaseException | None) -> int:
    """Print why a run ended early, how to go on, and what still runs and costs; keep it in the
    journal too, in case the terminal was closed. Return the exit code."""
    code, why = explain_end(error, run and run.folder) if error else (0, "")
    stream = sys.stderr if code else sys.stdout
    if run and error:
        status = "completed" if run.journal.get("status") == "completed" else "failed"
        with suppress(OSError):
            run.write_journal(ended=why, status=status)
        why = f"\n{why}\n{run.explain_resuming()}"
    with suppress(OutputClosed):
        show(why, stream, end="\n" * bool(why))
    if run and run.may_run:
        still = describe_running(run.settings, run.may_run)
        with suppress(OutputClosed):
            show(still and f"\n{still}", stream, end="\n" * bool(still))
        with suppress(OSError):
            run.write_journal(still_running=still)
    return code
