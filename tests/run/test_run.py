"""The runner: what it leaves behind, how it fails, how it goes on."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat
import pytest

from lib import ROOT, config, run, sample, warehouse
from tests.browser import faults
from tests.runner import runner

# What takes a while to import, or is nothing that a notebook on this machine needs.
HEAVY = {"boto3", "duckdb", "jinja2", "matplotlib", "nbconvert", "pandas", "papermill"}
HEAVY |= {"redshift_connector", "sqlalchemy", "ua_parser"}
LATE = {"jinja2", "ua_parser"}  # imported where they are used
USED = {
    "01_provision": {"duckdb", "jinja2"},
    "02_schema": {"duckdb", "jinja2", "pandas", "sqlalchemy"},
    "03_load": {"duckdb", "jinja2", "pandas", "sqlalchemy"},
    "04_analyse": {"duckdb", "jinja2", "matplotlib", "pandas", "sqlalchemy", "ua_parser"},
    "05_teardown": {"duckdb", "jinja2"},
}
# IPython runs this when a kernel starts: what is imported is noted after each cell.
NOTE = """
import os, psutil, sys, IPython, pathlib
at = psutil.Process().create_time()
def note(_, to=pathlib.Path({folder!r}) / f"{{at:.3f}} {{os.getpid():09}}.noted"):
    with to.open("a") as noted:
        print(*sys.modules, file=noted)
IPython.get_ipython().events.register("post_run_cell", note)
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "small"
    sample.make(folder, scale=0.05, songs=40)
    return folder


def places(data: Path, folder: Path) -> list[str]:
    """Options that keep a run within `folder`."""
    places = {"--log-data": data / "log_data", "--song-data": data / "song_data"}
    places |= {"--database": folder / "small.duckdb", "--runs": folder / "runs"}
    return [str(word) for pair in places.items() for word in pair]


@pytest.fixture
def options(data, tmp_path) -> list[str]:
    return places(data, tmp_path)


@dataclass
class Complete:
    """A run that came to its end: where, what it said, the rows of each table, and what each
    notebook had imported after each of its cells, first of all before it began."""

    folder: Path
    done: subprocess.CompletedProcess
    rows: dict[str, int]
    imported: dict[str, list[set[str]]]


@pytest.fixture(scope="module")
def complete(data, tmp_path_factory) -> Complete:
    folder, noted = tmp_path_factory.mktemp("complete"), tmp_path_factory.mktemp("imported")
    startup = noted / "profile_default" / "startup" / "note.py"
    startup.parent.mkdir(parents=True)
    startup.write_text(NOTE.format(folder=str(noted)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(noted))
        done = runner(*places(data, folder), "--name", "first")
    started = sorted(noted.glob("*.noted"))
    imported = {
        name: [set(line.split()) for line in file.read_text().splitlines()]
        for name, file in zip(run.NOTEBOOKS, started, strict=True)
    }
    return Complete(folder, done, rows(folder), imported)


@pytest.fixture
def loaded(complete, options, tmp_path) -> list[str]:
    """Options for a run on a copy of the warehouse that a complete run has left."""
    shutil.copy(complete.folder / "small.duckdb", tmp_path)
    return options


def rows(folder) -> dict[str, int]:
    settings = config.load(environ={}, database=str(folder / "small.duckdb"))
    opened = warehouse.connect(settings, read_only=True)
    counted = opened.row_counts()
    opened.close()
    return counted


def test_a_run_leaves_notebooks_report_charts_journal_and_a_warehouse(complete):
    done, folder = complete.done, complete.folder / "runs" / "first"
    assert (done.returncode, done.stderr) == (0, "")
    left = {path.name for path in folder.iterdir()}
    notebooks = {f"{name}.ipynb" for name in run.NOTEBOOKS}
    files = {"report.html", "charts", "journal.json", "load.json", "headline.json"}
    assert left == notebooks | files
    charts = {path.name for path in (folder / "charts").iterdir()}
    assert {"coverage.png", "coverage.svg", "top_songs.png", "plays_by_hour.svg"} <= charts
    journal = json.loads((folder / "journal.json").read_text())
    assert [entry["status"] for entry in journal["notebooks"]] == ["completed"] * 5
    assert journal["status"] == "completed"
    assert [figure["figure"] for figure in journal["headline"]][:2] == ["Plays", "Listeners"]
    listed = (folder.parent / "index.html").read_text("utf-8")
    assert '<a href="./first/report.html">first</a>' in listed
    for table, count in complete.rows.items():
        assert f"{table:<16}{count:>14,} rows" in done.stdout
    assert "coverage" in done.stdout
    assert f"report: {folder.parent / 'latest' / 'report.html'}" in done.stdout


def test_a_notebook_imports_only_what_it_uses_and_has_it_before_it_begins(complete):
    for name, used in USED.items():
        before, *_, after = complete.imported[name]
        assert (name, after & HEAVY) == (name, used)
        assert (name, before & HEAVY) == (name, used - LATE)


def test_the_report_of_a_run_opens_offline_with_every_chart(complete, opened_offline):
    report = complete.folder / "runs" / "first" / "report.html"
    assert report.stat().st_size < 2_000_000
    for width, scheme in ((375, "light"), (1100, "dark")):
        with opened_offline(report, width, scheme) as page:
            assert faults(page) == []
            assert page.locator(".band dt").count() == 4
            facts = page.locator(".box").all_inner_texts()
            assert ["All 9 passed" in facts[0], "first" in facts[1]] == [True, True]
            assert str(complete.folder) not in page.content()
            drawn = len([*(report.parent / "charts").glob("*.png")])
            assert page.evaluate("document.images.length") == drawn > 15
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.inner_text("h1") == "What Sparkify's listeners do"
            assert "import" not in page.inner_text("body"), "code is left out"


PARAMETERS = {"confirm": "bool", "teardown": "bool", "run": "str", "target": "str"}


@pytest.mark.parametrize(
    ("target", "words", "given"),
    [
        ("redshift", [], (False, False, False)),
        ("redshift", ["--yes"], (True, True, False)),
        ("redshift", ["--yes", "--keep"], (True, False, False)),
        ("redshift", ["--teardown"], (False, False, True)),
        ("redshift", ["--yes", "--teardown"], (True, True, True)),
        ("local", [], (False, False, False)),
        ("local", ["--yes"], (True, False, False)),
        ("local", ["--teardown"], (False, False, True)),
    ],
)
def test_each_step_that_costs_or_deletes_has_a_word_of_its_own(
    monkeypatch, tmp_path, settings, target, words, given
):
    monkeypatch.setattr(run, "read_parameters", lambda _: PARAMETERS)
    options = run.parser().parse_args(words)
    own = settings(target=target, client_cidr="203.0.113.7/32")
    chosen = run.choose_parameters(options, own, tmp_path / "a-run")
    first, last = chosen["01_provision"], chosen["05_teardown"]
    assert (first["confirm"], last["confirm"], last["teardown"]) == given
    assert {one["run"] for one in chosen.values()} == {"a-run"}


@pytest.mark.parametrize("number", ["01", "05"])
def test_a_confirmation_may_be_a_parameter_of_one_notebook(monkeypatch, tmp_path, settings, number):
    monkeypatch.setattr(run, "read_parameters", lambda _: PARAMETERS)
    options = run.parser().parse_args(["--only", number, "-p", "confirm", "true"])
    (chosen,) = run.choose_parameters(options, settings(), tmp_path).values()
    assert chosen["confirm"] is True


def test_the_status_of_a_warehouse_that_can_not_be_opened_is_an_error(tmp_path, capsys):
    (tmp_path / "dwh.duckdb").write_text("this is no database" * 1000)
    words = ["--database", str(tmp_path / "dwh.duckdb"), "--status"]
    assert run.main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"target local: {tmp_path / 'dwh.duckdb'}, 0.0 MB; it costs nothing."
    assert said[1].endswith("name another file with the parameter database.")


def test_runs_that_begin_in_one_second_have_folders_of_their_own(
    own_notebook, tmp_path, monkeypatch
):
    class Still(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 11, 28, 12, tzinfo=tz)

    monkeypatch.setattr(run, "datetime", Still)
    words = own_notebook("1")
    assert [run.main(words) for _ in range(3)] == [0, 0, 0]
    names = {folder.parent.name for folder in (tmp_path / "runs").glob("*/journal.json")}
    first = "20261128T120000Z-local"
    assert names - {"latest"} == {first, f"{first}-2", f"{first}-3"}


def test_the_report_that_is_named_is_this_runs_own(own_notebook, tmp_path, capsys):
    cell = f"""
        import pathlib
        runs = pathlib.Path({str(tmp_path / "runs")!r})
        (runs / "mine" / "report.html").touch()
        (runs / "other").mkdir()
        (runs / "other" / "report.html").touch()
        (runs / "latest").unlink()
        (runs / "latest").symlink_to("other")"""
    assert run.main([*own_notebook(textwrap.dedent(cell)), "--name", "mine"]) == 0
    assert f"report: {tmp_path}/runs/mine/report.html" in capsys.readouterr().out


@pytest.fixture
def bad(data):
    file = data / "log_data" / "bad.json"
    file.write_text('{"ts": "yesterday"}\n')
    yield file
    file.unlink(missing_ok=True)


def test_a_failed_run_says_where_and_goes_on_from_there(complete, loaded, bad, tmp_path):
    done = runner(*loaded)
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()
    assert said[0] == "03_load failed at “Load”:"
    assert said[1].startswith(f"BadRecords: {bad}, line 1: ")
    assert "--from 03" in done.stderr
    journal = json.loads((tmp_path / "runs" / "latest" / "journal.json").read_text())
    states = [entry["status"] for entry in journal["notebooks"]]
    assert states == ["completed", "completed", "failed", "pending", "pending"]
    listed = (tmp_path / "runs" / "index.html").read_text("utf-8")
    assert "failed in 03_load, “Load”" in listed
    assert rows(tmp_path) == complete.rows
    another = next(bad.parent.rglob("2018-11-*.json")).read_text().splitlines()[0]
    bad.write_text(json.dumps(json.loads(another) | {"sessionId": 9999}))
    done = runner(*loaded, "--from", "03", "--name", "mended")
    assert (done.returncode, done.stderr) == (0, "")
    assert rows(tmp_path)["staging_events"] == complete.rows["staging_events"] + 1
    assert os.readlink(tmp_path / "runs" / "latest") == "mended"
    ran = {path.name for path in (tmp_path / "runs" / "mended").glob("*.ipynb")}
    assert ran == {"03_load.ipynb", "04_analyse.ipynb", "05_teardown.ipynb"}


def test_a_second_load_changes_nothing(complete, loaded, tmp_path):
    assert run.main([*loaded, "--only", "03"]) == 0
    assert rows(tmp_path) == complete.rows


def test_teardown_removes_the_warehouse_and_never_the_data(data, loaded, tmp_path):
    assert (tmp_path / "small.duckdb").exists()
    assert run.main([*loaded, "--only", "05", "--teardown"]) == 0
    assert not (tmp_path / "small.duckdb").exists()
    assert (data / "log_data").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bogus"], "bogus belongs to no option; see --help."),
        (["--databse", "x"], "There is no option --databse; did you mean --database?"),
        (["--target", "redshfit"], "must be local or redshift, not 'redshfit'; did you mean"),
        (["--only", "06"], "There is no notebook 06; known are 01_provision"),
        (["--from", "03_laod"], "There is no notebook 03_laod; did you mean 03_load?"),
        (["--from", "03", "--only", "04"], "--from and --only exclude each other"),
        (["-p", "confrim", "yes"], "No notebook has a parameter confrim; did you mean confirm?"),
        (["--only", "01", "-p", "confirm", "perhaps"], "confirm must be true or false, not 'perh"),
        (["--log-data", "x"], "LOG_DATA is named and SONG_DATA is not"),
        (["--config", "/no/such.cfg"], "There is no configuration file /no/such.cfg"),
        (["--name", "a/b"], "--name is the name of a folder"),
        (["--only", ""], "--only is empty; give it a value or leave it out."),
        (["--from", ""], "--from is empty"),
        (["--name", ""], "--name is empty"),
        (["--log-data", ""], "--log-data is empty"),
        (["--export", "x", "--status"], "--export and --status exclude each other"),
        (["--keep", "--teardown"], "--keep and --teardown exclude each other"),
        (["-p", "confirm", "true"], "several notebooks, --yes confirms the price and the removal"),
        (["-p", "run", "x"], "-p run is taken with --only 01 or --only 05 alone"),
        (["--from", "04", "-p", "teardown", "true"], "and --teardown the removal of everything"),
    ],
)
def test_a_wrong_option_gets_one_sentence_and_exit_code_2(words, sentence, tmp_path, capsys):
    try:
        code = run.main([*words, "--runs", str(tmp_path / "runs")])
    except SystemExit as stop:  # argparse's own way out
        code = stop.code
    said = capsys.readouterr()
    assert code == 2
    assert sentence in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists(), "nothing is made for a wrong option"


def test_a_page_over_all_runs_that_can_not_be_written_stops_no_run(own_notebook, tmp_path, capsys):
    (tmp_path / "runs" / "index.html").mkdir(parents=True)
    assert run.main(own_notebook("1")) == 0
    said = capsys.readouterr()
    assert "index.html can't be written: Is a directory." in said.err
    assert "all runs" not in said.out


def test_a_brace_in_a_path_is_no_parameter_of_papermills(own_notebook, tmp_path):
    folder = tmp_path / "a {b} }"
    folder.mkdir()
    options = [*own_notebook("pass"), "--runs", str(folder)]
    assert run.main([*options, "--name", "{c}"]) == 0
    assert (folder / "{c}" / "01_provision.ipynb").is_file()


def test_runs_that_lead_to_a_disk_that_is_not_there_are_one_sentence(tmp_path, capsys):
    (tmp_path / "runs").symlink_to(tmp_path / "unplugged")
    assert run.main(["--runs", str(tmp_path / "runs"), "--only", "02"]) == 2
    said = capsys.readouterr().err
    assert said == f"{tmp_path / 'runs'} is a link to what is not there; choose other --runs.\n"


def test_an_existing_name_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    assert run.main(["--runs", str(tmp_path / "runs"), "--name", "mine"]) == 2
    assert "exists; choose another --name" in capsys.readouterr().err


def test_a_notebook_that_can_not_be_read_gets_one_sentence(own_notebook, tmp_path, capsys):
    words = own_notebook("1")
    (tmp_path / "01_provision.ipynb").write_text("<<<<<<< HEAD")
    assert run.main(words) == 2
    assert "01_provision.ipynb can't be read: Expecting value" in capsys.readouterr().err


def test_a_parameter_of_ones_own_needs_no_type(own_notebook, tmp_path):
    words = own_notebook("mine = 1", "assert mine == 'yours'")
    notebook = nbformat.read(tmp_path / "01_provision.ipynb", as_version=4)
    notebook.cells[0].metadata.tags = ["parameters"]
    nbformat.write(notebook, tmp_path / "01_provision.ipynb")
    assert run.main([*words, "-p", "mine", "yours"]) == 0


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("raise SystemExit(0)", "1 of 2 cells did not run"),
        ("import os; os._exit(1)", "DeadKernelError"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_is_no_success_unless_every_cell_ran(own_notebook, capsys, ending, said):
    assert run.main(own_notebook(ending, "print('never')")) == 1
    assert said in capsys.readouterr().err


def test_help_imports_nothing_that_takes_a_while():
    words = [sys.executable, "-X", "importtime", "-m", "lib.run", "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert not imported & (HEAVY | {"jupyter_client"})
    assert "--song-data" in done.stdout
