"""Two warehouses compared: every row of every table and view, every analysis, to the last digit."""

from __future__ import annotations

import pandas as pd

from lib.warehouse.base import TABLES, VIEWS, Warehouse
from lib.warehouse.templates import SQL

# What says when and in which load a row came in differs between any two warehouses.
OF_ITS_OWN = {"loaded_at"}
ANALYSES = sorted(file.stem for file in (SQL / "analysis").glob("*.sql"))


def plain(value):
    """Return a value as Python's own; every kind of nothing is None, a float its exact digits."""
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return None
    value = value.item() if hasattr(value, "item") else value
    return value.hex() if isinstance(value, float) and not value.is_integer() else value


def rows(frame: pd.DataFrame) -> list[tuple]:
    """Return a frame's rows as plain values, exactly."""
    return [tuple(map(plain, row)) for row in frame.itertuples(index=False, name=None)]


def differences(one: Warehouse, other: Warehouse) -> list[str]:
    """Return what differs between two warehouses, a line each; nothing when all is equal."""
    found = []
    for name in (*TABLES, *VIEWS):
        frames = [w._frame(f"select * from {name}", {}) for w in (one, other)]
        frames = [frame.drop(columns=OF_ITS_OWN & set(frame.columns)) for frame in frames]
        found += compared(f"table {name}", *(sorted(rows(frame), key=repr) for frame in frames))
    for name in ANALYSES:
        frames = [w.analysis(name, top=1000, least=2) for w in (one, other)]
        found += compared(f"analysis {name}", *(rows(frame) for frame in frames))
        types = [list(map(str, frame.dtypes)) for frame in frames]
        found += compared(f"column types of {name}", *types)
    return found


def compared(what: str, left: list, right: list) -> list[str]:
    """Return one line on the first difference of two lists, if there is any."""
    if left == right:
        return []
    if len(left) != len(right):
        return [f"{what}: {len(left)} rows against {len(right)}"]
    first = next(pair for pair in zip(left, right, strict=True) if pair[0] != pair[1])
    return [f"{what}: {first[0]} against {first[1]}"]
