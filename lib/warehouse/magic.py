"""`%%sql` (ipython-sql) on the open warehouse: results as DataFrames, errors that raise."""

from __future__ import annotations

import pandas as pd
from IPython import get_ipython
from IPython.display import ProgressBar
from sql.connection import Connection
from sql.magic import SqlMagic
from sql.run import FakeResultProxy, ResultSet

from lib import warehouse
from lib.config import Settings, read_settings
from lib.warehouse.base import Warehouse
from lib.warehouse.templates import WarehouseError

LIMIT = 20  # rows of a DataFrame that are displayed; all of them are in the result
WIDEST = 200  # characters of a cell that are displayed
FORMAT = {"na_rep": "", "float_format": lambda number: f"{number:,.4f}".rstrip("0").rstrip(".")}


def start(config: str = "", read_only: bool = False, **overrides) -> tuple[Settings, Warehouse]:
    """Open the warehouse for a notebook, with `%%sql` on it, and print which one it is.

    `config`, `overrides`: as for `lib.config.read_settings`. `read_only`: as for `connect`.
    """
    settings = read_settings(config, **overrides)
    opened = warehouse.connect(settings, read_only)
    activate(opened)
    print(opened)
    return settings, opened


class Bar(ProgressBar):
    """A notebook's progress bar: call it with the name of each of its steps as the step begins.

    It prints each name too, so that a notebook run headless tells how far it came.
    """

    def __enter__(self) -> Bar:
        self.display()
        return self

    def __call__(self, step: str) -> None:
        """Print a step, and move the bar on."""
        print(step)
        self.progress = min(self.progress + 1, self.total)

    def __exit__(self, kind, *_) -> None:
        if kind is None:  # some steps may not have been needed
            self.progress = self.total

    def __repr__(self) -> str:
        return f"{self.progress} of {self.total} steps"

    def _repr_html_(self) -> str:
        bar = f'max="{self.total}" value="{self.progress}" style="width: 100%"'
        return f'<progress aria-label="steps" {bar}></progress>'


class OpenWarehouse:
    """What ipython-sql uses of a connection, on a warehouse that is open already."""

    dialect = ""  # for ipython-sql's list of engines that can't commit

    def __init__(self, warehouse: Warehouse):
        self.warehouse, self.name, self.internal_connection = warehouse, str(warehouse), self
        self.is_closed = False
        warehouse.closing.callback(setattr, self, "is_closed", True)

    def execute(self, statement, variables: dict) -> FakeResultProxy:
        """Run a statement, an SQLAlchemy text, with the notebook's variables that it names bound.

        Raises WarehouseError, which stops the notebook; SQLAlchemy's errors are only printed.
        """
        if self.is_closed:
            raise WarehouseError("The warehouse is closed; run this notebook again from the top.")
        bound = statement.compile()
        if missing := bound.params.keys() - variables:
            raise WarehouseError(f"The statement names :{min(missing)}, which is no variable here.")
        values = {name: variables[name] for name in bound.params}
        cursor = self.warehouse._execute(str(bound), values)
        described = getattr(cursor, "description", None) or []  # a comment has no cursor
        return FakeResultProxy(cursor, [column[0] for column in described])

    def commit(self) -> None:
        """Do nothing: each statement is committed by itself."""

    rollback = commit


def activate(warehouse: Warehouse) -> None:
    """Run the `%%sql` cells of this notebook on `warehouse`, and display DataFrames in short."""
    shell = get_ipython()
    magic = SqlMagic(shell)
    magic.autopandas, magic.displaycon, magic.feedback = True, False, False
    magic.style = "_DEPRECATED_DEFAULT"  # prettytable's name for the DEFAULT of ipython-sql
    shell.register_magics(magic)
    ResultSet.DataFrame = _convert_result
    Connection.current = OpenWarehouse(warehouse)
    Connection.connections = {Connection.current.name: Connection.current}
    formatters = shell.display_formatter.formatters
    formatters["text/html"].for_type(pd.DataFrame, format_html)
    formatters["text/plain"].for_type(pd.DataFrame, lambda frame, p, _: p.text(format_text(frame)))


def _convert_result(result: ResultSet):
    """Return an ipython-sql result as a DataFrame; its own method drops an empty one's columns."""
    return pd.DataFrame(list(result), columns=list(result.keys)) if result.keys else None


def format_html(frame) -> str:
    """Return a DataFrame's first rows as an HTML table, and how many rows there are."""
    with pd.option_context("display.max_colwidth", WIDEST):
        table = frame.head(LIMIT).to_html(index=_has_labels(frame), border=0, **FORMAT)
    return f"{table}\n<p>{_count_rows(frame)}</p>" if len(frame) > LIMIT else table


def format_text(frame) -> str:
    """Return a DataFrame's first rows as text, and how many rows there are."""
    table = frame.head(LIMIT).to_string(index=_has_labels(frame), **FORMAT)
    return f"{table}\n{_count_rows(frame)}" if len(frame) > LIMIT else table


def _count_rows(frame) -> str:
    return f"showing {LIMIT:,} of {len(frame):,}"


def _has_labels(frame) -> bool:
    """Return whether the index holds more than the rows' numbers."""
    return not isinstance(frame.index, pd.RangeIndex)
