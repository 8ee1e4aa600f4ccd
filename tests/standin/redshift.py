"""A double of Amazon Redshift: PostgreSQL behind a facade that redshift_connector takes for one.

What it proves: the driver, TLS with verify-full, log-in, the protocol; that our SQL is written in
the subset that PostgreSQL and Redshift share, Redshift's own words aside; COPY from S3 in the one
form that we use: manifests, JSONPaths, values, rejects and errors, inside of the transaction; what
a load does when the connection or the transaction breaks; that `varchar(n)` counts bytes (also in
INSERT, not in CREATE TABLE AS).

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
from itertools import count
from pathlib import Path

import trustme

from . import copy
from .dialect import SqlError, is_copy, rewrite
from .postgres import Backend, Server, error_fields, error_message, message, read_message

SSL_REQUEST = 80877103
ABORTED = "current transaction is aborted, commands ignored until end of transaction block"
CONFLICT = SqlError(
    "1023",
    detail="Serializable isolation violation on table - 100123, transactions forming the cycle are:"
    " 5001, 5002 (pid:4711)",
)
TARGET = """
    select a.attname, t.typname, a.atttypmod, a.attnotnull
    from pg_attribute as a
    inner join pg_type as t on t.oid = a.atttypid
    where a.attrelid = '{table}'::regclass and a.attnum > 0 and not a.attisdropped
"""


class Faults:
    """What is to go wrong, once each, at the statements that match a pattern."""

    def __init__(self):
        self._planned: list[tuple[re.Pattern, str | Callable]] = []

    def before(self, pattern: str, action: str | Callable[[], None]) -> None:
        """Plan a fault for the next statement that `pattern` is found in.

        `action`: "drop before" cuts the connection and the statement never runs; "drop after" runs
        it and cuts the connection instead of answering; "serializable" answers with Redshift's
        error 1023; anything callable is called first.
        """
        self._planned.append((re.compile(pattern, re.IGNORECASE), action))

    def due(self, sql: str) -> str | Callable | None:
        """Return what is planned for a statement, and forget it."""
        for planned in self._planned:
            if planned[0].search(sql.strip()):
                self._planned.remove(planned)
                return planned[1]
        return None


class Redshift:
    """A running double; close it, or use it as a context manager.

    `folder`: where the certificate authority's file is put.
    `authorise(user, database, password)`: whether this log-in is right.
    `readable(role, bucket, key, action)`: why a role may not read, '' when it may.
    """

    host = "localhost"

    def __init__(
        self,
        folder: Path,
        authorise: Callable[[str, str, str], bool],
        readable: Callable[[str, str, str, str], str],
    ):
        self.authorise, self.readable = authorise, readable
        self.faults = Faults()
        self.statements: list[str] = []
        self.round_trips = 0
        self.query_ids = count(1001)
        self._lock = threading.Lock()
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
        self.out = bytearray()

    def run(self) -> None:
        """Serve the client until either side ends."""
        try:
            with suppress(Cut, EOFError, OSError, struct.error):
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
            role = re.sub("^IAMA?:", "", user).lower()
            self.backend = self.redshift.server.connect(database, role)
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
        request, _ = read_startup(self.client)
        if request != SSL_REQUEST:
            self.refuse("28000", "no pg_hba.conf entry: SSL off")
        self.client.sendall(b"S")
        self.client = self.redshift.tls.wrap_socket(self.client, server_side=True)
        _, body = read_startup(self.client)
        self.stream = self.client.makefile("rb")
        words = body.decode().split("\0")
        return dict(zip(words[0::2], words[1::2], strict=False))

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
        elif not self.failed and kind in b"PBDEC":
            try:
                getattr(self, {b"P": "parse", b"B": "bind"}.get(kind, "other"))(kind, body)
            except SqlError as error:
                self.fail(error)

    def sync(self) -> None:
        """End a round: answer with all that it gave, errors in Redshift's words."""
        self.redshift.round_trips += 1
        self.backend.send(b"S")
        for kind, body in self.backend.messages():
            if kind == b"E":
                self.out += error_message(_as_redshift(error_fields(body)))
            else:
                self.send(kind, body)
        self.failed = False
        self.flush()

    def parse(self, kind: bytes, body: bytes) -> None:
        """Prepare a statement: PostgreSQL does, rewritten, unless it is one of ours."""
        name, sql, rest = body.split(b"\0", 2)
        self.statements[name] = sql = sql.decode()
        self.redshift.statements.append(sql)
        if is_copy(sql):
            if self.backend.status == "E":
                raise SqlError(ABORTED, "25P02")
            self.send(b"1")
        else:
            self.backend.send(kind, b"\0".join([name, rewrite(sql).encode(), rest]))

    def bind(self, kind: bytes, body: bytes) -> None:
        """Make a portal of a prepared statement."""
        portal, name, _ = body.split(b"\0", 2)
        self.portals[portal] = self.statements.get(name, "")
        if is_copy(self.portals[portal]):
            self.send(b"2")
        else:
            self.backend.send(kind, body)

    def other(self, kind: bytes, body: bytes) -> None:
        """Describe, close or execute a statement or portal."""
        known = self.portals if kind == b"E" or body[:1] == b"P" else self.statements
        sql = known.get(body.split(b"\0")[0] if kind == b"E" else body[1:-1], "")
        if kind == b"E":
            self.fail_as_planned(sql)
        if not is_copy(sql):
            self.backend.send(kind, body)
        elif kind == b"E":
            self.copy(sql)
            self.send(b"C", b"COPY\0")
        elif kind == b"C":
            self.send(b"3")
        else:
            if body[:1] == b"S":
                self.send(b"t", b"\0\0")
            self.send(b"n")

    # --- statements ---

    def fail_as_planned(self, sql: str) -> None:
        """Let the fault happen that is planned for a statement, if there is one."""
        fault = self.redshift.faults.due(sql)
        if fault == "drop before":
            raise Cut
        if fault == "drop after":
            self.cut_after = True
        elif fault == "serializable":
            raise CONFLICT
        elif fault:
            fault()

    def fail(self, error: SqlError) -> None:
        """Answer with an error of our own, and leave the transaction as one leaves it."""
        self.failed = True
        if self.backend.status == "T":
            with suppress(SqlError):
                self.backend.query("do $$ begin raise 'aborted'; end $$")
        fields = {"S": "ERROR", "C": error.code, "M": error.message, "D": error.detail}
        self.out += error_message(_as_redshift({k: v for k, v in fields.items() if v}))

    def copy(self, sql: str) -> None:
        """Run a COPY inside of the client's transaction."""
        statement = copy.parse(sql)
        found = self.backend.query(TARGET.format(table=statement.table))
        types = {row[0]: copy.Column(*row) for row in found}
        columns = [types[name] for name in statement.columns]
        loaded = copy.load(statement, columns, self.redshift.readable)
        failed = len(loaded.rejects) > statement.maxerror
        if not failed:
            names = ", ".join(statement.columns)
            self.backend.query(f"copy {statement.table} ({names}) from stdin", loaded.lines)
        self.record(loaded, failed)
        if failed:
            said = "failed.  Check 'sys_load_error_detail' system table for details."
            raise SqlError(f"Load into table '{statement.table}' {said}")

    def record(self, loaded: copy.Loaded, failed: bool) -> None:
        """Write what the system tables say of a COPY, both outside and inside the transaction."""
        query_id = next(self.redshift.query_ids)
        ((session_id,),) = self.backend.query("select pg_backend_pid()")
        rejects = enumerate(loaded.rejects)
        tables = {
            "files": [] if failed else [[query_id, *file] for file in loaded.files],
            "rejects": [[query_id, session_id, at, *bad] for at, bad in rejects],
        }
        self.backend.query(f"select set_config('standin.copy_id', '{query_id}', false)")
        outside = self.redshift.server.connect(self.database)
        for connection in (outside, self.backend):
            for name, rows in tables.items():
                lines = map(copy.line, rows)
                connection.query(f"copy pg_catalog.standin_{name} from stdin", lines)
        outside.close()


def read_startup(client: socket.socket) -> tuple[int, bytes]:
    """Return the code and the body of a packet that comes before all messages."""
    length, code = struct.unpack("!ii", client.recv(8))
    return code, client.recv(length - 8)


def _as_redshift(fields: dict[str, str]) -> dict[str, str]:
    """Return an error of PostgreSQL as Redshift says it."""
    if fields["C"] == "40001":
        return fields | {"C": CONFLICT.code, "M": CONFLICT.message, "D": CONFLICT.detail}
    size = re.match(r"bytes_(\d+)_", fields.get("n", ""))
    if size:
        text = f"value too long for type character varying({size[1]})"
        return {"S": fields["S"], "C": "22001", "M": text}
    return fields
