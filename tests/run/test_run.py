"""The runner: what it leaves behind, how it fails, how it goes on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lib import ROOT, config, run, sample, warehouse
from lib.run.execution import make_folder
from tests.browser import faults
from tests.runner import runner

# What takes a while to import.
HEAVY = {"boto3", "duckdb", "jinja2", "jupyter_client", "matplotlib", "nbconvert", "pandas"}
HEAVY |= {"papermill", "redshift_connector", "sqlalchemy", "ua_parser"}


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


@pytest.fixture(scope="module")
def complete(data, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A run of all five that came to its end: where, and what it said."""
    folder = tmp_path_factory.mktemp("complete")
    return folder, runner(*places(data, folder), "--name", "first")


def test_a_run_leaves_notebooks_report_charts_journal_and_a_warehouse(complete):
    folder, done = complete[0] / "runs" / "first", complete[1]
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
    assert journal["parameters"]["05_teardown"]["run"] == "first"
    assert journal["parameters"]["04_analyse"]["out"] == str(folder)
    assert [figure["figure"] for figure in journal["headline"]][:2] == ["Plays", "Listeners"]
    listed = (folder.parent / "index.html").read_text("utf-8")
    assert '<a href="./first/report.html">first</a>' in listed
    opened = warehouse.connect(
        config.read_settings(database=complete[0] / "small.duckdb"), read_only=True
    )
    for table, count in opened.count_rows().items():
        assert f"{table:<16}{count:>14,} rows" in done.stdout
    opened.close()
    assert "coverage" in done.stdout
    assert f"report: {folder / 'report.html'}" in done.stdout


def test_the_report_of_a_run_opens_offline_with_every_chart(complete, opened_offline):
    report = complete[0] / "runs" / "first" / "report.html"
    assert report.stat().st_size < 2_000_000
    for width, scheme in ((375, "light"), (1100, "dark")):
        with opened_offline(report, width, scheme) as page:
            assert faults(page) == []
            assert page.locator(".band dt").count() == 4
            facts = page.locator(".box").all_inner_texts()
            assert ["All 9 passed" in facts[0], "first" in facts[1]] == [True, True]
            assert str(complete[0]) not in page.content()
            drawn = len([*(report.parent / "charts").glob("*.png")])
            assert page.evaluate("document.images.length") == drawn > 15
            assert page.evaluate("document.documentElement.scrollWidth") == width
            assert page.inner_text("h1") == "What Sparkify's listeners do"
            assert "import" not in page.inner_text("body"), "code is left out"


GO_ON = "Once the cause is fixed, go on with --from 03 and the same options, except --name."
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
    monkeypatch, settings, target, words, given
):
    monkeypatch.setattr(run, "read_parameters", lambda _: PARAMETERS)
    options = run.make_parser().parse_args(words)
    own = settings(target=target, client_cidr="203.0.113.7/32")
    chosen = run.choose_parameters(options, own)
    first, last = chosen["01_provision"], chosen["05_teardown"]
    assert (first["confirm"], last["confirm"], last["teardown"]) == given


def test_a_confirmation_may_be_a_parameter_of_one_notebook(settings):
    for number in ("01", "05"):
        options = run.make_parser().parse_args(["--only", number, "-p", "confirm", "yes"])
        (chosen,) = run.choose_parameters(options, settings()).values()
        assert chosen["confirm"] is True


def test_the_status_of_a_warehouse_that_can_not_be_opened_is_an_error(tmp_path, capsys):
    (tmp_path / "dwh.duckdb").write_text("this is no database" * 1000)
    words = ["--database", str(tmp_path / "dwh.duckdb"), "--status"]
    assert run.main(words) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"target local: {tmp_path / 'dwh.duckdb'}, 0.0 MB; it costs nothing."
    assert said[1].endswith("name another file with the parameter database.")


def test_runs_that_begin_in_one_second_have_folders_of_their_own(tmp_path):
    names = [make_folder(tmp_path / "runs", "now-local", is_given=False).name for _ in range(3)]
    assert names == ["now-local", "now-local-2", "now-local-3"]
    assert os.readlink(tmp_path / "runs" / "latest") == "now-local-3"


def test_a_failed_run_says_where_and_goes_on_from_there(
    own_notebook, tmp_path, monkeypatch, capsys
):
    mended = tmp_path / "mended"
    words = own_notebook(f"import os\nassert os.path.exists({str(mended)!r}), 'not mended'")[2:]
    names = ("01_provision", "03_load", "05_teardown")
    monkeypatch.setattr(run, "NOTEBOOKS", names)
    file = tmp_path / "01_provision.ipynb"
    notebook = nbformat.read(file, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("## Load\nAll of it."))
    nbformat.write(notebook, tmp_path / "03_load.ipynb")
    for name in names[::2]:
        nbformat.write(
            nbformat.v4.new_notebook(metadata=notebook.metadata), tmp_path / f"{name}.ipynb"
        )
    assert run.main([*words, "--name", "first"]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[:2] == ["03_load failed at “Load”:", "AssertionError: not mended"]
    assert said[2].endswith("first/03_load.ipynb. " + GO_ON)
    journal = json.loads((tmp_path / "runs" / "latest" / "journal.json").read_text())
    assert journal["ended"].startswith("03_load failed")
    states = [entry["status"] for entry in journal["notebooks"]]
    assert states == ["completed", "failed", "pending"]
    assert journal["notebooks"][1]["error"].endswith("not mended")
    listed = (tmp_path / "runs" / "index.html").read_text("utf-8")
    assert "failed in 03_load, “Load”" in listed
    mended.touch()
    assert run.main([*words, "--from", "03", "--name", "mended"]) == 0
    assert os.readlink(tmp_path / "runs" / "latest") == "mended"
    ran = {path.name for path in (tmp_path / "runs" / "mended").glob("*.ipynb")}
    assert ran == {"03_load.ipynb", "05_teardown.ipynb"}


def test_teardown_removes_the_warehouse_and_never_the_data(complete, data, tmp_path):
    shutil.copy(complete[0] / "small.duckdb", tmp_path)
    assert run.main([*places(data, tmp_path), "--only", "05", "--teardown"]) == 0
    assert not (tmp_path / "small.duckdb").exists()
    assert (data / "log_data").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["bogus"], "There is no option bogus; known are --help"),
        (["--databse", "x"], "There is no option --databse; did you mean --database?"),
        (["--target", "redshfit"], "must be local or redshift, not 'redshfit'."),
        (["--only", "06"], "There is no notebook 06; known are 01_provision"),
        (["--from", "03_laod"], "There is no notebook 03_laod; did you mean 03_load?"),
        (["--from", "03", "--only", "04"], "--only: not allowed with --from"),
        (["-p", "confrim", "yes"], "has a parameter confrim; did you mean confirm?"),
        (["--only", "04", "--verify"], "--verify is for 03_load, which is not among"),
        (["--only", "01", "-p", "confirm", "perhaps"], "confirm must be true or false, not 'perh"),
        (["--log-data", "x"], "LOG_DATA is named and SONG_DATA is not"),
        (["--config", "/no/such.cfg"], "/no/such.cfg can't be read: No such file or directory"),
        (["--name", "a/b"], "--name is the name of a folder"),
        (["--only", ""], "--only is empty; give it a value or leave it out."),
        (["--from="], "--from is empty"),
        (["-p", "run"], "-p/--parameter: expected 2 arguments"),
        (["--log-data", ""], "--log-data is empty"),
        (["--export", "x", "--status"], "--status: not allowed with --export"),
        (["--keep", "--teardown"], "--teardown: not allowed with --keep"),
        (["-p", "confirm", "true"], "several notebooks, --yes confirms the price and the removal"),
        (["-p", "run", "x"], "-p run can be used only with --only 01 or --only 05"),
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


def test_a_folder_that_can_not_be_made_or_is_another_runs_is_one_sentence(tmp_path, capsys):
    runs = tmp_path / "runs"
    runs.symlink_to(tmp_path / "unplugged")
    assert run.main(["--runs", str(runs), "--name", "mine", "--only", "02"]) == 2
    said = capsys.readouterr().err
    assert said == f"{runs}/mine can't be made: File exists; choose other --runs.\n"
    (tmp_path / "unplugged" / "mine").mkdir(parents=True)
    assert run.main(["--runs", str(runs), "--name", "mine", "--only", "02"]) == 2
    assert capsys.readouterr().err == f"{runs}/mine exists; choose another --name.\n"


def test_a_parameter_of_ones_own_needs_no_type_and_a_path_may_have_braces(own_notebook, tmp_path):
    words = own_notebook("mine = 1", "assert mine == 'yours'")[:2]
    notebook = nbformat.read(tmp_path / "01_provision.ipynb", as_version=4)
    notebook.cells[0].metadata.tags = ["parameters"]
    nbformat.write(notebook, tmp_path / "01_provision.ipynb")
    words += ["--runs", str(tmp_path / "a {b} }"), "--name", "{c}", "-p", "mine", "yours"]
    assert run.main(words) == 0
    assert (tmp_path / "a {b} }" / "{c}" / "01_provision.ipynb").is_file()


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
    assert not imported & HEAVY
    assert "--song-data" in done.stdout
