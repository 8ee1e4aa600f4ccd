"""A double of Amazon Redshift: PostgreSQL behind a facade that redshift_connector takes for one.

What it proves: the driver, TLS with verify-full, log-in, the protocol; that our SQL is written in
the subset that PostgreSQL and Redshift share, Redshift's own words aside; COPY from S3: grammar,
manifests, JSONPaths, values, rejects and errors, inside of the transaction; what a load does when
the connection or the transaction breaks; that keys are not enforced, `varchar(n)` counts bytes
(also in INSERT, not in CREATE TABLE AS), `varchar` and `text` alone hold 256, TRUNCATE commits.

What it does not prove: distribution, sort keys, compression, speed, price; Redshift's locks and
isolation (PostgreSQL's repeatable read stands in for SNAPSHOT, and conflicts are found by row, not
by table); its planner, which trusts keys; equality of 'a' and 'a ' in varchar; avg(integer), which
is numeric here and bigint there (integer division is the same); formats of to_char; functions and
types that only Redshift has, other than those in redshift.sql; text that PostgreSQL accepts and
Redshift does not, such as generate_series over tables. Wording and codes of errors follow the
documentation and published reports where there are some, else memory.
"""

from __future__ import annotations

import atexit
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import trustme

from . import copy
from .dialect import IGNORED_SETTINGS, SqlError, rewrite, significant, tokenize
from .postgres import Backend, Server, error_fields, error_message, message, read_message

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
ABORTED = "current transaction is aborted, commands ignored until end of transaction block"
CONFLICT = SqlError(
    "1023",
    detail="Serializable isolation violation on table - 100123, transactions forming the cycle are:"
    " 5001, 5002 (pid:4711)",
)
TARGET = """
    select
        u.usesysid, pg_current_xact_id()::text::bigint, pg_backend_pid(), current_database(),
        c.oid, c.relname, a.attname, t.typname, a.atttypmod, a.attnotnull
    from pg_attribute as a
    inner join pg_class as c on c.oid = a.attrelid
    inner join pg_type as t on t.oid = a.atttypid
    inner join pg_user as u on u.usename = current_user
    where c.oid = '{table}'::regclass and a.attnum > 0
        and not a.attisdropped and a.attidentity = ''
    order by a.attnum
"""


class Faults:
    """What is to go wrong, once each, at the statements that match a pattern."""

    def __init__(self):
        self._lock = threading.Lock()
        self._planned: list[tuple[re.Pattern, str | SqlError | Callable]] = []

    def before(self, pattern: str, action: str | SqlError | Callable[[], None]) -> None:
        """Plan a fault for the next statement that `pattern` is found in.

        `action`: "drop before" cuts the connection and the statement never runs; "drop after" runs
        it and cuts the connection instead of answering; "serializable" answers with Redshift's
        error 1023; an SqlError is answered as it is; anything callable is called first.
        """
        with self._lock:
            self._planned.append((re.compile(pattern, re.IGNORECASE), action))

    def due(self, sql: str) -> str | SqlError | Callable | None:
        """Return what is planned for a statement, and forget it."""
        with self._lock:
            for planned in self._planned:
                if planned[0].search(sql.strip()):
                    self._planned.remove(planned)
                    return planned[1]
        return None


class Redshift:
    """A running double; close it, or use it as a context manager.

    `folder`: where the certificate authority's file is put. `s3`: returns a boto3 client; without
    it COPY reads from moto in this process, which is far faster.
    `authorise(user, database, password)`: whether this log-in is right, without it any is.
    `readable(role, bucket, key, action)`: why a role may not read, '' when it may. `region`: the
    cluster's, for a COPY that names none.
    """

    host, admin = "localhost", "dwh_admin"

    def __init__(
        self,
        folder: Path,
        s3: Callable | None = None,
        authorise: Callable[[str, str, str], bool] | None = None,
        readable: Callable[[str, str, str, str], str] | None = None,
        region: str = "",
    ):
        self.s3, self.region = s3, region
        self.authorise = authorise or (lambda user, database, password: True)
        self.readable = readable or (lambda role, bucket, key, action: "")
        self.faults = Faults()
        self.statements: list[str] = []
        self.round_trips = 0
        self.query_ids = count(1001)
        self._lock = threading.Lock()
        self._admin_is_there = False
        self._sessions: set[Session] = set()
        self.server = Server()
        atexit.register(self.close)
        self._run("template1", Path(__file__).with_name("redshift.sql").read_text())
        self._listen(folder)

    def _listen(self, folder: Path) -> None:
        """Take connections from now on, with a certificate of an authority made for this."""
        authority = trustme.CA()
        self.ca_file = folder / "redshift-ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(self.host).configure_cert(self.tls)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                session = Session(self, client)
                with self._lock:
                    self._sessions.add(session)
                threading.Thread(target=session.run, daemon=True).start()

    def _run(self, database: str, sql: str) -> list[tuple]:
        connection = self.server.connect(database)
        try:
            return connection.query(sql)
        finally:
            connection.close()

    def create_database(self, name: str, template: str = "template1") -> None:
        """Create a database, empty or as another one is that nobody is connected to."""
        made = f'create database "{name}" template "{template}" strategy = file_copy'
        self._run("postgres", made)

    def drop_database(self, name: str) -> None:
        """Remove a database, and cut who is connected to it."""
        self._run("postgres", f'drop database if exists "{name}" with (force)')

    def rows(self, database: str, sql: str) -> list[tuple]:
        """Return what PostgreSQL answers, past the facade."""
        return self._run(database, sql)

    def role(self, user: str) -> str:
        """Return the database's role of a user; the cluster's own admin is there from the start."""
        name = re.sub("^IAMA?:", "", user).lower()
        with self._lock:
            if name == self.admin and not self._admin_is_there:
                with suppress(SqlError):
                    self._run("postgres", f'create role "{name}" superuser login')
                self._admin_is_there = True
        return name

    def saw(self, sql: str) -> None:
        """Note a statement of a client."""
        with self._lock:
            self.statements.append(sql)

    def answered(self) -> None:
        """Note that a client waits for an answer."""
        with self._lock:
            self.round_trips += 1

    def forget(self, session: Session) -> None:
        """Drop a session that has ended."""
        with self._lock:
            self._sessions.discard(session)

    def close(self) -> None:
        """Cut all connections, stop PostgreSQL and remove its files."""
        atexit.unregister(self.close)
        with suppress(AttributeError, OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.cut()
        self.server.close()

    def __enter__(self) -> Redshift:
        return self

    def __exit__(self, *exc) -> None:
        self.close()


class Cut(Exception):
    """The connection ends here."""


class Session:
    """One client's connection, and PostgreSQL's behind it."""

    def __init__(self, redshift: Redshift, client: socket.socket):
        self.redshift, self.client = redshift, client
        self.backend: Backend | None = None
        self.statements: dict[bytes, str] = {}  # prepared ones, by name
        self.portals: dict[bytes, str] = {}
        self.failed = self.cut_after = False  # until the next Sync
        self.unseen = ""  # prepared in this round and not executed
        self.out = bytearray()

    def run(self) -> None:
        """Serve the client until either side ends."""
        try:
            with suppress(Cut, EOFError, OSError):
                self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.log_in()
                while True:
                    self.step(*read_message(self.stream))
        finally:
            self.cut()
            self.redshift.forget(self)

    def cut(self) -> None:
        """End both connections."""
        with suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)
        self.client.close()
        if self.backend:
            with suppress(OSError, ValueError):
                self.backend.socket.shutdown(socket.SHUT_RDWR)
            self.backend.close()

    # --- log-in ---

    def log_in(self) -> None:
        """Take the client from its first byte to the first statement."""
        parameters = self.start()
        user = parameters["user"]
        self.database = database = parameters.get("database", user)
        self.send(b"R", struct.pack("!i", 3))  # a password, in the clear inside of TLS
        self.flush()
        kind, body = read_message(self.stream)
        if kind != b"p" or not self.redshift.authorise(user, database, body[:-1].decode()):
            self.refuse("28000", f'password authentication failed for user "{user}"')
        try:
            self.backend = self.redshift.server.connect(database, self.redshift.role(user))
        except SqlError as error:
            if "role" in error.message:  # there is no such user
                self.refuse("28000", f'password authentication failed for user "{user}"')
            self.refuse(error.code, error.message)
        for kind, body in self.backend.greeting:
            if body.startswith(b"server_version\0"):
                body = b"server_version\x008.0.2\0"
                self.send(b"S", b"server_protocol_version\x000\0")
            self.send(kind, body)
        self.flush()

    def start(self) -> dict[str, str]:
        """Change to TLS and return the start-up parameters."""
        request, body = self.startup_packet(self.client)
        while request in (SSL_REQUEST, GSS_REQUEST):
            self.client.sendall(b"S" if request == SSL_REQUEST else b"N")
            if request == SSL_REQUEST:
                self.client = self.redshift.tls.wrap_socket(self.client, server_side=True)
            request, body = self.startup_packet(self.client)
        self.stream = self.client.makefile("rb")
        if not isinstance(self.client, ssl.SSLSocket):
            self.refuse("28000", "no pg_hba.conf entry: SSL off")
        words = body.decode().split("\0")
        return dict(zip(words[0::2], words[1::2], strict=False))

    @staticmethod
    def startup_packet(client: socket.socket) -> tuple[int, bytes]:
        """Return the code and the body of a packet that comes before all messages."""
        packet, length = b"", 8
        while len(packet) < length:
            more = client.recv(length - len(packet))
            if not more:
                raise Cut
            packet += more
            if len(packet) >= 4:
                length = struct.unpack("!i", packet[:4])[0]
        return struct.unpack("!i", packet[4:8])[0], packet[8:]

    def refuse(self, code: str, text: str) -> None:
        """Tell the client why it can't come in, and end."""
        self.out += error_message({"S": "FATAL", "C": code, "M": text})
        self.flush()
        raise Cut

    # --- messages ---

    def send(self, kind: bytes, body: bytes = b"") -> None:
        """Put a message in the answer."""
        self.out += message(kind, body)
        if len(self.out) > 1 << 16 and not self.cut_after:
            self.flush()

    def flush(self) -> None:
        """Send what was put in the answer, or cut the connection instead if a fault wants it."""
        if self.cut_after:
            raise Cut
        self.client.sendall(self.out)
        self.out.clear()

    def step(self, kind: bytes, body: bytes) -> None:
        """Deal with one message of the client."""
        if kind == b"X":
            raise Cut
        if kind == b"S":
            self.sync()
        elif kind == b"Q":
            self.simple(body[:-1].decode())
        elif not self.failed and kind in b"PBDEC":
            try:
                getattr(self, {b"P": "parse", b"B": "bind"}.get(kind, "other"))(kind, body)
            except SqlError as error:
                self.fail(error)

    def sync(self) -> None:
        """End a round: answer with all that it gave."""
        self.redshift.answered()
        self.backend.send(b"S")
        self.failed = self.relay() or self.failed
        if self.failed and self.unseen:
            self.redshift.saw(self.unseen)
        self.failed, self.unseen = False, ""
        self.flush()

    def simple(self, sql: str) -> None:
        """Run a statement that comes without preparation."""
        self.redshift.answered()
        try:
            tag = self.execute(sql)
            if tag:
                self.send(b"C", tag.encode() + b"\0")
            else:
                self.backend.send(b"Q", rewrite(sql).encode() + b"\0")
                self.relay(ready=False)
        except SqlError as error:
            self.fail(error)
        self.failed = False
        self.send(b"Z", self.backend.status.encode())
        self.flush()

    def relay(self, ready: bool = True) -> bool:
        """Put PostgreSQL's answer in ours, errors in Redshift's words; tell if there was one."""
        failed = False
        for kind, body in self.backend.messages():
            if kind == b"E":
                failed = True
                self.out += error_message(_as_redshift(error_fields(body)))
            elif kind != b"Z" or ready:
                self.send(kind, body)
        return failed

    def parse(self, kind: bytes, body: bytes) -> None:
        """Prepare a statement: PostgreSQL does, rewritten, unless it is one of ours."""
        name, sql, rest = body.split(b"\0", 2)
        self.statements[name] = self.unseen = sql.decode()
        if action(sql.decode()):
            if self.backend.status == "E":
                raise SqlError(ABORTED, "25P02")
            self.send(b"1")
        else:
            sql = rewrite(sql.decode()).encode()
            self.backend.send(kind, b"\0".join([name, sql, rest]))

    def bind(self, kind: bytes, body: bytes) -> None:
        """Make a portal of a prepared statement."""
        portal, name, _ = body.split(b"\0", 2)
        self.portals[portal] = self.statements.get(name, "")
        if action(self.portals[portal]):
            self.send(b"2")
        else:
            self.backend.send(kind, body)

    def other(self, kind: bytes, body: bytes) -> None:
        """Describe, close or execute a statement or portal."""
        known = self.portals if kind == b"E" or body[:1] == b"P" else self.statements
        sql = known.get(body.split(b"\0")[0] if kind == b"E" else body[1:-1], "")
        if kind == b"E":
            tag = self.execute(sql)
            if tag:
                self.send(b"C", tag.encode() + b"\0")
                return
        elif action(sql):
            described = {b"S": [(b"t", b"\0\0"), (b"n", b"")], b"P": [(b"n", b"")]}[body[:1]]
            for answer in described if kind == b"D" else [(b"3", b"")]:
                self.send(*answer)
            return
        self.backend.send(kind, body)

    # --- statements ---

    def execute(self, sql: str) -> str:
        """Note a statement, let planned faults happen, and run it if it is ours: return its tag."""
        self.redshift.saw(sql)
        self.unseen = ""
        fault = self.redshift.faults.due(sql)
        if fault == "drop before":
            raise Cut
        if callable(fault):
            fault()
        elif fault == "drop after":
            self.cut_after = True
        elif fault:
            if re.match(r"\s*(commit|end)\b", sql, re.IGNORECASE):
                self.backend.query("rollback")
            raise CONFLICT if fault == "serializable" else fault
        own = action(sql)
        if own and self.backend.status == "E":
            raise SqlError(ABORTED, "25P02")
        return own(self, sql) if own else ""

    def fail(self, error: SqlError) -> None:
        """Answer with an error of our own, and leave the transaction as one leaves it."""
        self.failed = True
        if self.backend.status == "T":
            with suppress(SqlError):
                self.backend.query("do $$ begin raise 'aborted'; end $$")
        fields = {"S": "ERROR", "C": error.code, "M": error.message, "D": error.detail}
        self.out += error_message(_as_redshift({k: v for k, v in fields.items() if v}))

    def truncate(self, sql: str) -> str:
        """Run a TRUNCATE, which commits the transaction that it stands in."""
        self.backend.query(rewrite(sql))
        if self.backend.status == "T":
            self.backend.query("commit")
        return "TRUNCATE TABLE"

    def maintain(self, sql: str) -> str:
        """Accept a statement that changes nothing to be seen."""
        word = significant(tokenize(sql))[0].word
        if word == "vacuum" and self.backend.status != "I":
            raise SqlError("VACUUM cannot run inside a transaction block", "25001")
        return word.upper()

    def copy(self, sql: str) -> str:
        """Run a COPY inside of the client's transaction."""
        statement, started = copy.parse(sql), datetime.now(UTC)
        target, columns = self.target(statement)
        table = target[-1]
        loaded = copy.load(statement, columns, self.store(statement.options))
        failed = len(loaded.rejects) > statement.maxerror
        if not failed:
            names = ", ".join('"' + column.name.replace('"', '""') + '"' for column in columns)
            self.backend.query(f"copy {statement.table} ({names}) from stdin", loaded.lines)
        self.record([*target, statement.source, started], loaded, failed)
        if failed:
            text = f"Load into table '{table}' failed.  Check 'sys_load_error_detail' system table"
            raise SqlError(f"{text} for details.")
        text = f"Load into table '{table}' completed, {len(loaded.lines)} record(s) loaded"
        self.out += error_message({"S": "INFO", "C": "00000", "M": f"{text} successfully."}, b"N")
        return "COPY"

    def store(self, options: dict[str, str]) -> copy.Store:
        """Return S3 as the role of a COPY sees it."""
        redshift, region = self.redshift, options.get("region", self.redshift.region)
        client = redshift.s3() if redshift.s3 else copy.MotoS3()
        return copy.Store(client, options["iam_role"], redshift.readable, region)

    def target(self, statement: copy.Copy) -> tuple[tuple, list[copy.Column]]:
        """Return who loads what (as TARGET has it), the table's name last, and the columns."""
        try:
            found = self.backend.query(TARGET.format(table=statement.table.replace("'", "''")))
        except SqlError as error:
            if error.code != "42P01":
                raise
            name = statement.table.replace('"', "")
            raise SqlError(f"Cannot COPY into nonexistent table {name}", "42P01") from None
        columns = {row[6]: copy.Column(*row[6:]) for row in found}
        for name in statement.columns:
            if name not in columns:
                text = f'column "{name}" of relation "{found[0][5]}" does not exist'
                raise SqlError(text, "42703")
        return found[0][:6], [columns[name] for name in statement.columns or columns]

    def record(self, load: list, loaded: copy.Loaded, failed: bool) -> None:
        """Write what the system tables say of a COPY, both outside and inside the transaction."""
        query_id, count = next(self.redshift.query_ids), 0 if failed else len(loaded.lines)
        status, size = "aborted" if failed else "completed", sum(file[1] for file in loaded.files)
        load = [query_id, *load, datetime.now(UTC), status, count, size, len(loaded.rejects)]
        tables = {
            "loads": [load],
            "files": [[query_id, *file] for file in loaded.files],
            "rejects": [[query_id, at, *bad.row()] for at, bad in enumerate(loaded.rejects)],
        }
        self.backend.query(f"select set_config('standin.copy_id', '{query_id}', false)")
        outside = self.redshift.server.connect(self.database)
        for connection in (outside, self.backend):
            for name, rows in tables.items():
                lines = map(copy.line, rows)
                connection.query(f"copy pg_catalog.standin_{name} from stdin", lines)
        outside.close()


def action(sql: str) -> Callable[[Session, str], str] | None:
    """Return how the facade itself runs a statement, None for one that PostgreSQL runs."""
    words = [token.word for token in significant(tokenize(sql))[:3]]
    if words[:1] in (["set"], ["reset"]):
        ignored = IGNORED_SETTINGS.intersection(words[1:])
        return (lambda session, sql: words[0].upper()) if ignored else None
    kinds = {"copy": Session.copy, "truncate": Session.truncate}
    kinds |= {"vacuum": Session.maintain, "analyze": Session.maintain}
    return kinds.get(words[0]) if words else None


def _as_redshift(fields: dict[str, str]) -> dict[str, str]:
    """Return an error of PostgreSQL as Redshift says it."""
    if fields["C"] == "40001":
        return fields | {"C": CONFLICT.code, "M": CONFLICT.message, "D": CONFLICT.detail}
    size = re.match(r"bytes_(\d+)_", fields.get("n", ""))
    if size:
        text = f"value too long for type character varying({size[1]})"
        return {"S": fields["S"], "C": "22001", "M": text}
    return fields
