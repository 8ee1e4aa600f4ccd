"""The benchmarks compare what is equal, and keep what they measured."""

import json
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from benchmarks import __main__ as bench
from benchmarks import profile
from benchmarks.loads import OURS, require_equal
from benchmarks.pairs import BenchmarkError, Result, Spent, compared, program
from benchmarks.questions import digest
from lib import sample


def test_the_plain_sql_of_the_peers_builds_the_star_that_our_load_builds(tmp_path):
    sample.make(tmp_path / "data", scale=0.3, songs=3_000)
    folders = [tmp_path / name for name in ("ours", "theirs")]
    for folder in folders:
        folder.mkdir()
    ours = program([sys.executable, "-P", OURS, tmp_path / "data", folders[0]])
    plain = [sys.executable, "-P", "-m", "benchmarks.peers.duckdb", tmp_path / "data", folders[1]]
    assert program(plain).told == ours.told
    assert all(ours.told.values())
    assert ours.seconds > 0
    assert ours.megabytes > 0


def test_the_profile_tells_the_time_of_each_step_and_of_all(tmp_path):
    sample.make(tmp_path / "data", scale=0.05, songs=50)
    found = profile.steps(tmp_path / "data", tmp_path / "star.duckdb")
    steps = [step for step, *_ in found]
    assert (steps[0], steps[-1]) == ("opening, making the tables", "closing the file")
    assert {"reading songs", "merge songplays", "auditing"} < {*steps}
    assert all(seconds > 0 and used >= 0 for _, seconds, used in found)


def test_another_that_built_something_else_is_named():
    with pytest.raises(BenchmarkError, match=r"Polars has 4,238 matched; ours are 4,239\."):
        require_equal(
            "Polars", {"songplays": 7, "matched": 4238}, {"songplays": 7, "matched": 4239}
        )


def test_a_program_that_fails_says_why():
    with pytest.raises(BenchmarkError, match=r"failed: ValueError: no room"):
        program([sys.executable, "-c", "raise ValueError('no room')"])


def test_the_ratio_is_theirs_to_ours_in_the_same_pair():
    ours, theirs = (iter(map(Spent, seconds)) for seconds in ([1, 2, 4], [3, 4, 4]))
    result = compared("load", "Polars", ours.__next__, theirs.__next__, pairs=3)
    assert (result.seconds, result.ratio, result.spread) == ((2, 4), 2, (1, 3))


def test_values_of_one_meaning_are_one_whatever_the_engine_says():
    at = datetime(2018, 11, 1, 12, tzinfo=UTC)
    rows = [(1, None, True, at, date(2018, 11, 1), 0.1 + 0.2), ("a", 2.5, 0, at, at.date(), 1e9)]
    bare = at.replace(tzinfo=None)
    same = [("a", Decimal("2.5"), False, bare, datetime(2018, 11, 1), Decimal(10**9))]
    same += [(Decimal(1), float("nan"), 1, bare, datetime(2018, 11, 1), 0.3)]
    assert digest(rows) == digest(same)
    assert digest(rows) != digest(rows[:1] + rows[:1])


def test_a_result_replaces_the_one_of_the_same_name_and_size(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "KEPT", tmp_path / "results.json")
    figures = {"seconds": (1, 2), "megabytes": (100, 200), "spread": (1, 3), "pairs": 5}
    bench.keep([Result("load", name, 1000, ratio=2, **figures) for name in ("Polars", "chDB")])
    bench.keep([Result("load", "Polars", 1000, ratio=2.5, **figures)])
    kept = json.loads(bench.KEPT.read_text())
    assert {row["against"]: row["ratio"] for row in kept["results"]} == {"Polars": 2.5, "chDB": 2}
    assert (tmp_path / "load.png").stat().st_size > 10_000
    kept["machine"]["cores"] = -1
    bench.KEPT.write_text(json.dumps(kept))
    bench.keep([Result("load", "Polars", 1000, ratio=3, **figures)])
    assert len(json.loads(bench.KEPT.read_text())["results"]) == 1


def test_a_benchmark_that_does_not_exist_is_suggested(capsys):
    with pytest.raises(SystemExit, match="2"):
        bench.main(["querys"])
    assert "There is no benchmark querys; " in capsys.readouterr().err
