"""What a newcomer installs: one lock for pip and conda users, no registry named."""

import re
import tomllib

import pytest
import yaml

from lib import ROOT

LOCKS = [ROOT / "requirements.lock", ROOT / "tests" / "requirements.lock"]


def pins(lock) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE))


def test_conda_users_get_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert [re.match(r"\w+", spec)[0] for spec in conda] == ["python", "pip"]
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


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


@pytest.mark.parametrize("lock", LOCKS, ids=["runtime", "test"])
def test_no_registry_is_named(lock):
    assert "://" not in lock.read_text()
    assert not re.search(r"^-", lock.read_text(), re.MULTILINE)
