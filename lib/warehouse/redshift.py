"""Amazon Redshift as a warehouse: redshift_connector over verified TLS."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress

from lib.config import Settings
from lib.provision import cluster
from lib.warehouse.base import (
    MARK,
    PATIENCE,
    TABLES,
    VIEWS,
    Busy,
    Conflict,
    ConnectionLost,
)
from lib.warehouse.copy import Copying
from lib.warehouse.templates import BOUND, WarehouseError, render

SERIALIZABLE = "1023"  # in the text of a conflict; its SQLSTATE is that of any internal error
DATE, DOUBLE = 1082, 701  # the types' numbers
NEVER_NULL = {16: "bool", 20: "int64", 21: "int16", 23: "int32"}
TIMEOUT = 20  # seconds to wait for a connection


class Redshift(Copying):
    """One connection to a cluster, opened with a password that is good for minutes."""

    dialect = "redshift"
    copies = True
    url = "redshift+redshift_connector://"
    another = "create another database there and name it in [DB] NAME"
    removal = "drop its tables"
    schema = home = "public"
    tables = (MARK, "load_lock", *TABLES)

    def __init__(self, settings: Settings, read_only: bool = False):
        self.settings, self.read_only = settings, read_only
        self.closing = ExitStack()
        self.host, self.port = cluster.endpoint(settings)
        self.label = f"redshift · {settings.cluster.identifier} · {self.host}:{self.port}"
        self.place = f"The database {settings.db.name} on {self.host}"
        self._open()

    def _open(self) -> None:
        self.raw = self.cursor()
        ((self.session_id,),) = self.rows("copy/session")

    def cursor(self):
        """Return a connection of its own, for SQLAlchemy; it ends with the warehouse."""
        import redshift_connector

        user, password = cluster.credentials(self.settings, self.read_only)
        try:
            # A timeout of the driver's own would also end every statement that takes longer.
            socket.create_connection((self.host, self.port), TIMEOUT).close()
            connection = redshift_connector.connect(
                host=self.host,
                port=self.port,
                database=self.settings.db.name,
                user=user,
                password=password,
                application_name="sparkify-dwh",  # else the driver searches the stack for one
                sslmode="verify-full",  # without the word a wrong host name is only warned of
                max_prepared_statements=0,  # a statement is planned anew when its tables are
            )
        except (redshift_connector.Error, OSError) as error:
            why = _why_not_open(self.host, self.port, error)
            first = f"; run 02_schema first, which makes {cluster.READER}"
            raise WarehouseError(
                why + (first if self.read_only and _about(error) else "")
            ) from None
        connection.autocommit = True  # a transaction begins and ends by its own words
        self.closing.callback(_closed, connection)
        return connection

    def reopen(self) -> None:
        """Connect again after the connection was lost, and wait for what it was doing to end."""
        self._open()
        with self.transaction():
            return

    def _why_not_ours(self, objects: list[tuple], types: Collection[str]) -> str:
        if not self.read_only:
            return super()._why_not_ours(objects, types)
        return (
            f"{self.place} shows {cluster.READER} no mark of this project; run 02_schema, which "
            "lets it in where this project made the database."
        )

    def create_schema(self) -> None:
        """Create the tables and views that are not there yet, and let the reader read them."""
        super().create_schema()
        self.let_in_reader()

    def let_in_reader(self) -> None:
        """Create the user that questions are asked as, and grant it the model and nothing else."""
        reader = {"reader": cluster.READER, "home": self.home, "tables": (MARK, *TABLES, *VIEWS)}
        if (cluster.READER,) not in self.rows("access/users"):
            try:
                self.run("access/reader", reader)
            except WarehouseError as error:
                raise WarehouseError(
                    f"{self.settings.db.user} may not make the user {cluster.READER}, as whom "
                    f"questions are asked ({error}). Let an administrator run: create user "
                    f"{cluster.READER} password disable; then run 02_schema again."
                ) from error
        self.run("access/grants", reader | {"own": not self.settings.db.host})

    @contextmanager
    def transaction(self, patience: float = PATIENCE) -> Iterator[None]:
        """Commit what is run within, or none of it; one such transaction at a time.

        Raises Busy when another one has not ended after `patience` seconds.
        """
        with super().transaction():
            try:
                self.run("copy/lock", {"milliseconds": int(patience * 1000)})
            except WarehouseError as error:
                if "cancel" not in str(error):  # as a statement is that reaches its limit
                    raise
                raise Busy(
                    f"{self.place} is held by another load, which did not end within "
                    f"{patience:,.0f} seconds; let it end, or end its session (svv_transactions "
                    "names it, pg_terminate_backend ends it), then load again."
                ) from None
            yield

    @staticmethod
    def words(error: Exception) -> str:
        """Return the message and detail of a server's error."""
        said = [_about(error).get(letter) for letter in ("M", "D")]
        return "\n".join(filter(None, said)) or str(error)

    def _execute(self, statement: str, values: dict | None = None):
        import redshift_connector

        if self.raw is None:
            self._open()
        named = set(BOUND.findall(statement)) & set(values or {})
        cursor = self.raw.cursor()
        cursor.paramstyle = "named"
        try:
            bound = {name: values[name] for name in named} or None
            return cursor.execute(statement, bound)
        except (redshift_connector.Error, OSError) as error:
            if _about(error).get("S") == "ERROR":
                raise _refused(error) from error
            raise ConnectionLost(f"The connection to {self.host} broke: {error}") from error
        except BaseException:  # Ctrl-C: the answer still to come would be taken for the next one's
            _closed(self.raw)
            self.raw = None
            raise

    def _frame(self, statement: str, values: dict):
        import pandas as pd

        cursor = self._execute(statement, values)
        names = [column[0] for column in cursor.description]
        frame = pd.DataFrame([tuple(row) for row in cursor.fetchall()], columns=names)
        for name, kind, *_ in cursor.description:
            if kind == DATE:
                frame[name] = pd.to_datetime(frame[name]).astype("datetime64[us]")
            elif kind == DOUBLE:
                frame[name] = frame[name].astype("float64")
            elif kind in NEVER_NULL and not frame[name].isna().any():
                frame[name] = frame[name].astype(NEVER_NULL[kind])
        return frame

    def batches(self, table: str) -> Iterator:
        """Give a table as DataFrames of some rows, within a transaction; memory is bounded by them.

        Source of the number of rows: AWS's page "FETCH".
        """
        import pandas as pd

        self.run("export/cursor", {"table": table})
        while rows := (fetched := self._execute(*render("export/fetch", self.dialect))).fetchall():
            names = [column[0] for column in fetched.description]
            # As they are: pandas would make a whole number that may be NULL a double.
            yield pd.DataFrame([tuple(row) for row in rows], columns=names, dtype=object)
        self.run("export/close")


def _about(error: Exception) -> dict:
    """Return the fields of a server's error, by the protocol's letters; {} for any other."""
    return error.args[0] if error.args and isinstance(error.args[0], dict) else {}


def _refused(error) -> WarehouseError:
    """Return a server's error as ours: its words, and whether trying again can help."""
    message = Redshift.words(error)
    if _about(error).get("C") == "XX000" and SERIALIZABLE in message:
        return Conflict(f"Another session changed the same tables: {message}")
    return WarehouseError(Redshift.why_refused(message))


def _why_not_open(host: str, port: int, error: Exception) -> str:
    if _about(error):
        return f"{host}:{port} refused the connection: {Redshift.words(error)}"
    if "certificate" in str(error).lower():
        return (
            f"{host}:{port} could not prove who it is ({error}); a program in between may be "
            "opening TLS. Nothing was sent."
        )
    return (
        f"{host}:{port} can't be reached ({error}). Likely: your address has changed since "
        "01_provision (run it again), a VPN or firewall closes the port, or the cluster is private "
        "([CLUSTER] ACCESS = vpc) and can be reached from inside its VPC only."
    )


def _closed(connection) -> None:
    with suppress(Exception):  # a connection that broke can't be closed and needs not be
        connection.close()
