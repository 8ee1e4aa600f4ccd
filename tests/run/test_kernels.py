"""The kernels of a run: whose they are, and that none is left however a run ends."""

import json
import os
import shutil
import signal
import socket
import sys
import textwrap
import threading
import time

import nbformat
import psutil
import pytest
from jupyter_client.provisioning.local_provisioner import LocalPortCache

from lib import run


def test_a_kernel_is_the_projects_own_and_private_whatever_a_machine_has(
    own_notebook, tmp_path, monkeypatch, capsys
):
    """Other kernelspecs, a long name of the folder for temporary files, and other users."""
    cell = f"""
        import ipykernel, os, sys
        assert sys.executable == {sys.executable!r}
        assert ipykernel.get_connection_info(unpack=True)["curve_publickey"]
        assert os.stat(ipykernel.get_connection_file()).st_mode & 0o077 == 0"""
    words = own_notebook(textwrap.dedent(cell))
    for name in ("python3", "another"):
        spec = tmp_path / "share" / "kernels" / name
        spec.mkdir(parents=True)
        about = {"argv": ["/bin/false"], "display_name": name, "language": "python"}
        (spec / "kernel.json").write_text(json.dumps(about))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    notebook = nbformat.read(tmp_path / "01_provision.ipynb", as_version=4)
    notebook.metadata.kernelspec.name = "another"
    nbformat.write(notebook, tmp_path / "01_provision.ipynb")
    long = tmp_path / ("a" * 120)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert run.main(words) == 0, capsys.readouterr().err


def test_a_kernel_whose_port_is_taken_by_another_program_is_started_once_more(
    own_notebook, monkeypatch, capfd
):
    find, taken = LocalPortCache.find_available_port, []
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def find_taken(cache, ip):
            if len(taken) < 5:
                taken.append(other.getsockname()[1])
                return taken[-1]
            return find(cache, ip)

        monkeypatch.setattr(LocalPortCache, "find_available_port", find_taken)
        assert run.main(own_notebook("1")) == 0
    assert len(taken) == 5
    assert capfd.readouterr().err == ""


def test_an_interrupted_cell_unwinds_before_its_kernel_ends(own_notebook, tmp_path):
    began, unwound = tmp_path / "began", tmp_path / "unwound"
    cell = f"""
        import pathlib, time
        try:
            pathlib.Path({str(began)!r}).touch()
            time.sleep(60)
        finally:
            time.sleep(1)
            pathlib.Path({str(unwound)!r}).touch()"""

    def interrupt():
        while not began.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert run.main(own_notebook(textwrap.dedent(cell))) == 130
    assert unwound.exists()


@pytest.mark.parametrize(
    ("ending", "code"),
    [("print('said')", 0), ("1 / 0", 1), ("os.kill(os.getppid(), 2); time.sleep(60)", 130)],
)
def test_the_next_kernel_has_started_and_none_is_left_however_a_run_ends(
    own_notebook, tmp_path, monkeypatch, ending, code
):
    cell = f"""
        import os, pathlib, psutil, time
        started = psutil.Process(os.getppid()).children()
        kernels = [one.pid for one in started if "--IPKernelApp.log_level=50" in one.cmdline()]
        (pathlib.Path({str(tmp_path)!r}) / "noted").write_text(f"{{kernels}}")
        {ending}"""
    words = own_notebook(textwrap.dedent(cell), "2")[2:]
    monkeypatch.setattr(run, "NOTEBOOKS", ("01_provision", "02_schema"))
    shutil.copy(tmp_path / "01_provision.ipynb", tmp_path / "02_schema.ipynb")
    assert run.main([*words, "--name", "one"]) == code
    kernels = json.loads((tmp_path / "noted").read_text())
    assert len(kernels) == (1 if code == 0 else 2), "the last notebook has no next one"
    assert not any(map(psutil.pid_exists, kernels))
    for name in run.NOTEBOOKS if code == 0 else ():  # no output of a first cell is missed
        first, last = nbformat.read(tmp_path / "runs/one" / f"{name}.ipynb", as_version=4).cells
        assert (first.execution_count, last.execution_count) == (1, 2)
        assert first.outputs[0].text == "said\n"


def test_a_notebook_works_in_the_planned_account_whatever_the_login_is_by_then(
    own_notebook, monkeypatch
):
    monkeypatch.setenv("DWH_AWS_ACCOUNT", "123456789012")
    words = own_notebook("import os; assert os.environ['DWH_AWS_ACCOUNT'] == '123456789012'")
    options = run.make_parser().parse_args(words)
    made = run.prepare_run(options, run.read_settings(options))
    monkeypatch.delenv("DWH_AWS_ACCOUNT")
    made.execute()
    assert made.journal["status"] == "completed"
