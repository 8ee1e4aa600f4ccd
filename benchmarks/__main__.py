"""Measure the load, the questions and the run beside what else does the same, in pairs.

Prints one table, and keeps it as benchmarks/results.json and as a chart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import loads, queries, runs
from benchmarks.pairs import BenchmarkError, Result, machine
from lib import ROOT, config

BENCHMARKS = {"load": loads.load, "parse": loads.parse, "small-files": loads.small_files}
BENCHMARKS |= {"growth": loads.growth, "increment": loads.increment}
BENCHMARKS |= {"queries": queries.queries, "run": runs.run, "help": runs.help_text}
EARLIER = {"load-since": loads.load_since, "run-since": runs.run_since}
KEPT = Path(__file__).parent / "results.json"
HEAD = """\
seconds and MB (the peak of the largest process): ours, then theirs
ratio: theirs ÷ ours, so that above 1 ours is the faster; with the range of the pairs
"""


def positive(text: str) -> int:
    """Read a whole number above 0."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a whole number above 0")
    return int(text)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    about = "\n".join(
        f"  {name:12} {does.__doc__}" for name, does in (BENCHMARKS | EARLIER).items()
    )
    command = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"{__doc__}\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("names", nargs="*", metavar="NAME", help="all but …-since if left out")
    command.add_argument("--pairs", type=positive, metavar="N", default=5, help="5 if left out")
    sizes = {"type": positive, "nargs": "+", "metavar": "N"}
    events, asked = [10_000, 100_000, 1_000_000], [1_000_000]
    about = "about how many, for all that loads; 10,000, 100,000, 1,000,000 if left out"
    command.add_argument("--events", **sizes, default=events, help=about)
    about = "song files for small-files; 20,000 if left out"
    command.add_argument("--songs", **sizes, default=[20_000], help=about)
    about = "events for queries; 1,000,000 if left out"
    command.add_argument("--queries", **sizes, default=asked, help=about)
    about = f"of {', '.join(loads.OTHERS)}; all if left out"
    command.add_argument("--peers", nargs="+", metavar="NAME", choices=loads.OTHERS, help=about)
    command.add_argument("--since", metavar="COMMIT", help=f"of {' and '.join(EARLIER)}")
    return command


def chosen(command: argparse.ArgumentParser, options: argparse.Namespace) -> dict:
    """Return the benchmarks that are asked for, by name."""
    known = BENCHMARKS | EARLIER
    for name in options.names:
        if name not in known:
            command.error(f"There is no benchmark {name}; {config.suggestion(name, known)}")
        if name in EARLIER and not options.since:
            command.error(f"{name} needs --since COMMIT.")
    return {name: known[name] for name in options.names or BENCHMARKS}


def line(result: Result) -> str:
    """Return a result as a row of the table."""
    size = f"{result.size:,}" if result.size else ""
    name = f"{result.benchmark} {result.what}"
    about = f"{name:26}{size:>10}  {result.against:29}"
    if result.ratio is None:
        return f"{about} {result.note[:120]}"
    seconds = "{:8.2f}{:8.2f}".format(*result.seconds)
    memory = "{:7.0f}{:7.0f}".format(*result.megabytes) if result.megabytes else " " * 14
    low, high = result.spread
    figures = f"{seconds}{memory}{result.ratio:8.2f}   {low:.2f}–{high:.2f}"
    return f"{about}{figures}  {result.note}".rstrip()


def keep(results: list[Result]) -> None:
    """Put results in the place of those of the same name, other and size, and draw them all.

    What was measured on another machine, or beside other versions, is let go.
    """
    key = ("benchmark", "what", "against", "size")
    here = machine()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    before = kept["results"] if kept.get("machine") == here else []
    after = {tuple(row[k] for k in key): row for row in [*before, *map(asdict, results)]}
    text = json.dumps({"machine": here, "results": [*after.values()]}, indent=2)
    KEPT.write_text(text + "\n")
    draw = [sys.executable, "-m", "benchmarks.chart", str(KEPT)]
    subprocess.run(draw, check=True, cwd=ROOT)


def measure(results: Iterable[Result]) -> None:
    """Print each result when it is there, and keep those that came, also when one fails."""
    done = []
    try:
        for result in results:
            print(line(result), flush=True)
            done.append(result)
    finally:
        keep(done)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, keep it."""
    command = parser()
    options = command.parse_args(arguments)
    asked = chosen(command, options)
    print(HEAD + f"{'':67}{'seconds':>16}{'MB':>14}{'ratio':>8}   spread", flush=True)
    try:
        for benchmark in asked.values():
            with tempfile.TemporaryDirectory() as folder:
                measure(benchmark(Path(folder), options))
    except BenchmarkError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
