"""Several processes find what one finds, and fail as it does."""

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from lib import ROOT, SourceError
from lib.load import source, workers
from lib.load.records import EVENTS
from lib.load.source import ChangedFile


@pytest.fixture
def several(monkeypatch):
    """Let several processes read, some three files at a time."""
    monkeypatch.setattr(source, "MANY", 0)
    monkeypatch.setattr(source, "A_TASK", 3)


@pytest.fixture
def log(tmp_path, write, event) -> Path:
    """A folder with files of each layout, a large one and bad ones among them."""
    layouts = ["lines", "pretty", "gzip", "bom"]
    for number in range(20):
        name = tmp_path / f"log/{number:02}.json"
        write(name, [event(itemInSession=number, extra=1)] * (number % 4), layouts[number % 4])
    write(tmp_path / "log/07.json", b'{"ts": 1}\n{"broken": \n' + b'{"page": true}\n')
    write(tmp_path / "log/15.json", [event(ts="soon")])
    write(tmp_path / "log/large.json", [event(itemInSession=i) for i in range(3000)])
    return tmp_path / "log"


def gathered(log: Path, scratch: Path, **how) -> tuple[source.Batch, list[bytes]]:
    """Gather a folder; return the batch, and the lines of its parts, sorted."""
    scratch.mkdir()
    batch = source.gather(EVENTS, str(log), how.pop("known", {}), scratch, **how)
    parts = [Path(part).read_bytes().splitlines() for part in batch.parts]
    assert [len(lines) for lines in parts] == [
        sum(file.records for file in batch.files if file.key in batch.holds[part])
        for part in batch.parts
    ]
    return batch, sorted(line for lines in parts for line in lines)


def test_several_processes_find_what_one_finds(log, tmp_path, several, monkeypatch):
    known = {str(log / "04.json"): "", str(log / "large.json"): ""}
    for key in known:
        known[key] = sha256(Path(key).read_bytes()).hexdigest()
    monkeypatch.setattr(source, "MANY", 99)
    one, lines = gathered(log, tmp_path / "one", known=known)
    monkeypatch.setattr(source, "MANY", 0)
    more, same = gathered(log, tmp_path / "more", known=known)
    assert len(more.parts) > len(one.parts) == 1
    assert (same, more.files) == (lines, one.files)
    assert more.known == one.known == 2
    assert (more.rejects, more.seen) == (one.rejects, one.seen)
    assert one.rejects


def test_a_file_that_has_changed_is_told_by_its_process(log, tmp_path, several):
    with pytest.raises(ChangedFile, match=r"^\S+/09\.json has changed since") as told:
        gathered(log, tmp_path / "one", known={str(log / "09.json"): "of something else"})
    assert told.value.key == str(log / "09.json")


@pytest.mark.skipif(os.name != "posix" or not os.geteuid(), reason="root and Windows would read it")
def test_a_file_that_cannot_be_read_is_told_by_its_process(log, tmp_path, several):
    (log / "10.json").chmod(0)
    with pytest.raises(SourceError, match=r"10\.json can't be read: Permission denied"):
        gathered(log, tmp_path / "one")


def test_a_process_that_is_ended_fails_the_load_in_a_sentence():
    with pytest.raises(SourceError, match=r"^A process that reads files ended before"):
        list(workers.each(os._exit, [1, 2, 3]))


def test_a_script_without_a_guard_of_its_own_is_run_once(log, tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "pickle.py").write_text("raise SystemExit('this is not what was asked for')")
    (tmp_path / "script.py").write_text(
        "import sys\n"
        f"sys.path[:] = [{str(ROOT)!r}, *sys.path[1:]]\n"
        "from pathlib import Path\n"
        "from lib.load import source\n"
        "source.MANY = 0\n"
        "print('once')\n"
        f"source.gather(source.records.EVENTS, {str(log)!r}, {{}}, Path('scratch'))\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("once\n", "")
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["events-0.json"]
