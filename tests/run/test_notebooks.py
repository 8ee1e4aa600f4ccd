"""The notebooks as they are committed, and each one alone under plain papermill."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import chdir
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import nbformat
import pandas as pd
import papermill as pm
import pytest
import yaml
from click.testing import CliRunner
from papermill import cli

from lib import ROOT, config, sample, warehouse
from lib.analyse import report
from lib.run import NOTEBOOKS

FILES = [ROOT / "notebooks" / f"{name}.ipynb" for name in NOTEBOOKS]
each = pytest.mark.parametrize("file", FILES, ids=NOTEBOOKS)


def cells(file: Path, kind: str = "code") -> list:
    return [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == kind]


def test_there_are_five_in_order():
    assert sorted((ROOT / "notebooks").glob("*.ipynb")) == FILES


def test_are_committed_without_outputs_and_the_commit_hook_finds_nothing_to_strip():
    assert not any(cell.outputs or cell.execution_count for file in FILES for cell in cells(file))
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    (entry,) = [hook["entry"] for hook in hooks if hook["id"] == "nbstripout"]
    _, *options = shlex.split(entry)
    words = [sys.executable, "-m", "nbstripout", "--verify", *options, *map(str, FILES)]
    assert subprocess.run(words, check=False).returncode == 0


@each
def test_opens_with_what_it_does_needs_and_costs(file):
    first = nbformat.read(file, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "need" in first.source
    assert "cost" in first.source


@each
def test_is_plain_markdown_that_ends_with_what_to_do_next(file):
    texts = cells(file, "markdown")
    assert not any(re.search(r"</?\w+[^>]*>", text.source) for text in texts), "GitHub drops HTML"
    last = nbformat.read(file, as_version=4).cells[-1]
    (link,) = re.findall(r"^\*\*Next:\*\* .*\]\((\w+\.ipynb)\)", last.source)
    assert file.with_name(link) in FILES


@each
def test_holds_no_function_and_no_long_cell(file):
    for cell in cells(file):
        assert not re.search(r"^\s*(def|class|lambda) ", cell.source, re.MULTILINE)
        assert len(cell.source.splitlines()) <= 12
        assert "sys.path" not in cell.source


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, str]:
    """Small data, and the parameters that lead to it and to a database of its own."""
    folder = tmp_path_factory.mktemp("world")
    sample.make(folder / "data", scale=0.05, songs=40)
    return {
        "database": str(folder / "small.duckdb"),
        "log_data": str(folder / "data" / "log_data"),
        "song_data": str(folder / "data" / "song_data"),
        "out": str(folder),
    }


@dataclass
class Executed:
    """A notebook that papermill has run: its exit code, what it said, and what is shown."""

    code: int
    said: str
    outputs: list

    @property
    def text(self) -> str:
        """What it prints."""
        return "".join(output.get("text", "") for output in self.outputs)

    @property
    def error(self):
        """The error that it ended with."""
        (error,) = [one for one in self.outputs if one.output_type == "error"]
        return error


def papermill(name: str, world: dict, *more: str) -> Executed:
    """Run one notebook with plain papermill from the repository's root."""
    declared = next(c for c in cells(ROOT / "notebooks" / f"{name}.ipynb"))
    executed = Path(world["out"]) / f"{name}.ipynb"
    words = [f"notebooks/{name}.ipynb", str(executed)]
    for parameter, value in world.items():
        if f"{parameter}: " in declared.source:
            words += ["-p", parameter, value]
    with chdir(ROOT):
        done = CliRunner().invoke(cli.papermill, [*words, *more])
    outputs = [o for cell in cells(executed) for o in cell.outputs]
    return Executed(done.exit_code, done.output, outputs)


@pytest.fixture(scope="module")
def executed(world) -> dict[str, Executed]:
    """Each of the five notebooks, run alone."""
    return {name: papermill(name, world) for name in NOTEBOOKS}


def test_each_runs_alone_under_plain_papermill_and_leaves_the_database_to_the_next(executed, world):
    for name, done in executed.items():
        assert done.code == 0, f"{name}: {done.said}"
    assert Path(world["database"]).exists()


def test_load_shows_rows_a_capped_table_and_the_audits(executed, world):
    load = executed["03_load"]
    rows = json.loads(Path(world["out"], "load.json").read_text())["rows"]
    assert "audits passed" in load.text
    tables = "".join(output.get("data", {}).get("text/html", "") for output in load.outputs)
    assert f"showing 20 of {rows['songplays']:,}" in tables


def test_teardown_deletes_only_when_confirmed_and_finds_lib_whatever_folder_it_starts_in(
    executed, world, tmp_path
):
    assert "Nothing was removed" in executed["05_teardown"].text
    own = world | {"database": str(tmp_path / "own.duckdb"), "out": str(tmp_path)}
    shutil.copy(world["database"], own["database"])
    done = papermill("05_teardown", own, "-p", "confirm", "True", "--cwd", str(tmp_path))
    assert done.code == 0, done.said
    assert not Path(own["database"]).exists()
    assert Path(own["log_data"]).exists(), "data of one's own is never touched"


@each
def test_says_what_each_parameter_is_which_papermill_shows_as_help(file):
    (parameters,) = [c for c in cells(file) if "parameters" in c.metadata.get("tags", [])]
    for line in parameters.source.splitlines():
        assert re.fullmatch(r"[a-z_]+: (str|bool|int|float) = \S+  # \S.{10,}", line), line
    lines = [
        f"{name}: {about['inferred_type_name']} = {about['default']}  # {about['help']}"
        for name, about in pm.inspect_notebook(str(file)).items()
    ]
    assert lines == parameters.source.splitlines()


def test_a_loop_over_levels_draws_the_plays_of_each(executed, world, tmp_path):
    done = papermill("04_analyse", world | {"out": str(tmp_path)}, "-p", "level", "paid")
    assert done.code == 0, done.said
    paid, every = (
        pd.read_csv(Path(out, "charts", "plays_by_hour.csv"))["plays"].sum()
        for out in (tmp_path, world["out"])
    )
    by_level = pd.read_csv(Path(world["out"], "charts", "level_by_day.csv"))
    assert paid == by_level.loc[by_level["level"] == "paid", "plays"].sum() < every


PEOPLE = [f"user-7f3kq-{number}" for number in range(9)]
CLOCK = re.compile(r"\d\d:\d\d:\d\d")  # finer than a report says when anything was


@pytest.fixture(scope="module")
def shared(tmp_path_factory, write, event, song) -> tuple[dict[str, Executed], dict[Path, str]]:
    """Run 03 and 04 on five days of people who change level at odd moments, and a bad record of
    one; return both, and the text of each file that is made to be shared.
    """
    folder = tmp_path_factory.mktemp("shared")
    start = int(datetime(2017, 12, 30, tzinfo=UTC).timestamp() * 1000) + 61_237
    records = [
        event(
            **{"userId": user, "sessionId": day * 100 + int(user[-1]), "itemInSession": hour},
            **{"ts": start + day * 86_400_000 + hour * 3_600_000 + int(user[-1]) * 7_919},
            **{"level": "paid" if hour + day > 26 - int(user[-1]) else "free"},
            **{"firstName": "Xanthippe", "lastName": user.replace("user", "name")},
        )
        for day, hour, user in product(range(5), range(24), PEOPLE)
    ]
    write(folder / "log_data/a.json", [*records, event(userId=PEOPLE[0], ts="soon")])
    write(folder / "song_data/a.json", [song()])
    write(folder / "dwh.cfg", b"[LOAD]\nMAX_REJECTS = 1\n")
    of = {name: str(folder / name) for name in ("log_data", "song_data")}
    of |= {"config": str(folder / "dwh.cfg"), "database": str(folder / "dwh.duckdb")}
    made = warehouse.connect(
        config.read_settings(folder / "dwh.cfg", database=of["database"]), create=True
    )
    made.create_schema()
    made.close()
    names = ("03_load", "04_analyse")
    done = {name: papermill(name, of | {"out": str(folder)}) for name in names}
    for name, one in done.items():
        assert one.code == 0, f"{name}: {one.said}"
    headline = json.loads((folder / "headline.json").read_text(encoding="utf-8"))
    report.write_report(folder / "04_analyse.ipynb", folder / "report.html", "Shared", headline)
    files = [folder / "report.html", *(folder / "charts").glob("*.[!p]*")]
    return done, {file: file.read_text(encoding="utf-8") for file in files}


def test_nothing_that_is_shared_or_shown_tells_who_was_there_when(shared):
    done, texts = shared
    assert {file.suffix for file in texts} == {".html", ".csv", ".svg"}
    shown = {name: json.dumps(done[name].outputs) for name in ("03_load", "04_analyse")}
    for text in [*texts.values(), *shown.values()]:
        assert not any(user in text for user in PEOPLE)
        assert "Xanthippe" not in text
    tables = [text for file, text in texts.items() if file.suffix != ".svg"]
    for text in [*tables, *shown.values()]:
        assert not CLOCK.search(text)


def test_people_in_a_timeline_are_numbers_and_a_source_over_a_new_year_has_both_years(shared):
    _, texts = shared
    (spans,) = (pd.read_csv(file) for file in texts if file.name == "level_timeline.csv")
    assert list(spans) == ["person", "level", "first_day", "last_day", "users", "label"]
    assert set(spans["person"]) == set(range(1, len(PEOPLE) + 1))
    assert set(spans["first_day"].str.len()) == {len("2018-11-01")}

    charts = [text for file, text in texts.items() if file.suffix == ".svg"]
    assert len(charts) > 10
    assert all("30 Dec 2017 – 3 Jan 2018, UTC" in text for text in charts)


@pytest.mark.parametrize(
    ("name", "parameter", "value", "sentence"),
    [
        ("01_provision", "log_data", "/no/such/folder", "There is no folder /no/such/folder"),
        ("03_load", "target", "redshfit", "must be local or redshift"),
        ("04_analyse", "level", "gold", "No play is of the level 'gold'; name free or paid."),
    ],
)
def test_a_wrong_parameter_gets_one_sentence_and_a_failure(
    executed, world, tmp_path, name, parameter, value, sentence
):
    done = papermill(name, world | {"out": str(tmp_path)}, "-p", parameter, value)
    assert done.code != 0
    assert sentence in done.error.evalue
    assert len(done.error.traceback) == 1, "the sentence alone, no stack"


def test_analysis_of_an_empty_warehouse_says_to_load_first(dwh, settings, world, tmp_path):
    dwh().close()
    empty = {"database": str(settings().database), "out": str(tmp_path)}
    done = papermill("04_analyse", world | empty)
    assert done.code != 0
    assert "run 03_load first" in done.error.evalue
