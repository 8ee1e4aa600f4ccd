"""The bytes that a load and the analyses read: `python -m benchmarks.scanned [--scale 100]`.

Loads a sample into DuckDB and prints, for docs/cost.md, what an event takes as JSON and as a row,
and which columns are read, as DuckDB's plans have it. A column counts as often as a plan reads it,
with the size that it has in Parquet (zstd), the columnar format that is at hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import chdir, closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from lib import ROOT, config, load, sample, warehouse
from lib.warehouse.base import STAR, TABLES
from lib.warehouse.duckdb import DuckDB
from lib.warehouse.templates import BOUND, SQL, render

ANALYSES = sorted(file.stem for file in (SQL / "analysis").glob("*.sql"))
AUDITS = (*load.STAGE_AUDITS, *load.STAR_AUDITS)
VALUES = {"level": "", "least": 5, "top": 10, "first_batch": 1, "min_coverage": 0.0}
VALUES |= {"earliest_ms": 0, "latest_ms": 2**53}
VALUES |= {"since": datetime(1970, 1, 1), "until": datetime(2147, 1, 1)}
SIZES = (10**6, 10**8, 10**10)  # events


def loaded(folder: Path, scale: float, songs: int = 15_000) -> DuckDB:
    """Return a warehouse of its own, in `folder`, into which a sample is loaded."""
    sample.make(folder / "sample", scale=scale, songs=songs)
    places = {name: folder / "sample" / name for name in ("log_data", "song_data")}
    settings = config.load(environ={}, **places, database=folder / "scanned.duckdb", threads=1)
    opened = warehouse.connect(settings, create=True)
    opened.create_schema()
    load.load(opened, settings, lambda step: None)
    # Else it answers min and max, and that nothing is NULL, from what it knows of a column.
    opened._execute("set disabled_optimizers = 'statistics_propagation'")
    return opened


def read_by(opened: DuckDB, query: str, run: bool = False) -> Counter:
    """Return how often the plans of sql/`query`.sql read each column (table, name).

    `run`: run each statement, too.
    """
    found: Counter = Counter()
    for statement in render(query, opened.dialect, all=True, levels=("free", "paid")):
        named = {name: VALUES[name] for name in BOUND.findall(statement)}
        plan = opened._execute(f"explain (format json) {statement}", named).fetchone()[1]
        found.update(_scans(json.loads(plan)))
        if run:
            opened._execute(statement, named)
    return found


def _scans(steps: list[dict]) -> Iterator[tuple[str, str]]:
    for step in steps:
        about = step["extra_info"]
        columns = about.get("Projections", []) if "Table" in about else []
        for column in [columns] if isinstance(columns, str) else columns:
            yield about["Table"].rpartition(".")[2].strip('"'), column
        yield from _scans(step["children"])


def read_by_load(opened: DuckDB) -> tuple[Counter, Counter]:
    """Return the same of a first load's merges, and of its audits."""
    with opened.snapshot():  # taken back at its end
        for table in STAR:
            opened._execute(f"delete from {table}")
        merges = sum((read_by(opened, f"load/{step}", run=True) for step in load.MERGES), Counter())
        return merges, sum((read_by(opened, f"audit/{audit}") for audit in AUDITS), Counter())


def bytes_of(opened: DuckDB, folder: Path) -> Counter:
    """Return the bytes of each column (table, name) in Parquet."""
    found: Counter = Counter()
    for table in TABLES:
        file = str(folder / f"{table}.parquet")
        opened.raw.execute(f"copy {table} to '{file}' (format parquet, compression zstd)")
        sizes = "select path_in_schema, total_compressed_size from parquet_metadata(?)"
        for column, size in opened.raw.execute(sizes, [file]).fetchall():
            found[table, column] += size
    return found


def pack(folder: Path) -> Path:
    """Pack a folder's JSON files by the recipe of docs/cost.md; return the folder beside it."""
    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    recipe = re.search(r"```sql\n(.+?)```", page, re.DOTALL)[1]
    with chdir(folder.parent):
        duckdb.connect().execute(recipe.replace("song_data", folder.name))
    return folder.with_name(f"{folder.name}_packed")


def counted(read: Counter) -> str:
    """Say how many columns of each table are read."""
    tables: Counter = Counter()
    for (table, _), times in read.items():
        tables[table] += times
    return ", ".join(f"{table} {tables[table]}" for table in sorted(tables))


def main() -> None:
    """Print the figures of the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--scale", type=float, default=100, help="of the sample (100)")
    scale = parser.parse_args().scale
    with TemporaryDirectory() as at, closing(loaded(Path(at), scale)) as opened:
        rows, sizes = opened.row_counts(), bytes_of(opened, Path(at))
        events = rows["staging_events"]

        def line(name: str, read: Counter) -> str:
            each = sum(sizes[column] * times for column, times in read.items()) / events
            total = (f"{each * size / 1e9:,.{3 if size == 10**6 else 1}f}" for size in SIZES)
            return f"| {' | '.join([f'`{name}`', counted(read), f'{each:.1f}', *total])} |"

        logs = Path(at, "sample", "log_data")
        places = (logs, pack(logs))
        each = (sum(file.stat().st_size for file in place.rglob("*.*")) for place in places)
        sizes_in_files = " bytes of JSON, ".join(f"{size / events:.0f}" for size in each)
        print(f"{events:,} events: {sizes_in_files} of gzip")
        for table in TABLES:
            own = sum(size for (name, _), size in sizes.items() if name == table)
            print(f"| `{table}` | {own / max(rows[table], 1):.0f} | {own / events:.1f} |")
        read = {name: read_by(opened, f"analysis/{name}") for name in ANALYSES}
        merges, audits = read_by_load(opened)
        read |= {"analyses": sum(read.values(), Counter()), "merges": merges, "audits": audits}
        print("\n".join(line(name, columns) for name, columns in read.items()))


if __name__ == "__main__":
    main()
