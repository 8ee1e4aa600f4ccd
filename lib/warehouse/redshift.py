"""Amazon Redshift as a warehouse: redshift_connector over verified TLS, files brought in by COPY.

COPY reads from S3 exactly what a manifest lists. Manifests, and files that lie in a folder, are put
into the project's own bucket for that, below loads/, and taken out again after the load.
"""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from io import BufferedReader

from lib import aws
from lib.config import Settings
from lib.load import s3
from lib.load.records import Kind, opened
from lib.load.source import Batch
from lib.warehouse import access
from lib.warehouse.access import BOUNDARY, LOADS, READER
from lib.warehouse.base import (
    MARK,
    PATIENCE,
    TABLES,
    VIEWS,
    Busy,
    Conflict,
    ConnectionLost,
    CopyError,
    Warehouse,
)
from lib.warehouse.templates import BOUND, WarehouseError, columns_of, render

SERIALIZABLE = "1023"  # in the text of a conflict; its SQLSTATE is that of any internal error
DATE, DOUBLE = 1082, 701  # the types' numbers
NEVER_NULL = {16: "bool", 20: "int64", 21: "int16", 23: "int32"}
TIMEOUT = 20  # seconds to wait for a connection
FILE_NAME = 256  # characters of a file's name that the system views keep
MAXERROR = 100_000  # records that a COPY may pass over, the most that Redshift lets it
REMEDIES = {  # by COPY's error code; the codes are in AWS's page "Load error reference"
    1204: "the text is longer than the column; shorten it, or widen the column in lib/sql/schema",
    1207: "the value is not a number of this column's kind; mend it",
    1213: "the record lacks a field that all have; mend it",
    1220: "the text is not UTF-8, or holds NUL; convert the file",
    1222: "the number is out of the column's range; mend it",
    1224: "the record is not valid JSON; mend it",
}


class Redshift(Warehouse):
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
        self.host, self.port = access.find_endpoint(settings)
        self.label = f"redshift · {settings.cluster.identifier} · {self.host}:{self.port}"
        self.place = f"The database {settings.db.name} on {self.host}"
        self._open()

    def _open(self) -> None:
        self.raw = self.cursor()
        ((self.session_id,),) = self.rows("copy/session")

    def cursor(self):
        """Return a connection of its own, for SQLAlchemy; it ends with the warehouse."""
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
            why = _why_not_open(self.host, self.port, error)
            first = f"; run 02_schema first, which makes {READER}"
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
            f"{self.place} shows {READER} no mark of this project; run 02_schema, which "
            "lets it in where this project made the database."
        )

    def create_schema(self) -> None:
        """Create the tables and views that are not there yet, and let the reader read them."""
        super().create_schema()
        self.let_in_reader()

    def let_in_reader(self) -> None:
        """Create the user that questions are asked as, and grant it the model and nothing else."""
        reader = {"reader": READER, "home": self.home, "tables": (MARK, *TABLES, *VIEWS)}
        if (READER,) not in self.rows("access/users"):
            try:
                self.run("access/reader", reader)
            except WarehouseError as error:
                raise WarehouseError(
                    f"{self.settings.db.user} may not make the user {READER}, as whom "
                    f"questions are asked ({error}). Let an administrator run: create user "
                    f"{READER} password disable; then run 02_schema again."
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

    @cached_property
    def role(self) -> str:
        """The ARN of the role that COPY reads with."""
        return access.find_role_arn(self.settings)

    @cached_property
    def bucket(self) -> dict[str, str]:
        """The project's own bucket and the account that it must belong to."""
        return access.get_bucket(self.settings)

    def stage(self, batch: Batch, batch_id: int) -> dict[str, int]:
        """Copy the batch's parts into its staging table; return the records of each part.

        Raises CopyError for the parts that hold records which can't be read.
        """
        kind, counts = batch.kind.name, {}
        self.run("copy/land", {"kind": kind})
        columns = ["start_time" if c == "ts" else c for c in columns_of(batch.kind.fields)]
        with self._scratch() as scratch:
            json_paths = self._json_paths(batch.kind, scratch)
            for gzip in (False, True):
                parts = [part for part in batch.parts if part.lower().endswith(".gz") is gzip]
                copied = dict(zip(scratch.all_in_s3(parts), parts, strict=True))
                if copied:
                    about = {"gzip": gzip, "maxerror": MAXERROR}
                    self._copy(f"landed_{kind}", columns, scratch, copied, json_paths, **about)
                    found = dict(self.rows("copy/files"))
                    counts |= {part: found.get(uri[:FILE_NAME], 0) for uri, part in copied.items()}
        self.run(f"load/stage_{kind}", {"fields": batch.kind.fields}, batch_id=batch_id)
        return counts

    def append(self, table: str, frame) -> None:
        """Add a DataFrame's rows to a table, its columns by their names."""
        with self._scratch() as scratch:
            body = frame.to_json(orient="records", lines=True, date_format="iso", date_unit="us")
            rows = {scratch.put("rows.json", body.encode()): table}
            self._copy(table, list(frame.columns), scratch, rows, "auto", timeformat="auto")

    def _copy(self, table, columns, scratch, files: dict, json_paths: str, **how) -> None:
        """Run COPY on exactly `files`, a mapping of each one's URI to the part that it holds.

        Raises CopyError that says which record it can't read, and in which parts some are.
        """
        entries = [{"url": uri, "mandatory": True} for uri in files]
        manifest = scratch.put("manifest", json.dumps({"entries": entries}).encode())
        about = {"table": table, "columns": columns, "manifest": manifest, "json": json_paths}
        about |= {"role": self.role, "region": self.settings.data.region}
        about |= {"gzip": False, "timeformat": "epochmillisecs", "maxerror": 0} | how
        (statement,) = render("copy/copy", self.dialect, **about)
        try:
            self._execute(statement)
        except (Conflict, ConnectionLost):
            raise
        except WarehouseError as error:
            self._execute("rollback")  # after an error nothing can be asked in the transaction
            raise self._not_copied(str(error), files) from error
        if about["maxerror"] and self.rows("copy/bad_lines", session_id=self.session_id):
            raise self._not_copied("load_error", files)

    def _not_copied(self, message: str, files: dict) -> CopyError:
        """Return what COPY could not read, and the likely cause and remedy."""
        found = self.rows("copy/errors", session_id=self.session_id)
        if "load_error" not in message or not found:
            return CopyError(explained_copy(message, self.role))
        bad: dict[str, list[range]] = {name: [] for name, *_ in found}
        for name, line in self.rows("copy/bad_lines", session_id=self.session_id):
            bad.setdefault(name, []).append(range(line - 1, line))
        file, line, column, kind, code, reason = found[0]
        more = f" ({len(found) - 1} more such records follow)" if len(found) > 1 else ""
        remedy = REMEDIES.get(int(code), "mend or take out that record")
        column = f", column {column} ({kind})" if column else ""
        return CopyError(
            f"{file}, line {line}{column}: {reason}; {remedy}, then load again{more}.",
            {part: bad[uri[:FILE_NAME]] for uri, part in files.items() if uri[:FILE_NAME] in bad},
        )

    def _json_paths(self, kind: Kind, scratch: _Scratch) -> str:
        """Return where the jsonpaths file of a kind lies in S3: [DATA] LOG_JSONPATH, or ours; or
        auto, where fields and columns have the same names."""
        fields = list(kind.fields)
        if columns_of(fields) == fields:
            return "auto"
        if place := self.settings.data.log_jsonpath:
            body = s3.body(self.settings, place)
        else:
            body = json.dumps({"jsonpaths": [f"$['{name}']" for name in fields]}).encode()
        return scratch.put("jsonpaths.json", body)

    def _scratch(self) -> closing[_Scratch]:
        client = aws.client(self.settings, "s3", self.settings.data.region)
        return closing(_Scratch(client, self.bucket))


class _Scratch:
    """A folder of one COPY in the project's bucket.

    `bucket`: its name and the account that it must belong to, as of `access.get_bucket`.
    """

    def __init__(self, client, bucket: dict[str, str]):
        self.client, self.bucket, self.folder = client, bucket, f"{LOADS}{uuid.uuid4().hex}"
        self.keys: list[str] = []

    def put(self, name: str, body: bytes | BufferedReader) -> str:
        """Put an object into the folder, of bytes or of a file, and return its URI."""
        key = f"{self.folder}/{len(self.keys)}-{name}"
        uri = f"s3://{self.bucket['Bucket']}/{key}"
        self.keys.append(key)
        with aws.asking(f"write {uri}"):
            if isinstance(body, bytes):
                self.client.put_object(**self.bucket, Key=key, Body=body)
            else:
                owner = {"ExpectedBucketOwner": self.bucket["ExpectedBucketOwner"]}
                self.client.upload_fileobj(body, self.bucket["Bucket"], key, ExtraArgs=owner)
        return uri

    def all_in_s3(self, parts: list[str]) -> list[str]:
        """Return the parts' URIs; those that are files are put into the folder first."""
        uris = []
        for part in parts:
            if "://" in part:
                uris.append(part)
                continue
            with opened(part, part) as file:
                uris.append(self.put("part.json", file))
        return uris

    def close(self) -> None:
        """Take the objects out again; what is left by a failure expires by the bucket's rule."""
        from botocore.exceptions import BotoCoreError, ClientError

        with suppress(BotoCoreError, ClientError):
            for first in range(0, len(self.keys), 1000):
                keys = [{"Key": key} for key in self.keys[first : first + 1000]]
                self.client.delete_objects(**self.bucket, Delete={"Objects": keys})


def explained_copy(message: str, role: str) -> str:
    """Return Redshift's words for a failed COPY as what happened and what to do."""
    if "Access Denied" in message or "AccessDenied" in message:
        cause = (
            f"COPY may not read the files as {role}: the bucket or the policy {BOUNDARY} does not "
            "let it, or LOG_DATA or SONG_DATA has changed since 01_provision; run 01_provision "
            "again, or ask an administrator or the bucket's owner."
        )
    elif "NoSuchKey" in message or "does not exist" in message:
        cause = "A file vanished between listing and reading; load again."
    elif "PermanentRedirect" in message or "different region" in message:
        cause = "The data's bucket is in another region; set [DATA] REGION to it."
    elif "jsonpath" in message.lower():
        cause = "The file named in [DATA] LOG_JSONPATH doesn't fit; mend it, or name none."
    else:
        return f"COPY failed: {message}"
    first_line, *_ = message.strip().split("\n")
    return f"{cause} Redshift said: {first_line}"


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
