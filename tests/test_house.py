"""The house stays small: how long files and functions may be, and which room may import which."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from lib import ROOT

LIB = ROOT / "lib"
FILES = sorted(LIB.rglob("*.py"))
LINES = 7010  # of Python in lib
# Each room imports its own files and lower rooms only.
FLOORS = (("run",), ("provision", "analyse"), ("load",), ("warehouse",))
SUFFIXES = {".cfg", ".css", ".example", ".html", ".in", ".ini", ".ipynb", ".j2", ".js", ".json"}
SUFFIXES |= {".txt", ".lock", ".md", ".mplstyle", ".py", ".sql", ".toml", ".yaml", ".yml", ""}
PICTURES = {"docs", "benchmarks", "tests/analyse/baseline"}


def name_module(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_module(file): file for file in FILES}


def list_imports(file: Path) -> set[str]:
    """Return the modules of lib that a file imports anywhere, also within a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lib":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in MODULES else node.module for name in names}
    return found - {name_module(file)}


def find_floor(module: str) -> int:
    room = [*module.split("."), ""][1]
    floors = [level for level, rooms in enumerate(FLOORS) if room in rooms]
    return floors[0] if floors else len(FLOORS)


def count_lines(file: Path) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def test_lib_is_small():
    assert sum(map(count_lines, FILES)) <= LINES


@pytest.mark.parametrize("file", FILES, ids=name_module)
def test_no_file_is_over_300_lines_and_no_function_over_40(file):
    assert count_lines(file) <= 300
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 40, node.name


def test_no_folder_has_over_8_files():
    for folder in {file.parent for file in FILES}:
        assert len(list(folder.glob("*.py"))) <= 8, folder


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_its_own_room_and_lower_ones(module):
    room, floor = module.split(".")[1:2], find_floor(module)
    for other in list_imports(MODULES[module]):
        same_room = other.split(".")[1:2] == room
        at_the_bottom = floor == find_floor(other) == len(FLOORS)
        assert same_room or at_the_bottom or find_floor(other) > floor, other


def test_no_imports_go_in_a_circle():
    imports = {module: list_imports(file) for module, file in MODULES.items()}
    while leaves := [module for module, others in imports.items() if not others & imports.keys()]:
        for module in leaves:
            del imports[module]
    assert not imports


def test_what_is_tracked_are_sources_documents_and_named_pictures():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("this copy of the project has no git history")
    for name in filter(None, listed.stdout.split("\0")):
        path = Path(name)
        is_picture = path.suffix in (".png", ".svg") and str(path.parent) in PICTURES
        assert is_picture or path.suffix in SUFFIXES, name


def test_the_readme_has_a_line_for_each_room_and_file_of_lib():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `lib/([\w.]+)/?` \|", readme, re.MULTILINE))
    there = {path.name for path in LIB.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert named == there - {"__init__.py", "__pycache__"}
