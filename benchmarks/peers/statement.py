"""SQL statements in a new DuckDB file: the yardsticks that the load is measured beside.

They take no bound value: the first one made DuckDB 1.5 import pandas, which takes 0.3 s.
"""

import duckdb

from benchmarks.peers import read_row


def build(statements: str, folder: str) -> dict[str, int]:
    """Run the statements, and return the row of the last."""
    options = {"preserve_insertion_order": False}
    with duckdb.connect(f"{folder}/new.duckdb", config=options) as database:
        return read_row(database.execute(statements))
