"""COPY as Redshift runs it: what it reads of S3, and how JSON becomes rows.

`parse` reads the statement, in the one form that lib/sql/copy/copy.sql has; `load` the objects: it
gives lines for PostgreSQL's own COPY and the records that Redshift would reject, each with the code
and the reason of its error.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from .dialect import SqlError

TEXT = r"'((?:''|[^'])*)'"
STATEMENT = re.compile(
    rf"""copy\s+(?P<table>[\w.]+)\s*\((?P<columns>[\w,\s]+)\)
    \s+from\s+(?P<manifest>{TEXT})\s+iam_role\s+(?P<role>{TEXT})\s+region\s+(?P<region>{TEXT})
    \s+manifest\s+format\s+as\s+json\s+(?P<json>{TEXT})(?P<gzip>\s+gzip)?
    \s+timeformat\s+'(?P<timeformat>auto|epochmillisecs)'\s+maxerror\s+(?P<maxerror>\d{{1,6}})
    \s+compupdate\s+off\s+statupdate\s+off\s*""",
    re.VERBOSE | re.IGNORECASE,
)
WHOLE = {"int4": ("Integer", 32), "int8": ("Long", 64)}
NAMES = {"int4": "integer", "int8": "bigint", "float8": "double precision"}
EPOCH = datetime(1970, 1, 1)
REFUSED = "Rid 0123456789ABCDEF,ExtRid c3RhbmQtaW4=,CanRetry 1"


class BadRecord(Exception):
    """A record that COPY rejects: the code and the reason."""

    def __init__(self, number: int, reason: str):
        super().__init__(reason)
        self.number = number


_SPECIAL = re.compile(r"[\\\t\n\r]")
_ESCAPES = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escape(text: str) -> str:
    """Return text as PostgreSQL's COPY takes it."""
    return _SPECIAL.sub(lambda found: _ESCAPES[found[0]], text)


def line(values: list) -> str:
    """Return a row as PostgreSQL's COPY takes it."""
    return "\t".join(r"\N" if value is None else escape(str(value)) for value in values) + "\n"


class Number(str):
    """A number of JSON, as it was written."""


@dataclass
class Copy:
    """A COPY statement."""

    table: str
    columns: list[str]
    manifest: str
    role: str
    region: str
    json: str
    gzip: bool
    timeformat: str
    maxerror: int


def parse(sql: str) -> Copy:
    """Return what a COPY statement says; else raise a syntax error."""
    if not (found := STATEMENT.fullmatch(re.sub(r"(?m)^--.*\n", "", sql))):
        raise SqlError('syntax error at or near "copy"', "42601")
    said = {
        name: found[name][1:-1].replace("''", "'")
        for name in ("manifest", "role", "region", "json")
    }
    return Copy(
        table=found["table"],
        columns=[name.strip() for name in found["columns"].split(",")],
        gzip=bool(found["gzip"]),
        timeformat=found["timeformat"],
        maxerror=int(found["maxerror"]),
        **said,
    )


# --- S3 ------------------------------------------------------------------------------------------


def _refuse(said: str, url: str) -> SqlError:
    return SqlError(f"S3ServiceException:{said},{REFUSED}", detail=url)


def fetch(copy: Copy, url: str, readable: Callable[[str, str, str, str], str]) -> bytes:
    """Return an object's content, read from moto in this process as the role of a COPY may.

    `readable(role, bucket, key, action)`: why the role may not read it, '' when it may.
    """
    name, _, key = url.removeprefix("s3://").partition("/")
    bucket = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.get(name)
    if bucket is None:
        raise _refuse("The specified bucket does not exist,Status 404,Error NoSuchBucket", url)
    if bucket.region_name != copy.region:
        text = "The S3 bucket addressed by the query is in a different region from this cluster."
        raise _refuse(f"{text},Status 301,Error PermanentRedirect", url)
    if reason := readable(copy.role, name, key, "s3:GetObject"):
        raise _refuse("Access Denied,Status 403,Error AccessDenied", f"{url}: {reason}")
    if key not in bucket.keys:
        raise _refuse("The specified key does not exist.,Status 404,Error NoSuchKey", url)
    return bucket.keys[key].value


# --- the records ---------------------------------------------------------------------------------


@dataclass
class Column:
    """A column of the target table, as PostgreSQL describes it."""

    name: str
    type: str  # the name in pg_type
    modifier: int
    not_null: bool


@dataclass
class Loaded:
    """What a COPY has read: lines for PostgreSQL, and rows of the system tables: of its bad
    records (file, line, column, type, code, reason) and of its files (URL, lines)."""

    lines: list[str] = field(default_factory=list)
    rejects: list[tuple] = field(default_factory=list)
    files: list[tuple[str, int]] = field(default_factory=list)


def load(copy: Copy, columns: list[Column], readable: Callable) -> Loaded:
    """Read all objects of a COPY, until more records are bad than may be."""
    pick = _picker(copy, columns, readable)
    loaded = Loaded()
    for entry in json.loads(fetch(copy, copy.manifest, readable))["entries"]:
        url = entry["url"]
        try:
            text = _read_text(copy, fetch(copy, url, readable))
        except SqlError as error:
            if "Error NoSuchKey" in error.message and not entry.get("mandatory"):
                continue
            raise
        loaded.files.append((url, text.count("\n") + (text[-1:] not in ("", "\n"))))
        for number, record in _records(text):
            column = None
            try:
                if isinstance(record, BadRecord):
                    raise record
                fields = []
                for column, value in zip(columns, pick(record), strict=True):
                    fields.append(_convert(copy, column, value))
                loaded.lines.append("\t".join(fields) + "\n")
            except BadRecord as error:
                about = (column.name, NAMES.get(column.type, column.type)) if column else ("", "")
                reason = str(error).encode("ascii", "replace").decode()
                loaded.rejects.append((url, number, *about, error.number, reason))
        if len(loaded.rejects) > copy.maxerror:
            break
    return loaded


def _read_text(copy: Copy, content: bytes) -> str:
    try:
        content = gzip.decompress(content) if copy.gzip else content
    except (OSError, EOFError, ValueError) as error:
        raise SqlError(f"The file is not in gzip format: {error}") from None
    return content.decode(errors="surrogateescape")


def _constant(name: str):
    raise ValueError(name)  # NaN is no JSON, though Python would take it


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_constant)
_BLANK = re.compile(r"[ \t\r\n]*")


def _records(text: str) -> Iterator[tuple[int, dict | BadRecord]]:
    """Yield the records of a file: the line each ends on, and the object or the error.

    They may share lines, or stretch over several. After what is no JSON comes the next line.
    """
    at, number, counted = _BLANK.match(text).end(), 1, 0
    while at < len(text):
        try:
            record, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            record, end = None, text.find("\n", at)
            end = len(text) if end < 0 else end
        if not isinstance(record, dict):
            record = BadRecord(1224, "Invalid value.")
        number, counted = number + text.count("\n", counted, end), end
        yield number, record
        at = _BLANK.match(text, end).end()


def _picker(copy: Copy, columns: list[Column], readable: Callable) -> Callable[[dict], list]:
    """Return the function that takes a record's values, in the order of the columns."""
    if copy.json == "auto":
        return lambda record: [record.get(column.name) for column in columns]
    try:
        paths = json.loads(fetch(copy, copy.json, readable))["jsonpaths"]
        names = [re.fullmatch(r"\$\['(.+)'\]", path)[1] for path in paths]
    except (ValueError, KeyError, TypeError):
        raise SqlError(f"Invalid JSONPath format: {copy.json} is not a JSONPaths file") from None
    if len(names) != len(columns):
        raise SqlError(
            "Number of jsonpaths and the number of columns should match. JSONPath size: "
            f"{len(names)}, Number of columns in table or column list: {len(columns)}"
        )
    return lambda record: [record.get(name) for name in names]


# --- the values ----------------------------------------------------------------------------------

_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _json(value: object) -> str:
    """Return a value as JSON, its numbers as they were written."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return value if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


def _convert(copy: Copy, column: Column, value: object) -> str:
    """Make of a value of JSON a field for PostgreSQL's COPY; raise BadRecord if COPY can't."""
    if value is None:
        if column.not_null:
            raise BadRecord(1213, "Missing data for not-null field")
        return r"\N"
    text = str(value) if isinstance(value, str) else _json(value)
    if column.type in WHOLE:
        return _whole(column, text)
    if column.type == "float8":
        return _real(text)
    if column.type == "timestamp":
        return _timestamp(copy, text)
    return _characters(column, text)


def _characters(column: Column, text: str) -> str:
    """Return text that fits its column, counted in bytes."""
    if re.search("[\0\ud800-\udfff]", text):
        raise BadRecord(1220, "String contains invalid or unsupported UTF8 codepoints.")
    if column.modifier > 4 and len(text.encode()) > column.modifier - 4:
        raise BadRecord(1204, "String length exceeds DDL length")
    return escape(text)


def _whole(column: Column, text: str) -> str:
    """Return a whole number in the range of its type."""
    name, bits = WHOLE[column.type]
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        at = re.match(r"[+-]?[0-9]*", text).end()
        shown = f"Value '{text[at : at + 1]}', Pos {at}, Type: {name}"
        raise BadRecord(1207, f"Invalid digit, {shown}")
    if len(text) > bits or not -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1):
        raise BadRecord(1222, f"Overflow, Value '{text}', Type: {name}")
    return text


def _real(text: str) -> str:
    """Return a finite floating-point number."""
    if not _FLOAT.fullmatch(text):
        raise BadRecord(1208, f"Invalid digit, Value '{text[:1]}', Pos 0, Type: Double")
    if abs(float(text)) == float("inf"):
        raise BadRecord(1222, f"Overflow, Value '{text}', Type: Double")
    return text


def _timestamp(copy: Copy, text: str) -> str:
    """Return a timestamp, as TIMEFORMAT reads it."""
    try:
        if copy.timeformat == "auto":
            found = datetime.fromisoformat(text)
            found = found.astimezone(UTC) if found.tzinfo else found
            return found.replace(tzinfo=None).isoformat()
        if not re.fullmatch(r"-?[0-9]+", text):
            raise ValueError
        return (EPOCH + timedelta(milliseconds=int(text))).isoformat()
    except (ValueError, OverflowError):
        reason = f"Invalid timestamp format or value [{copy.timeformat}]"
        raise BadRecord(1206, reason) from None
