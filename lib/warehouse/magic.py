"""`%%sql` (ipython-sql) on the open warehouse: results as DataFrames, errors that stop."""

from __future__ import annotations

import pandas as pd
from IPython import get_ipython
from IPython.display import ProgressBar
from sql.connection import Connection
from sql.magic import SqlMagic
from sql.run import ResultSet
from sqlalchemy import event

from lib import UserError, warehouse
from lib.config import Settings, load
from lib.warehouse.base import Warehouse

LIMIT = 20  # rows of a DataFrame that are displayed; all of them are in the result
WIDEST = 200  # characters of one cell
LOOK = {"na_rep": "", "float_format": lambda number: f"{number:,.4f}".rstrip("0").rstrip(".")}


class SqlError(UserError):
    """A statement in a `%%sql` cell that the warehouse refused."""


def start(config: str = "", read_only: bool = False, **overrides) -> tuple[Settings, Warehouse]:
    """Open the warehouse of a notebook, with `%%sql` on it, and say which one it is.

    `config`, `overrides`: as of `lib.config.load`. `read_only`: as of `lib.warehouse.connect`.
    """
    settings = load(config, **overrides)
    opened = warehouse.connect(settings, read_only)
    activate(opened)
    print(opened)
    return settings, opened


class Bar(ProgressBar):
    """A progress bar in a notebook, of so many steps: call it with the name of each as it begins.

    Each step is printed too, so that a notebook which ran without a reader tells how far it came.
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
        return (
            f'<progress aria-label="steps" max="{self.total}" value="{self.progress}" '
            f'style="width: 100%"></progress>'
        )


def activate(warehouse: Warehouse) -> None:
    """Let `%%sql` cells of the running notebook work on `warehouse`."""
    shell = get_ipython()
    magic = SqlMagic(shell)
    magic.autopandas, magic.displaycon, magic.feedback = True, False, False
    shell.register_magics(magic)
    ResultSet.DataFrame = _as_frame
    Connection.connections.clear()
    Connection.current = connection = _connection(warehouse)
    warehouse.closing.callback(_disconnect, connection)
    formatters = shell.display_formatter.formatters
    formatters["text/html"].for_type(pd.DataFrame, as_html)
    formatters["text/plain"].for_type(pd.DataFrame, lambda frame, p, _: p.text(as_text(frame)))


def _connection(warehouse: Warehouse):
    """Return ipython-sql's connection to the database that `warehouse` has open.

    A refused statement raises SqlError, which ipython-sql lets pass; what SQLAlchemy raises it
    prints, and goes on.
    """
    connection = Connection(warehouse.url, creator=warehouse.cursor)

    @event.listens_for(connection.internal_connection.engine, "handle_error")
    def stop(context):
        raise SqlError(warehouse.words(context.original_exception)) from None

    return connection


class _Closed:
    """Stands where ipython-sql's connection was once the warehouse is closed."""

    name = dialect = "closed"

    def __init__(self):
        self.internal_connection = self

    def rollback(self) -> None:
        """Do nothing: there is no transaction."""

    def execute(self, *_):
        """Refuse any statement."""
        raise SqlError("The warehouse is closed; run this notebook again from the top.")


def _disconnect(connection) -> None:
    connection.internal_connection.close()
    connection.internal_connection.engine.dispose()
    if Connection.current is connection:
        Connection.current = _Closed()


def _as_frame(result):
    """Return the DataFrame of an ipython-sql result; its own loses an empty one's columns."""
    columns = getattr(result, "keys", None)
    return None if columns is None else pd.DataFrame(list(result), columns=list(columns))


def as_html(frame) -> str:
    """Return a DataFrame's first rows as an HTML table, and how many there are."""
    with pd.option_context("display.max_colwidth", WIDEST):
        table = frame.head(LIMIT).to_html(index=_index_speaks(frame), border=0, **LOOK)
    return f"{table}\n<p>{_cap(frame)}</p>" if len(frame) > LIMIT else table


def as_text(frame) -> str:
    """Return a DataFrame's first rows as text, and how many there are."""
    table = frame.head(LIMIT).to_string(index=_index_speaks(frame), **LOOK)
    return f"{table}\n{_cap(frame)}" if len(frame) > LIMIT else table


def _cap(frame) -> str:
    return f"showing {LIMIT:,} of {len(frame):,}"


def _index_speaks(frame) -> bool:
    """Tell whether the index holds more than the rows' numbers."""
    return not isinstance(frame.index, pd.RangeIndex)
