"""Amazon Redshift as a warehouse: redshift_connector over verified TLS."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from lib.aws import access
from lib.aws.access import READER
from lib.config import Settings
from lib.warehouse.base import MARK, PATIENCE, TABLES, VIEWS, Busy, Conflict, ConnectionLost
from lib.warehouse.copy import Copying
from lib.warehouse.templates import BOUND, WarehouseError, render

SERIALIZABLE = "1023"  # in a conflict's message; its SQLSTATE is that of any internal error
DATE, DOUBLE = 1082, 701  # type codes
WITHOUT_NULLS = {16: "bool", 20: "int64", 21: "int16", 23: "int32"}  # dtypes by type code
TIMEOUT = 20  # seconds to wait for a connection


class Redshift(Copying):
    """One connection to a cluster, opened with a temporary password."""

    dialect = "redshift"
    copies = True
    another = "create another database there and name it in [DB] NAME"
    schema = home = "public"
    tables = (MARK, "load_lock", *TABLES)

    def __init__(self, settings: Settings, read_only: bool = False):
        self.settings, self.read_only = settings, read_only
        self.closing = ExitStack()
        self.host, self.port = access.find_endpoint(settings)
        self.label = f"redshift · {settings.cluster.identifier} · {self.host}:{self.port}"
        self.place = f"The database {settings.db.name} on {self.host}"
        self._open()

    def _open(self) -> None:
        self.raw = self.cursor()
        ((self.session_id,),) = self.rows("copy/session")

    def cursor(self):
        """Open a further connection to the same database; `close` closes it too."""
        import redshift_connector

        user, password = access.get_credentials(self.settings, self.read_only)
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
            why = _explain_failure(self.host, self.port, error)
            if self.read_only and _read_fields(error):
                why += f"; run 02_schema first, which makes {READER}"
            raise WarehouseError(why) from None
        connection.autocommit = True  # begin, commit and rollback are statements of ours
        self.closing.callback(_close, connection)
        return connection

    def reopen(self) -> None:
        """Connect again after the connection was lost, and wait until what it ran has ended."""
        self._open()
        with self.transaction():
            return

    def _explain_no_mark(self, objects: list[tuple]) -> str:
        if not self.read_only:
            return super()._explain_no_mark(objects)
        return (
            f"{self.place} shows {READER} no mark of this project; run 02_schema, which "
            "lets it in where this project made the database."
        )

    def create_schema(self) -> None:
        """Create the tables and views that are missing, and let the reader read them."""
        super().create_schema()
        self.grant_reader()

    def grant_reader(self) -> None:
        """Create the user that queries run as, and let it read the model and nothing else."""
        reader = {"reader": READER, "home": self.home, "tables": (MARK, *TABLES, *VIEWS)}
        if (READER,) not in self.rows("access/users"):
            try:
                self.run("access/reader", reader)
            except WarehouseError as error:
                raise WarehouseError(
                    f"{self.settings.db.user} may not create the user {READER}, "
                    f"which queries run as ({error}). Let an administrator run: create user "
                    f"{READER} password disable; then run 02_schema again."
                ) from error
        self.run("access/grants", reader | {"own": not self.settings.db.host})

    @contextmanager
    def transaction(self, patience: float = PATIENCE) -> Iterator[None]:
        """Commit what is run within, or roll it back; one load at a time.

        Raises Busy when another load has not ended after `patience` seconds.
        """
        with super().transaction():
            try:
                self.run("copy/lock", {"milliseconds": int(patience * 1000)})
            except WarehouseError as error:
                if "cancel" not in str(error):  # said of a statement that reaches its time limit
                    raise
                raise Busy(
                    f"{self.place} is held by another load, which did not end within "
                    f"{patience:,.0f} seconds; let it end, or end its session (svv_transactions "
                    "names it, pg_terminate_backend ends it), then load again."
                ) from None
            yield

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
            if _read_fields(error).get("S") == "ERROR":
                raise _convert_error(error) from error
            raise ConnectionLost(f"The connection to {self.host} broke: {error}") from error
        except BaseException:  # Ctrl-C: its late answer would be read as the next statement's
            _close(self.raw)
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
            elif kind in WITHOUT_NULLS and not frame[name].isna().any():
                frame[name] = frame[name].astype(WITHOUT_NULLS[kind])
        return frame

    def read_table(self, table: str) -> Iterator:
        """Yield a table as DataFrames of up to 1,000 rows; call it within a transaction.

        More rows than that a cursor of a single-node cluster can't fetch (AWS, "FETCH").
        """
        import pandas as pd

        self.run("export/cursor", {"table": table})
        while rows := (fetched := self._execute(*render("export/fetch", self.dialect))).fetchall():
            names = [column[0] for column in fetched.description]
            # dtype object: pandas would convert integers with NULLs to floats
            yield pd.DataFrame([tuple(row) for row in rows], columns=names, dtype=object)
        self.run("export/close")


def _read_fields(error: Exception) -> dict:
    """Return the fields of a server's error, by the protocol's letters; {} for any other."""
    return error.args[0] if error.args and isinstance(error.args[0], dict) else {}


def _read_message(error: Exception) -> str:
    """Return the message and the detail of a server's error."""
    fields = _read_fields(error)
    return "\n".join(fields[letter] for letter in "MD" if fields.get(letter)) or str(error)


def _convert_error(error: Exception) -> WarehouseError:
    """Return a server's error as one of ours: a Conflict when a retry can succeed."""
    message = _read_message(error)
    if _read_fields(error).get("C") == "XX000" and SERIALIZABLE in message:
        return Conflict(f"Another session changed the same tables: {message}")
    return WarehouseError(Redshift.explain_refusal(message))


def _explain_failure(host: str, port: int, error: Exception) -> str:
    """Return why a connection can't be opened, and what to do."""
    if _read_fields(error):
        return f"{host}:{port} refused the connection: {_read_message(error)}"
    if "certificate" in str(error).lower():
        return (
            f"{host}:{port} could not prove its identity ({error}); a proxy may be intercepting "
            "TLS. Nothing was sent."
        )
    return (
        f"{host}:{port} can't be reached ({error}). Likely: your address has changed since "
        "01_provision (run it again), a VPN or firewall closes the port, or the cluster is private "
        "([CLUSTER] ACCESS = vpc) and can be reached from inside its VPC only."
    )


def _close(connection) -> None:
    with suppress(Exception):  # a broken connection can't be closed and need not be
        connection.close()
