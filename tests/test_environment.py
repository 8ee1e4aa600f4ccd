"""What a newcomer installs: one lock for pip and conda users, with hashes, no registry named."""

import re
import tomllib

import pytest
import yaml

from lib import ROOT

LOCKS = [ROOT / "requirements.lock", ROOT / "tests" / "requirements.lock"]
EVERY_LOCK = [*LOCKS, ROOT / "benchmarks" / "requirements.lock"]


def pins(lock) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE))


def test_conda_users_get_the_same_lock():
    text = (ROOT / "environment.yml").read_text()
    conda = yaml.safe_load(text)["dependencies"]
    assert [re.match(r"\w+", spec)[0] for spec in conda] == ["python", "pip"]
    assert re.findall(r"pip install (.+)", text) == [
        "--no-deps -r requirements.lock",
        "--no-deps --no-build-isolation -e .",
    ]


@pytest.mark.parametrize("lock", EVERY_LOCK, ids=["runtime", "test", "benchmarks"])
def test_every_pin_has_the_hashes_of_its_files(lock):
    pinned = re.split(r"^(?=\S)", lock.read_text(), flags=re.MULTILINE)[1:]
    assert len(pinned) > 40
    one = re.compile(r"[a-z0-9._-]+==\S+( ; [^\\\n]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n")
    assert [pin for pin in pinned if not one.fullmatch(pin)] == []


def test_nothing_is_installed_without_its_hash():
    commands = re.findall(r"pip install .+", (ROOT / "Makefile").read_text())
    assert len(commands) == 4
    own = "--no-deps --no-build-isolation -e ."
    assert [c for c in commands if "--require-hashes" not in c and own not in c] == []


# Below these are versions with published advisories.
FLOORS = {
    "jupyterlab": "4.6.2",
    "mistune": "3.2.1",
    "nbconvert": "7.17.1",
    "redshift-connector": "2.1.14",
}


def test_no_version_with_a_known_advisory_is_let_in():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = dict(re.findall(r"([a-z0-9-]+)>=([\d.]+)", "\n".join(project["dependencies"])))
    assert {name: floors[name] for name in FLOORS} == FLOORS
    assert "bleach" not in " ".join(project["dependencies"]), "it is archived"


def test_the_lock_pins_every_dependency_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    runtime, test = map(pins, LOCKS)
    for spec in project["dependencies"]:
        assert re.match(r"[a-z0-9-]+", spec)[0] in runtime
    for spec in project["optional-dependencies"]["test"]:
        assert re.match(r"[a-z0-9-]+", spec)[0] in test


def test_the_test_lock_adds_to_the_runtime_lock_and_changes_nothing_in_it():
    runtime, test = map(pins, LOCKS)
    assert {name: test[name] for name in runtime} == runtime


@pytest.mark.parametrize("lock", EVERY_LOCK, ids=["runtime", "test", "benchmarks"])
def test_no_registry_is_named(lock):
    assert "://" not in lock.read_text()
    assert not re.search(r"^-", lock.read_text(), re.MULTILINE)
