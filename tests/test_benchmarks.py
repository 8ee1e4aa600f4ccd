"""The benchmarks compare what is equal, and keep what they measured."""

import json
import subprocess
import sys

import pytest

from benchmarks import __main__ as bench
from benchmarks import measure, peers
from benchmarks.measure import OURS, Result, compare, run_program
from lib import ROOT, UserError, sample

SIZES = {"wall": 1.0, "cpu": 2.0, "memory": 100.0}


def programs(*costs: dict):
    """Return a program that costs as much each time as is said, and counts 7 plays."""
    return iter([{"counts": {"songplays": 7}} | SIZES | cost for cost in costs]).__next__


@pytest.fixture
def kept(tmp_path, monkeypatch):
    file = tmp_path / "results.json"
    file.write_text('{"machine": null, "results": []}')
    monkeypatch.setattr(bench, "KEPT", file)
    return lambda: json.loads(file.read_text())["results"]


def test_the_models_of_the_peers_build_the_star_that_our_load_builds(tmp_path):
    sample.make(tmp_path / "data", scale=0.3, songs=3_000)
    built = {}
    for peer in ("sparkify", "duckdb"):
        (tmp_path / peer).mkdir()
        built[peer] = run_program(OURS, peer, tmp_path / "data", tmp_path / peer)
    assert built["duckdb"]["counts"] == built["sparkify"]["counts"]
    assert built["duckdb"]["counts"].keys() == peers.COUNTED.keys()
    assert all(built["duckdb"]["counts"].values())
    assert all(built["sparkify"][name] > 0 for name in measure.MEASURES)


def test_the_yardstick_reads_every_event_and_imports_nothing_on_the_way(tmp_path):
    sample.make(tmp_path / "data", scale=0.05, songs=50)
    events = sum(len(f.read_text().splitlines()) for f in tmp_path.glob("data/log_data/**/*.json"))
    query = f"select count(ts) as events from {peers.find_sources(tmp_path / 'data', '')['events']}"
    code = "from benchmarks.peers import statement; import sys; before = {*sys.modules}; "
    code += "print(statement.build(*sys.argv[1:]), {*sys.modules} - before)"
    command = [sys.executable, "-c", code, query, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == f"{{'events': {events}}} set()"


def test_cpu_and_memory_of_what_a_program_starts_are_counted(tmp_path):
    busy = f"{sys.executable} -c 'x = bytes(2 * 10**8); sum(range(2 * 10**7))'"
    cost = run_program(OURS, "command", busy, tmp_path)
    assert cost["cpu"] > 0.05
    assert cost["memory"] > 200


def test_ratios_are_theirs_to_ours_in_the_same_pair():
    ours = programs({}, {"wall": 1}, {"wall": 2}, {"wall": 4})
    theirs = programs({}, {"wall": 3}, {"wall": 4}, {"wall": 4})
    result = compare(Result("load", "Polars", 1000), ours, theirs, pairs=3)
    wall = {"ours": 2, "theirs": 4, "ratio": 2, "low": 1, "high": 3}
    same = {"ours": 2, "theirs": 2, "ratio": 1, "low": 1, "high": 1}
    assert (result.pairs, result.measures["wall"], result.measures["cpu"]) == (3, wall, same)


def test_another_that_built_something_else_gets_no_figure():
    other = programs({"counts": {"songplays": 6}})
    result = compare(Result("load", "Polars", 1000), programs({}), other, pairs=1)
    assert (result.note, result.measures) == ("Polars has 6 songplays for our 7.", {})


def test_a_program_that_fails_says_why():
    with pytest.raises(UserError, match=r"command failed: .*returned non-zero exit status 3"):
        run_program(OURS, "command", "exit 3", ".")


def test_what_could_not_be_measured_is_said_and_the_rest_goes_on(kept, monkeypatch, capsys):
    def measured(folder, options):
        for name in ("Polars", "chDB"):
            costs = [{}, {}] if name == "chDB" else [{"counts": {"songplays": 8}}]
            yield name, 1000, programs({}, {}), programs(*costs)

    monkeypatch.setitem(bench.BENCHMARKS, "load", measured)
    assert bench.main(["load", "--pairs", "1"]) == 1
    first, second = capsys.readouterr().out.splitlines()[2:]
    assert first == "| load | Polars | 1,000 | Polars has 8 songplays for our 7. |  |  |  |  |"
    ratio = "1.00 (1.00–1.00)"
    assert second == f"| load | chDB | 1,000 | 1.00, 2.00, 100 | {ratio} | {ratio} | {ratio} | 1 |"
    assert [row["note"] == "" for row in kept()] == [False, True]
    assert bench.main(["--show"]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [first, second]


def test_a_result_replaces_its_predecessor_and_those_of_another_machine(kept):
    for name, pairs in (("Polars", 3), ("chDB", 3), ("Polars", 5)):
        bench.keep_result(Result("load", name, 1000, pairs))
    assert {row["against"]: row["pairs"] for row in kept()} == {"Polars": 5, "chDB": 3}
    results = json.loads(bench.KEPT.read_text())
    results["machine"]["cores"] = -1
    bench.KEPT.write_text(json.dumps(results))
    bench.keep_result(Result("load", "Polars", 1000))
    assert len(kept()) == 1


def test_a_benchmark_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        bench.main(["querys"])
    assert "there is no benchmark querys; see --help" in capsys.readouterr().err


def test_the_page_has_the_table_of_what_is_kept(capsys):
    bench.main(["--show"])
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip() in page, "put what --show prints into the page"


def test_the_benchmarks_are_at_most_900_lines():
    kinds = ("*.py", "*.sql", "*.yml", "*.yaml")
    files = [file for kind in kinds for file in (ROOT / "benchmarks").rglob(kind)]
    assert sum(len(file.read_text().splitlines()) for file in files) <= 900
