"""Measure the load and the run beside what else does the same, and keep benchmarks/results.json."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks import loads
from benchmarks.measure import MEASURES, Result, compare, describe_machine

BENCHMARKS = {"load": loads.measure_load, "parse": loads.measure_parse}
BENCHMARKS |= {"increment": loads.measure_increment, "small-files": loads.measure_small_files}
BENCHMARKS |= {"run": loads.measure_run}
KEPT = Path(__file__).with_name("results.json")
HEAD = """\
| benchmark | beside | size | ours: s, CPU s, MB | wall | CPU | memory | pairs |
|---|---|---|---|---|---|---|---|"""


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    about = "\n".join(f"  {name:12} {does.__doc__}" for name, does in BENCHMARKS.items())
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("python -m benchmarks", None, about, formatter_class=layout)
    parser.add_argument("names", nargs="*", metavar="NAME", help="default all")
    sizes = {"type": int, "nargs": "+", "metavar": "N"}
    events, songs = [10_000, 1_000_000, 10_000_000], [15_000, 100_000]
    parser.add_argument("--events", **sizes, default=events, help="default 10,000, 1 M and 10 M")
    parser.add_argument("--songs", **sizes, default=songs, help="default 15,000 and 100,000")
    others = {"nargs": "+", "metavar": "NAME", "choices": loads.OTHERS, "default": [*loads.OTHERS]}
    parser.add_argument("--peers", **others, help=f"of {', '.join(loads.OTHERS)}; default all")
    parser.add_argument("--pairs", type=int, metavar="N", default=5, help="default 5")
    parser.add_argument("--show", action="store_true", help="print what is kept; measure nothing")
    options = parser.parse_args(arguments)
    if unknown := {*options.names} - {*BENCHMARKS}:
        parser.error(f"there is no benchmark {', '.join(unknown)}; see --help")
    return options


def format_row(result: Result) -> str:
    """Return a result as a row of the table."""
    size = f"{result.size:,}" if result.size else ""
    cells = [result.benchmark, result.against, size, result.note, "", "", "", ""]
    if result.measures:
        measures = [result.measures[name] for name in MEASURES]
        cells[3] = "{:.2f}, {:.2f}, {:.0f}".format(*(measure["ours"] for measure in measures))
        cells[4:7] = ["{ratio:.2f} ({low:.2f}–{high:.2f})".format(**each) for each in measures]
        cells[7] = str(result.pairs)
    return f"| {' | '.join(cells)} |"


def keep_result(result: Result) -> None:
    """Keep a result in place of its predecessor; remove those of another machine or version."""
    kept, machine = json.loads(KEPT.read_text()), describe_machine()
    rows = kept["results"] if kept["machine"] == machine else []
    by_key = {(row["benchmark"], row["against"], row["size"]): row for row in rows}
    by_key[result.benchmark, result.against, result.size] = asdict(result)
    text = json.dumps({"machine": machine, "results": [*by_key.values()]}, indent=1)
    KEPT.write_text(text + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print each result when it is there, and keep it; 1 if one could not be measured."""
    options = parse_arguments(arguments)
    print(HEAD)
    if options.show:
        rows = json.loads(KEPT.read_text())["results"]
        print("\n".join(format_row(Result(**row)) for row in rows))
        return 0
    failed = False
    for name in options.names or BENCHMARKS:
        with tempfile.TemporaryDirectory() as folder:
            for against, size, ours, theirs in BENCHMARKS[name](Path(folder), options):
                result = compare(Result(name, against, size), ours, theirs, options.pairs)
                print(format_row(result), flush=True)
                keep_result(result)
                failed |= bool(result.note)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
