"""Whatever goes wrong, a load loses, doubles and half-does nothing, and the next one goes on.

A connection that breaks, and a conflict of two sessions, are in test_redshift.
"""

import hashlib
import itertools
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import nbformat
import papermill
import pytest

from lib import ROOT, SourceError, run, warehouse
from lib.load import LoadError, files, load
from lib.load.records import EVENTS
from lib.warehouse.base import TABLES
from tests.runner import limit_file_size

T = 1541106106796
MINUTE = 60_000


# A warehouse that holds a first batch, and a second one to load


@pytest.fixture(scope="module")
def write_batch(event, song):
    """Write a batch; rows of the second change rows of the first."""
    kiss = {"title": "Kiss", "artist_name": "Prince", "duration": 226.0}
    played = {"song": "Kiss", "artist": "Prince", "length": 226.0, "sessionId": 140}

    def first(world) -> None:
        world.catalogue(song())
        world.log(event(), event(ts=T + 2 * MINUTE, itemInSession=2, **played))

    def second(world) -> None:
        world.catalogue(song(song_id="SONHOTT12A8C13493C", **kiss), file="B/song.json")
        world.log(event(ts=T + MINUTE, itemInSession=3, level="paid"), file="late.json")

    return {1: first, 2: second}


def kept(world) -> dict[str, list[tuple]]:
    """Return every row of every table; of the ledger's what is so in every folder, at any time."""
    tables = world.tables()
    ledger = tables["load_files"]
    tables["load_files"] = [(row[0].removeprefix(str(world.folder)), *row[1:7]) for row in ledger]
    return tables


@dataclass
class States:
    """What a warehouse holds before the second batch, and when it is in."""

    before: dict
    after: dict


@pytest.fixture(scope="module")
def states(engine, new_world, write_batch, tmp_path_factory) -> States:
    world = new_world(tmp_path_factory.mktemp("states"), engine)
    found = []
    for write in write_batch.values():
        write(world)
        world.load()
        found.append(kept(world))
    world.close()
    assert all(found[1][table] != found[0][table] for table in ("users", "songs", "songplays"))
    return States(*found)


@pytest.fixture
def loaded(world, write_batch):
    """The first batch is in; the second lies in the folders."""
    write_batch[1](world)
    world.load()
    write_batch[2](world)
    return world


def reopen(world) -> None:
    """Open the warehouse anew, as the next process does."""
    world.dwh.close()
    world.open()


# Killed

WORKER = """
import itertools, json, os, signal, sys
import boto3, duckdb, pandas, redshift_connector, resource
from lib import config, load, warehouse

settings = config.read_settings(sys.argv[1], environ={}, **json.loads(sys.argv[2]))
dialect = "redshift" if settings.dwh.target == "redshift" else "duckdb"
templates = warehouse.templates._templates(dialect)
for name in templates.list_templates():
    templates.get_template(name)  # once for all

def run(last, size):
    if size:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    steps = itertools.count(1)

    def step(*_):
        if next(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    dwh = warehouse.connect(settings)
    execute = dwh._execute
    dwh._execute = lambda *words: (step(), execute(*words))[1]
    load.load(dwh, settings)
    step()
    dwh.close()

for line in sys.stdin:
    pid = os.fork()
    if not pid:
        run(*map(int, line.split()))
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


@contextmanager
def worker(world):
    """Give what runs a load as a process of its own and returns its exit code.

    `last`: the statement, counted from 1, that it is killed before; the one after the last
    statement is its end. `size`: of a file, it dies in the midst of writing more. `started`: is
    told the process's number.
    """
    command = [sys.executable, "-c", WORKER, *about(world)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    environment = os.environ | {"TMPDIR": str(world.folder)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:

        def run(last: int = 0, size: int = 0, started=lambda pid: None) -> int:
            print(last, size, file=process.stdin)
            started(int(process.stdout.readline()))
            return int(process.stdout.readline())

        yield run


def about(world) -> list[str]:
    """Return what another process finds the settings of a world by."""
    return [str(world.folder / "dwh.cfg"), json.dumps(world.overrides, default=str)]


def on_disk(world) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in world.folder.glob("dwh.duckdb*")}


def put_on_disk(world, files: dict[str, bytes]) -> None:
    for file in world.folder.glob("dwh.duckdb*"):
        file.unlink()
    for name, content in files.items():
        (world.folder / name).write_bytes(content)


def went_on(world) -> tuple[dict, dict]:
    """Return what a reader finds now, and after the next load."""
    world.open()
    found = kept(world)
    world.load()
    completed = kept(world)
    world.close()
    return found, completed


@pytest.mark.only_on("local")
def test_a_load_killed_at_any_statement_changes_nothing_and_the_next_one_completes(loaded, states):
    loaded.close()
    start, ends, found = on_disk(loaded), {}, []
    with worker(loaded) as run:
        for number in itertools.count(1):
            put_on_disk(loaded, start)
            if (code := run(number)) == 0:
                break
            assert code == -signal.SIGKILL
            left = tuple(on_disk(loaded).items())
            if left not in ends:  # else the next load finds what it found after another kill
                ends[left] = went_on(loaded)
            found.append(ends[left])
    assert len(found) > 30
    assert all(completed == states.after for _, completed in found)
    assert all(state == states.before for state, _ in found[:-1])
    assert found[-1][0] == states.after, "killed after the commit"


@pytest.mark.only_on("redshift")
def test_a_client_killed_while_the_server_works_has_loaded_all_or_nothing(loaded, states, double):
    pids = queue.Queue()

    def kill() -> None:
        os.kill(pids.get(timeout=60), signal.SIGKILL)

    with worker(loaded) as run:
        for statement in (
            "lock table load_lock",
            "copy landed_songs",
            "insert into staging_events",
            "insert into users",
            "update songplays",
            "copy load_files",
        ):
            double.redshift.faults.before(statement, kill)
            assert run(started=pids.put) == -signal.SIGKILL, statement
            assert kept(loaded) == states.before, statement
        double.redshift.faults.before("^commit", kill)
        assert run(started=pids.put) == -signal.SIGKILL
    loaded.load()
    assert kept(loaded) == states.after


@pytest.mark.only_on("local")
def test_a_process_that_dies_in_the_midst_of_writing_has_loaded_all_or_nothing(loaded, states):
    loaded.close()
    start = on_disk(loaded)
    checkpoint = len(start["dwh.duckdb"])
    with worker(loaded) as run:
        for size in (100, 1000, 2000, checkpoint):  # a bundle, twice the commit, the close
            put_on_disk(loaded, start)
            assert run(size=size) == -signal.SIGXFSZ
            found, completed = went_on(loaded)
            assert found == (states.after if size == checkpoint else states.before)
            assert completed == states.after


def names_left(world) -> list[Path]:
    """Return the files with a listener's name that are neither data nor the warehouse."""
    places = [world.logs, world.songs, *world.folder.glob("dwh.duckdb*")]
    files = [file for file in world.folder.rglob("*") if file.is_file()]
    others = [file for file in files if not {file, *file.parents} & {*places}]
    return [file for file in others if b"Kaylee" in file.read_bytes()]


def test_what_a_killed_load_left_is_gone_when_the_next_one_begins(loaded, states, monkeypatch):
    loaded.dwh.close()
    with worker(loaded) as run:
        for number in itertools.count(1):
            assert run(number) == -signal.SIGKILL
            if left := names_left(loaded):
                break
    assert all(file.parent.stat().st_mode & 0o77 == 0 for file in left)
    monkeypatch.setattr(tempfile, "tempdir", str(loaded.folder))
    found = []
    loaded.open()
    loaded.load(lambda step: found.append(names_left(loaded)))
    assert found[0] == []
    assert names_left(loaded) == []
    assert kept(loaded) == states.after


# No disk space


def test_a_full_disk_under_the_scratch_folder_is_one_sentence_and_changes_nothing(loaded, states):
    said = "can't be written: File too large. Nothing was loaded; make room there, or name another"
    with limit_file_size(100), pytest.raises(LoadError, match=f"^/.* {said}"):
        loaded.load()
    assert kept(loaded) == states.before
    loaded.load()
    assert kept(loaded) == states.after


@pytest.mark.only_on("local")
@pytest.mark.parametrize("size", [1000, 2000])
def test_a_full_disk_under_the_database_says_which_file_and_changes_nothing(loaded, states, size):
    said = (
        f'Could not write file "{loaded.settings.database}.wal": File too large\nNothing was loaded'
    )
    with limit_file_size(size), pytest.raises(LoadError, match=re.escape(said)):
        loaded.load()
    assert kept(loaded) == states.before
    loaded.load()
    reopen(loaded)
    assert kept(loaded) == states.after


@pytest.mark.only_on("local")
def test_a_full_disk_when_the_database_is_closed_loses_nothing(loaded, states):
    loaded.load()
    with limit_file_size(loaded.settings.database.stat().st_size):
        loaded.dwh.close()
    loaded.open()
    assert kept(loaded) == states.after


@pytest.mark.only_on("local")
def test_a_full_disk_amid_the_parse_is_not_taken_for_a_bad_file(loaded, states, event):
    said = json.dumps({name: event()[name] for name in EVENTS.required} | {"sessionId": -1})
    numbers = (str(n * 2654435761 % 2**40) for n in range(700_000))  # that can't be packed well
    lines = "\n".join(said.replace("-1", number) for number in numbers).encode()
    more, steps = loaded.log(lines, file="2018/12/events.json"), []
    said = f'Could not write file "{loaded.settings.database}": File too large\nNothing was loaded'
    size = loaded.settings.database.stat().st_size
    with limit_file_size(size), pytest.raises(LoadError, match=re.escape(said)):
        loaded.load(steps.append)
    assert steps[-1] == "staging 700,001 events"
    more.unlink()
    assert kept(loaded) == states.before


@pytest.mark.only_on("local")
def test_too_little_memory_is_one_sentence_and_not_taken_for_a_bad_file(loaded, states):
    steps = []
    loaded.dwh.raw.execute("set memory_limit = '10 MB'")
    said = r"^DuckDB ran out of memory, .* raise \[LOCAL\] MEMORY_LIMIT, .*\nNothing was loaded"
    with pytest.raises(LoadError, match=said):
        loaded.load(steps.append)
    assert not [step for step in steps if "record by record" in step]
    loaded.dwh.raw.execute("set memory_limit = '1 GB'")
    assert kept(loaded) == states.before
    loaded.load()
    assert kept(loaded) == states.after


# What can't be written to


LOADER = """
import json, sys
from lib import UserError, config, load, warehouse

settings = config.read_settings(sys.argv[1], environ={}, **json.loads(sys.argv[2]))
try:
    dwh = warehouse.connect(settings)
    load.load(dwh, settings)
    dwh.close()
except UserError as error:
    sys.exit(str(error))
"""


def loads(world, *prefix: str) -> tuple[int, str]:
    """Load in another process; return its exit code and what it says."""
    command = [*prefix, sys.executable, "-c", LOADER, *about(world)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.fixture
def as_anybody() -> list[str]:
    """What makes a command heed a file's permissions, also for root."""
    if os.geteuid():
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and there is no setpriv here to give that up")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.mark.only_on("local")
@pytest.mark.parametrize(
    ("closed", "mode", "said"),
    [
        ("dwh.duckdb", 0o444, r"^{file} can't be opened: .*Permission denied$"),
        (".", 0o555, r"Cannot open file \"{file}\.wal\": Permission denied\nNothing was loaded\.$"),
    ],
    ids=["file", "folder"],
)
def test_what_is_read_only_is_named_and_stays_as_it_is(
    loaded, states, as_anybody, closed, mode, said
):
    loaded.dwh.close()
    path = loaded.folder / closed
    start, usual = on_disk(loaded), path.stat().st_mode
    path.chmod(mode)
    try:
        code, words = loads(loaded, *as_anybody)
    finally:
        path.chmod(usual)
    assert code == 1
    assert re.search(said.format(file=re.escape(str(loaded.settings.database))), words.strip())
    assert "Traceback" not in words
    assert on_disk(loaded) == start
    loaded.open()
    loaded.load()
    assert kept(loaded) == states.after


# Files that change under the load


CHANGES = {
    "vanishes": lambda lines: [],
    "grows": lambda lines: [*lines, lines[0]],
    "shrinks": lambda lines: lines[:-1],
    "says something else": lambda lines: [line.replace(b"free", b"paid") for line in lines],
}
CHANGES["says something else, its time restored"] = CHANGES["says something else"]


@pytest.fixture
def new_file(loaded, event) -> Path:
    """A third file of events, written long ago."""
    path = loaded.log(*(event(ts=T + 9, itemInSession=item) for item in (7, 8, 9)), file="new.json")
    os.utime(path, (T / 1000, T / 1000))
    return path


def change(path: Path, how: str) -> None:
    about = path.stat()
    lines = CHANGES[how](path.read_bytes().splitlines(keepends=True))
    path.write_bytes(b"".join(lines)) if lines else path.unlink()
    if how.endswith("its time restored"):
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def goes_by_the_files(world, load: Callable[[], object], before: dict) -> bool:
    """Load, again if it says that a file changed; tell whether all is in as the files are now."""
    said = ""
    try:
        load()
    except SourceError as error:
        said = str(error)
    if said:
        words = "(can't be read: No such file or directory|changed while it was read; load again)"
        assert re.search(rf"^/.*\.json {words}\. Nothing was loaded\.$", said)
        assert kept(world) == before
        world.load()
    bodies = {str(file): file.read_bytes() for file in world.logs.rglob("*.json")}
    files = [(key, len(body), hashlib.sha256(body).hexdigest()) for key, body in bodies.items()]
    lines = sorted(json.loads(line)["level"] for b in bodies.values() for line in b.splitlines())
    ledger = "select file_key, size_bytes, content_hash from load_files where kind = 'events'"
    staged = world.rows("select level from staging_events")
    return sorted(world.rows(ledger)) == sorted(files) and sorted(staged) == [(v,) for v in lines]


@pytest.mark.only_on("local")
@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("large", [files.LARGE, 1000])
def test_a_file_that_changes_between_listing_and_reading_is_loaded_as_it_is(
    loaded, states, new_file, monkeypatch, how, large
):
    list_files, left = files.list_files, [how]

    def changed(place, settings):
        found = list_files(place, settings)
        if left and place == str(loaded.logs):
            change(new_file, left.pop())
        return found

    monkeypatch.setattr(files, "LARGE", large)
    monkeypatch.setattr(files, "list_files", changed)
    assert goes_by_the_files(loaded, loaded.load, states.before)
    assert not left


@pytest.mark.parametrize("how", CHANGES)
def test_a_large_file_that_changes_between_hashing_and_parsing_is_loaded_as_it_is(
    loaded, states, new_file, monkeypatch, how
):
    monkeypatch.setattr(files, "LARGE", 1000)
    left = [how]

    def changed(step):
        if left and step.endswith(" events") and step.startswith("staging"):
            change(new_file, left.pop())

    assert goes_by_the_files(loaded, lambda: loaded.load(changed), states.before)
    assert not left


# Two loads at once


@pytest.mark.only_on("local")
def test_a_second_load_of_the_same_file_is_refused_and_names_who_holds_it(loaded, states):
    said = []

    def meanwhile(step):
        if step == "auditing":
            said.append(loads(loaded))

    loaded.load(meanwhile)
    ((code, words),) = said
    assert code == 1
    assert words.startswith(f"{loaded.settings.database} is in use by process {os.getpid()} (")
    assert len(words.splitlines()) == 1
    assert kept(loaded) == states.after


@pytest.mark.only_on("redshift")
def test_of_two_loads_at_once_the_second_waits_and_finds_nothing_new(loaded, states, double):
    waiting = "select count(*) from pg_locks where not granted"
    ended = queue.Queue()

    def second():
        other = warehouse.connect(loaded.settings)
        ended.put(load(other, loaded.settings))
        other.close()

    def meanwhile(step):
        if step == "reading songs":
            other = threading.Thread(target=second)
            other.start()
            while other.is_alive() and double.redshift.rows(loaded.name, waiting) == [(0,)]:
                time.sleep(0.01)
        assert ended.empty()

    assert loaded.load(meanwhile).new_files == {"songs": 1, "events": 1}
    assert ended.get(timeout=60).new_files == {"songs": 0, "events": 0}
    assert kept(loaded) == states.after


# Readers


COUNTS = ", ".join(f"(select count(*) from {table})" for table in TABLES)


def test_readers_see_the_old_state_or_the_new_one_and_nothing_between(loaded, states):
    old, new = [tuple(map(len, state.values())) for state in (states.before, states.after)]
    ended, seen = threading.Event(), []

    def read() -> None:
        while not ended.is_set():
            seen.extend(loaded.rows(f"select {COUNTS}"))

    def until_one_more_is_read(step) -> None:
        count = len(seen)
        while reader.is_alive() and len(seen) == count:
            time.sleep(0.001)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        loaded.load(until_one_more_is_read)
    finally:
        ended.set()
        reader.join()
    assert len(seen) > 10
    assert seen[0] == old
    assert set(seen) <= {old, new}
    assert loaded.rows(f"select {COUNTS}") == [new]


def test_a_report_under_way_reads_one_state_to_its_end(loaded, states):
    old = [len(rows) for rows in states.before.values()]
    reader = loaded.dwh.cursor()
    cursor = reader.cursor()
    cursor.execute("begin")
    cursor.execute(f"select {COUNTS}")
    assert list(cursor.fetchone()) == old
    loaded.load()
    cursor.execute(f"select {COUNTS}")
    assert list(cursor.fetchone()) == old
    cursor.execute("commit")
    cursor.execute(f"select {COUNTS}")
    assert list(cursor.fetchone()) == [len(rows) for rows in states.after.values()]
    reader.close()


# Interrupted


@pytest.mark.only_on("local")
def test_ctrl_c_at_any_statement_rolls_back_and_the_same_connection_loads_on(loaded, states):
    execute, found = loaded.dwh._execute, []

    def interrupted_after(number: int) -> Callable:
        steps = itertools.count(1)

        def run(statement, values=None):
            if not number:
                raise KeyboardInterrupt
            result = execute(statement, values)
            if next(steps) == number:
                raise KeyboardInterrupt
            return result

        return run

    for number in itertools.count(0):
        loaded.dwh._execute = interrupted_after(number)
        try:
            loaded.load()
            break
        except KeyboardInterrupt:
            loaded.dwh._execute = execute
            found.append(kept(loaded))
            assert loaded.dwh.count_rows() == {t: len(rows) for t, rows in found[-1].items()}
    assert len(found) > 30
    assert kept(loaded) == states.after
    assert found.pop() == states.after, "interrupted after the commit"
    assert all(state == states.before for state in found)


def interrupt() -> None:
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@pytest.mark.only_on("local")
def test_ctrl_c_within_a_long_statement_ends_it_and_the_same_connection_loads_on(loaded, states):
    execute = loaded.dwh._execute

    def slow(statement, values=None):
        if "insert into users" in statement:
            threading.Timer(0.1, interrupt).start()
            execute("select sum(a.range * b.range) from range(10000000) a, range(10000000) b")
        return execute(statement, values)

    loaded.dwh._execute = slow
    with pytest.raises(KeyboardInterrupt):
        loaded.load()
    loaded.dwh._execute = execute
    assert kept(loaded) == states.before
    loaded.load()
    assert kept(loaded) == states.after


@pytest.mark.only_on("redshift")
def test_ctrl_c_while_the_server_works_rolls_back_and_the_same_warehouse_loads_on(
    loaded, states, double
):
    for statement in ("^begin", "lock table", "copy landed_songs", "insert into users"):
        double.redshift.faults.before(statement, interrupt)
        with pytest.raises(KeyboardInterrupt):
            loaded.load()
        assert kept(loaded) == states.before, statement
        assert loaded.dwh.count_rows()["users"] == len(states.before["users"])
    double.redshift.faults.before("^commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        loaded.load()
    loaded.load()
    assert kept(loaded) == states.after


# Notebooks


FAULTY = """
import os, signal, time
execute = dwh._execute
def faulty(statement, *values):
    result = execute(statement, *values)
    if "insert into songplays" in statement:
        {fault}
    return result
dwh._execute = faulty
"""


@contextmanager
def faulty_notebook(folder: Path, fault: str):
    """Let the runner run 03_load with a fault in the midst of its load; sleep has a limit."""

    def limit(cell) -> int | None:
        return 1 if "load(dwh" in cell.source and "sleep" in fault else None

    notebook = nbformat.read(run.FOLDER / "03_load.ipynb", as_version=4)
    opened = next(at for at, cell in enumerate(notebook.cells) if "= start(" in cell.source)
    cell = nbformat.v4.new_code_cell(FAULTY.format(fault=fault))
    notebook.cells.insert(opened + 1, cell)
    nbformat.write(notebook, folder / "03_load.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        limited = partial(papermill.execute_notebook, timeout_func=limit)
        patch.setattr(papermill, "execute_notebook", limited)
        patch.setattr(run, "FOLDER", folder)
        yield


@pytest.mark.only_on("local")
def test_a_kernel_that_dies_or_a_cell_that_takes_too_long_fails_the_run_and_the_next_completes(
    loaded, states, tmp_path, capsys
):
    loaded.dwh.close()
    places = {"--log-data": loaded.logs, "--song-data": loaded.songs, "--runs": tmp_path / "runs"}
    places |= {"--database": loaded.settings.database, "--config": tmp_path / "dwh.cfg"}
    words = ["--only", "03", *(str(word) for pair in places.items() for word in pair)]
    for name, fault in {
        "DeadKernelError": "os.kill(os.getpid(), signal.SIGKILL)",
        "CellTimeoutError": "time.sleep(60)",
    }.items():
        with faulty_notebook(tmp_path, fault):
            assert run.main([*words, "--name", name]) == 1
        assert f"03_load failed at “Load”:\n{name}" in capsys.readouterr().err
        journal = json.loads((tmp_path / "runs" / name / "journal.json").read_text())
        assert journal["status"] == "failed"
        loaded.open()
        assert kept(loaded) == states.before
        loaded.dwh.close()
    assert run.main([*words, "--name", "next"]) == 0
    loaded.open()
    assert kept(loaded) == states.after
