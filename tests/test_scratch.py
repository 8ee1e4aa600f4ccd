"""A scratch folder is private, and does not outlive its process for longer than until the next."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lib import ROOT, scratch

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there nothing is cleared")

HOLDER = """
import sys
from pathlib import Path
from lib import scratch

with scratch.make_folder(*map(Path, sys.argv[1:])) as folder:
    (folder / "names").touch()
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch) -> Path:
    """A folder for temporary files, of this process and those that it starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def holder():
    """Start a process that holds a scratch folder; return it, and the folder."""
    started = []

    def start(*parent: Path) -> tuple[subprocess.Popen, Path]:
        command = [sys.executable, "-c", HOLDER, *map(str, parent)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, cwd=ROOT, **pipes))
        return started[-1], Path(started[-1].stdout.readline().strip())

    yield start
    for process in started:
        kill(process)


def kill(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def test_a_scratch_folder_is_private_carries_the_process_id_and_goes_at_its_end(temporary):
    with scratch.make_folder() as folder:
        assert folder.parent == temporary
        assert folder.name.startswith(f"sparkify-{os.getpid()}-")
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "names").touch()
        with scratch.make_folder() as other:
            assert folder.exists()
        assert not other.exists()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("hidden", [False, True])
def test_what_a_killed_process_left_is_removed_by_the_next_one(temporary, holder, hidden):
    where = [temporary] if hidden else []
    process, left = holder(*where)
    assert left.name.startswith(f"{'.' * hidden}sparkify-{process.pid}-")
    with scratch.make_folder(*where):
        assert (left / "names").exists(), "its process runs"
    kill(process)
    assert (left / "names").exists()
    with scratch.make_folder(*where) as folder:
        assert list(temporary.iterdir()) == [folder]


def test_only_what_is_of_this_user_and_machine_and_no_link_is_removed(
    temporary, holder, monkeypatch
):
    process, left = holder()
    kill(process)
    elsewhere = left.with_name(left.name.replace(scratch.HOST, "0" * 8))
    other, link = temporary / "sparkify-1-2", left.with_name(f"{left.name}link")
    for folder in (elsewhere, other):
        folder.mkdir()
    link.symlink_to(other)
    user = os.geteuid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: user + 1)
        with scratch.make_folder():
            assert left.exists()
    with scratch.make_folder():
        assert not left.exists()
    assert {*temporary.iterdir()} == {elsewhere, other, link}
