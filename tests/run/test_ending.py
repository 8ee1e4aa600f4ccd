"""However a run ends: its exit code, one sentence, what still costs, and nothing left behind."""

import json
import os
import signal
import subprocess
import time

import psutil
import pytest

from lib import ROOT, SourceError, UserError, config, run
from lib.aws import AwsError, access
from lib.provision import redshift
from lib.provision.plan import Plan, Step
from lib.run import ending
from tests.runner import COMMAND, limit_file_size

POSSIBLE = (
    "The cluster sparkify-dwh may still be running in us-west-2 at $0.54 an hour until it is "
    f"removed: {access.REMOVE}"
)


@pytest.fixture
def options(tmp_path) -> list[str]:
    """Options of a run on two small files, which stays in a folder."""
    places = {"--log-data": "log_data", "--song-data": "song_data", "--runs": "runs"}
    for name in ("log_data", "song_data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.json").write_text("{}")
    places |= {"--database": "small.duckdb"}
    return [word for name, place in places.items() for word in (name, str(tmp_path / place))]


def read_journal(folder) -> dict:
    return json.loads((folder / "runs" / "latest" / "journal.json").read_text())


@pytest.mark.parametrize("is_early", [False, True])
def test_a_stopped_run_ends_its_kernels_and_says_so_also_in_the_journal(
    options, tmp_path, is_early
):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        [*COMMAND, *options], cwd=ROOT, start_new_session=True, **pipes
    ) as process:
        while not psutil.Process(process.pid).children():
            time.sleep(0.01)
        if not is_early:  # nor before a kernel is up
            next(line for line in process.stdout if "The plan" in line)
        time.sleep(0.2)
        kernels = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert said.startswith("\nTerminated.\n")
    assert "Traceback" not in said
    journal = read_journal(tmp_path)
    assert (journal["status"], journal["ended"]) == ("failed", "Terminated.")
    assert "Terminated." in [entry.get("error") for entry in journal["notebooks"]]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # no process of the run is left
    assert kernels
    assert not psutil.wait_procs(kernels, timeout=20)[1]


def test_a_signal_that_nohup_ignores_ends_no_run(own_notebook):
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run.main(own_notebook("import os; os.kill(os.getppid(), 1)")) == 0
    finally:
        signal.signal(signal.SIGHUP, former)


def test_a_signal_that_comes_while_an_object_is_deleted_is_not_lost():
    class Deleted:
        def __del__(self):
            signal.raise_signal(signal.SIGTERM)

    def delete():
        Deleted()
        time.sleep(5)

    with ending.handle_signals(), pytest.raises(ending.Stopped):
        delete()


# Where output goes


def start(*words: str, shell: str = "", **environment: str) -> subprocess.CompletedProcess:
    """Run the runner with a shell's redirection; give its exit code and what it says."""
    command = f'{" ".join(COMMAND)} "$@" {shell}'
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command, "bash", *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def test_a_pipe_that_is_closed_ends_a_run_with_one_sentence(options, tmp_path):
    done = start(*options, "--only", "01", shell="| head -1")
    assert done.returncode == 1
    assert done.stderr.startswith("\nThe output can't be written any more: Broken pipe.")
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
    assert read_journal(tmp_path)["ended"].startswith("The output can't be written")


def test_letters_that_an_encoding_lacks_are_shown_as_question_marks(options):
    done = start(*options, "--only", "01", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "The plan ?" in done.stdout


# What can't be written


@pytest.mark.parametrize("size", [100, 5000])
def test_a_full_disk_under_the_runs_is_one_sentence(own_notebook, tmp_path, capsys, size):
    words = own_notebook("print('x' * 10_000)")
    with limit_file_size(size):
        assert run.main(words) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path}/runs/" in said
    assert "can't be written: File too large; name another folder, or make room there." in said
    assert "Traceback" not in said


# What nobody thought of


def fail(*_, **__):
    raise ValueError("nobody thought of\x1b[2J this")


@pytest.mark.parametrize(
    ("function", "folder"), [("execution.run_notebook", "runs/latest"), ("read_settings", "")]
)
def test_an_unexpected_exception_is_one_sentence_that_says_where_its_details_are(
    own_notebook, monkeypatch, tmp_path, capsys, function, folder
):
    monkeypatch.setattr(f"lib.run.{function}", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run.main(own_notebook("1")) == 1
    first, second, *_ = capsys.readouterr().err.strip().splitlines()
    assert first == "Unexpected error: ValueError: nobody thought of\\x1b[2J this"
    (details,) = (tmp_path / folder).glob("traceback-*.txt")
    assert second.startswith(f"Details are in {tmp_path}/")
    assert details.name in second
    assert "in fail\n" in details.read_text()


def test_what_a_file_is_named_steers_no_terminal(own_notebook, capsys):
    assert str(UserError("a\x1b[31m\x9b\r\u202eb\n\tc")) == "a\\x1b[31m\\x9b\\r\\u202eb\n\tc"
    assert str(SourceError("Björk · 音 \udcff")) == "Björk · 音 \\udcff"
    assert run.main(["--config", "/no/\x1b[2J.cfg"]) == 2
    assert run.main(["--\x1b[2J"]) == 2
    assert run.main(own_notebook("raise ValueError('/no/\x1b[2J.json')")) == 1
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert said.err.count("\\x1b[2J") == 3


# What still runs and costs


@pytest.fixture
def on_redshift(own_notebook, tmp_path):
    """Let the runner run one notebook of the test's own as if on redshift."""
    (tmp_path / "dwh.cfg").write_text("[CLUSTER]\nCLIENT_CIDR = 203.0.113.7/32\n")
    more = ["--target", "redshift", "--config", str(tmp_path / "dwh.cfg")]
    return lambda *sources: [*own_notebook(*sources), *more]


def refuse(_):
    raise AwsError("Your AWS session has expired; log in again.")


def interrupt(_):
    signal.raise_signal(signal.SIGINT)


STOP = "import os, time; os.kill(os.getppid(), {0}); time.sleep(60)"
REMOVED = "import shutil; shutil.rmtree({runs!r})"


CELLS = {"1 / 0": 1, "1": 0, REMOVED: 1} | {STOP.format(n): 128 + n for n in (1, 2, 15)}


@pytest.mark.parametrize(
    ("asked", "cell"), [(refuse, cell) for cell in CELLS] + [(interrupt, "1 / 0"), (fail, "1 / 0")]
)
def test_whatever_ends_a_run_says_what_may_be_running_also_when_aws_can_not_be_asked(
    on_redshift, tmp_path, monkeypatch, capsys, asked, cell
):
    code = CELLS[cell]
    monkeypatch.setattr(redshift, "describe_running", asked)
    assert run.main(on_redshift(cell.format(runs=str(tmp_path / "runs")))) == code
    said = capsys.readouterr()
    words = said.err if code else said.out
    assert words.rstrip().endswith(f"{POSSIBLE} --config {tmp_path}/dwh.cfg")
    assert "Traceback" not in words
    if cell == REMOVED:
        assert f"{tmp_path}/runs/" in words
        assert "can't be written: " in words
    else:
        assert read_journal(tmp_path)["still_running"].endswith(
            f"{POSSIBLE} --config {tmp_path}/dwh.cfg"
        )


def test_what_a_closed_terminal_can_not_show_is_in_the_journal(
    on_redshift, tmp_path, monkeypatch, capsys
):
    still = f"The cluster x is available and costs $1.00/h until it is removed: {access.REMOVE}"
    monkeypatch.setattr(redshift, "describe_running", lambda _: still)

    def hang_up(*_, **__):
        raise OSError(5, "Input/output error")

    words = on_redshift(STOP.format(1))
    monkeypatch.setattr("builtins.print", hang_up)
    assert run.main(words) in (1, 129)  # whether the signal or the broken terminal comes first
    assert read_journal(tmp_path)["still_running"] == still


def test_the_journal_says_what_may_be_running_from_the_runs_begin_on(
    on_redshift, tmp_path, monkeypatch, capsys
):
    """A run that is killed has no last words."""
    monkeypatch.setattr(redshift, "describe_running", lambda _: "")
    file = tmp_path / "runs" / "latest" / "journal.json"
    possible = f"{POSSIBLE} --config {tmp_path}/dwh.cfg"
    cell = f"import json; assert json.load(open({str(file)!r}))['still_running'] == {possible!r}"
    assert run.main(on_redshift(cell)) == 0, capsys.readouterr().err
    assert json.loads(file.read_text())["still_running"] == "", "AWS has said that nothing is"
    assert "cluster" not in capsys.readouterr().out


def test_nothing_is_asked_or_said_of_aws_on_local_and_of_a_cluster_made_elsewhere(
    own_notebook, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(redshift, "describe_running", refuse)
    assert run.main(own_notebook("1 / 0")) == 1
    assert "AWS" not in capsys.readouterr().err
    own = tmp_path / "dwh.cfg"
    own.write_text("[DB]\nHOST = elsewhere.example.com\n")
    settings = config.read_settings(own, environ={}, target="redshift")
    assert ending.describe_possible(settings, "") == ""


def test_the_price_of_last_words_is_the_plans_else_the_bundled_one_of_all_nodes(settings):
    two = settings(target="redshift", num_nodes=2, client_cidr="203.0.113.7/32")
    assert "at $1.09 an hour" in ending.describe_possible(two, "")
    assert "at $0.80 an hour" in ending.describe_possible(two, "$0.80 an hour")
    other = settings(target="redshift", node_type="new.large", client_cidr="203.0.113.7/32")
    assert "at an unknown price" in ending.describe_possible(other, "")


def test_the_plan_that_is_confirmed_shows_what_will_be_removed_at_the_end(
    tmp_path, monkeypatch, capsys
):
    told = []
    step = Step("cluster", "sparkify-dwh", "missing", "create", print, "$0.60/h")
    price = ("price", "$0.60 an hour, $14.40 a day, and $0.02 a month")
    header = (("account", "123456789012, region us-west-2"), price)
    plan = Plan("redshift", (step,), header, "Nothing was created; add --yes.")

    def describe(settings, name, keep, everything):
        told.append((name, keep, everything))
        return "At the end: the cluster."

    monkeypatch.setattr("lib.provision.plan_creation", lambda settings, name: plan)
    monkeypatch.setattr("lib.provision.describe_end", describe)
    (tmp_path / "dwh.cfg").write_text("[CLUSTER]\nCLIENT_CIDR = 203.0.113.7/32\n")
    words = ["--config", str(tmp_path / "dwh.cfg"), "--target", "redshift", "--name", "mine"]
    words += ["--runs", str(tmp_path / "runs")]
    for more in ([], ["--keep"], ["--teardown"]):
        assert run.main([*words, *more]) == 2
        said = capsys.readouterr()
        assert said.out.index("$0.60 an hour") < said.out.index("At the end: the cluster.")
        assert said.err == "Nothing was created; add --yes.\n"
    assert told == [("mine", False, False), ("mine", True, False), ("mine", False, True)]
    options = run.make_parser().parse_args([*words, "--yes"])
    made = run.prepare_run(options, run.read_settings(options))
    assert made.settings.aws.account == "123456789012", "a later login is not the planned account"
    assert "at $0.60 an hour until" in made.may_run
