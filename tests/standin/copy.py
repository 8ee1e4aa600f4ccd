"""COPY as Redshift runs it: its grammar, what it reads of S3, and how JSON becomes rows.

`parse` reads the statement, `load` the objects: it gives lines for PostgreSQL's own COPY and the
records that Redshift would reject, each with the code and the reason of its error.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from io import BytesIO

from .dialect import SqlError, Token, significant, tokenize

THREADS = 16
FLAGS = {"gzip", "manifest"}
VALUES = {"compupdate", "iam_role", "maxerror", "region", "statupdate", "timeformat"}
WHOLE = {"int2": ("Short", 16), "int4": ("Integer", 32), "int8": ("Long", 64)}
NAMES = {"int2": "smallint", "int4": "integer", "int8": "bigint", "float8": "double precision"} | {
    "float4": "real",
    "bool": "boolean",
    "bpchar": "character",
}
TRUE, FALSE = {"1", "t", "true", "y", "yes"}, {"0", "f", "false", "n", "no"}
EPOCH = datetime(1970, 1, 1)
REFUSED = "Rid 0123456789ABCDEF,ExtRid c3RhbmQtaW4=,CanRetry 1"


def copy_error(message: str, context: str = "", number: int = 8001) -> SqlError:
    """Return an error of COPY with the block of detail that Redshift gives."""
    rule = "-" * 47
    lines = [rule, f"error:  {message}", f"code:      {number}", f"context:   {context}", rule]
    return SqlError(message, detail="\n  ".join(["", *lines]) + "\n")


class BadRecord(Exception):
    """A record that COPY rejects: the code and the reason, where in it, and the raw value."""

    def __init__(self, number: int, reason: str, value: object = "", position: int = 0):
        super().__init__(reason)
        self.number, self.reason, self.value, self.position = number, reason, value, position


_ODD = re.compile("[^\t\n\r -~]")  # shown as a period, as Redshift does
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


class InvalidJson(ValueError):
    """What is no JSON, though Python would take it."""


# --- the statement -------------------------------------------------------------------------------


@dataclass
class Copy:
    """A COPY statement."""

    table: str  # as PostgreSQL takes it
    columns: list[str]  # none: all of the table
    source: str
    json: str = "auto"
    options: dict[str, str] = field(default_factory=dict)

    @property
    def maxerror(self) -> int:
        """How many records may be bad."""
        return int(self.options.get("maxerror", "0"))


class _Reader:
    """The tokens of a statement, read from left to right."""

    def __init__(self, sql: str):
        self.tokens, self.at = significant(tokenize(sql)), 0

    def peek(self) -> str:
        """Return the next word or mark; '' at the end, or for a string."""
        return self.tokens[self.at].word if self.at < len(self.tokens) else ""

    def take(self, *words: str) -> bool:
        """Go over the next words if they are these."""
        found = [token.word for token in self.tokens[self.at : self.at + len(words)]]
        self.at += len(words) if found == list(words) else 0
        return found == list(words)

    def next(self, *kinds: str) -> Token:
        """Return the next token, which must be of one of these kinds."""
        if self.at >= len(self.tokens) or self.tokens[self.at].kind not in kinds:
            raise self.error()
        self.at += 1
        return self.tokens[self.at - 1]

    def error(self) -> SqlError:
        """Return Redshift's error for what stands here."""
        if self.at >= len(self.tokens):
            return SqlError("syntax error at end of input", "42601")
        return SqlError(f'syntax error at or near "{self.tokens[self.at].text}"', "42601")


def is_copy(sql: str) -> bool:
    """Tell whether a statement is a COPY."""
    return [token.word for token in significant(tokenize(sql))[:1]] == ["copy"]


def parse(sql: str) -> Copy:
    """Return what a COPY statement says; else raise a syntax error."""
    reader = _Reader(sql)
    reader.take("copy")
    table = _identifier(reader)
    while reader.take("."):
        table += "." + _identifier(reader)
    columns = _column_list(reader)
    if not reader.take("from"):
        raise reader.error()
    copy = Copy(table, columns, reader.next("string").value)
    if not copy.source.startswith("s3://"):
        raise SqlError("COPY is only supported from S3 here", "0A000")
    seen: set[str] = set()
    while reader.at < len(reader.tokens):
        name = _option(reader, copy)
        if name in seen:
            raise SqlError("conflicting or redundant options", "42601")
        seen.add(name)
    return _complete(copy, seen)


def _identifier(reader: _Reader) -> str:
    return '"' + reader.next("word", "quoted").value.replace('"', '""') + '"'


def _column_list(reader: _Reader) -> list[str]:
    columns = []
    if reader.take("("):
        columns.append(reader.next("word", "quoted").value)
        while reader.take(","):
            columns.append(reader.next("word", "quoted").value)
        if not reader.take(")"):
            raise reader.error()
    return columns


def _option(reader: _Reader, copy: Copy) -> str:
    """Read one option into `copy` and return its name."""
    if reader.take("format"):
        reader.take("as")
        if reader.peek() != "json":
            raise reader.error()
    name = reader.peek()
    if name == "json":
        reader.at += 1
        reader.take("as")
        if reader.at < len(reader.tokens) and reader.tokens[reader.at].kind == "string":
            copy.json = reader.next("string").value
    elif name in FLAGS:
        reader.at += 1
        copy.options[name] = "on"
    elif name in VALUES:
        reader.at += 1
        reader.take("as")
        copy.options[name] = reader.next("string", "number", "word").value
    else:
        raise reader.error()
    return name


def _complete(copy: Copy, seen: set[str]) -> Copy:
    """Return the statement if it has all that is needed, in the forms that are played here."""
    if "iam_role" not in seen:
        raise SqlError("CREDENTIALS argument is required but not provided", "42601")
    if "json" not in seen:
        raise SqlError("only FORMAT JSON is played here", "0A000")
    if not re.fullmatch(r"\d{1,6}", copy.options.get("maxerror", "0")):
        raise SqlError("MAXERROR must be a number from 0 to 100000", "42601")
    for name in ("compupdate", "statupdate"):
        if copy.options.get(name, "on").lower() not in ("on", "off", "true", "false", "preset"):
            raise SqlError(f"invalid value for {name.upper()}", "42601")
    if copy.options.get("timeformat", "auto") not in ("auto", "epochsecs", "epochmillisecs"):
        raise SqlError("this TIMEFORMAT is not played here", "0A000")
    return copy


# --- S3 ------------------------------------------------------------------------------------------


@dataclass
class Store:
    """S3 as one role sees it, from a cluster in one region."""

    s3: object  # a boto3 client
    role: str
    readable: Callable[[str, str, str, str], str]
    region: str  # '' for any
    checked: set[str] = field(default_factory=set)  # buckets that lie there

    def get(self, url: str, problem: str = "") -> bytes:
        """Return an object's content; what fails is said as Redshift does, after `problem`."""
        bucket, key = _split(url)
        self._allow(bucket, key, "s3:GetObject", problem)
        try:
            return self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except Exception as error:
            raise _s3_error(error, url, problem) from error

    def list(self, url: str) -> list[str]:
        """Return the URLs of the objects whose key begins with that of `url`."""
        bucket, prefix = _split(url)
        self._allow(bucket, prefix, "s3:ListBucket", "")
        try:
            pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            found = [item["Key"] for page in pages for item in page.get("Contents", [])]
        except Exception as error:
            raise _s3_error(error, url, "") from error
        if not found:
            raise copy_error(f"The specified S3 prefix '{prefix}' does not exist", url)
        return [f"s3://{bucket}/{key}" for key in found]

    def _check_region(self, bucket: str) -> None:
        """Raise Redshift's error when the bucket lies elsewhere."""
        try:
            found = self.s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] or "us-east-1"
        except Exception as error:
            raise _s3_error(error, f"s3://{bucket}", "") from error
        if self.region and found != self.region:
            raise copy_error(
                "S3ServiceException:The S3 bucket addressed by the query is in a different region"
                f" from this cluster.,Status 301,Error PermanentRedirect,{REFUSED}",
                f"Listing bucket={bucket}",
            )
        self.checked.add(bucket)

    def _allow(self, bucket: str, key: str, action: str, problem: str) -> None:
        if bucket not in self.checked:
            self._check_region(bucket)
        reason = self.readable(self.role, bucket, key, action)
        if "assume" in reason.lower():
            raise copy_error(reason, f"IAM Role={self.role}")
        if reason:
            message = f"S3ServiceException:Access Denied,Status 403,Error AccessDenied,{REFUSED}"
            raise copy_error(problem + message, f"s3://{bucket}/{key}: {reason}", 15001)


class MotoS3:
    """What COPY needs of a boto3 client, on moto in this process: without HTTP, so far faster."""

    def _bucket(self, name: str):
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        found = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].buckets.get(name)
        return found or self._fail("NoSuchBucket", "The specified bucket does not exist")

    @staticmethod
    def _fail(code: str, text: str):
        from botocore.exceptions import ClientError

        said = {"Error": {"Code": code, "Message": text}}
        raise ClientError(said | {"ResponseMetadata": {"HTTPStatusCode": 404}}, "GetObject")

    def get_object(self, Bucket: str, Key: str) -> dict:  # noqa: N803
        """Return an object."""
        found = self._bucket(Bucket).keys.get(Key)
        if found is None:
            self._fail("NoSuchKey", "The specified key does not exist.")
        return {"Body": BytesIO(found.value)}

    def get_bucket_location(self, Bucket: str) -> dict:  # noqa: N803
        """Return where a bucket lies."""
        region = self._bucket(Bucket).region_name
        return {"LocationConstraint": None if region == "us-east-1" else region}

    def get_paginator(self, operation: str) -> MotoS3:
        """Return what lists objects."""
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict]:  # noqa: N803
        """Return the keys that begin with `Prefix`."""
        keys = sorted(key for key in self._bucket(Bucket).keys if key.startswith(Prefix))
        return [{"Contents": [{"Key": key} for key in keys]}]


def _split(url: str) -> tuple[str, str]:
    bucket, _, key = url.removeprefix("s3://").partition("/")
    return bucket, key


def _s3_error(error: Exception, url: str, problem: str) -> SqlError:
    """Return what Redshift says of a failed request to S3."""
    response = getattr(error, "response", None)
    if response is None:
        return copy_error(f"{problem}S3 can't be reached: {error}", url)
    code, status = response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
    said = response["Error"].get("Message", code)
    message = f"{problem}S3ServiceException:{said},Status {status},Error {code},{REFUSED}"
    return copy_error(message, f"S3 key being read : {url}")


def _entries(copy: Copy, store: Store) -> list[tuple[str, bool]]:
    """Return the URL of each object to load, and whether it must be there."""
    if "manifest" not in copy.options:
        return [(url, True) for url in store.list(copy.source)]
    content = store.get(copy.source, "Problem reading manifest file - ")
    try:
        entries = json.loads(content)["entries"]
        return [(entry["url"], entry.get("mandatory", False) is True) for entry in entries]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise copy_error("Manifest file is not in correct json format", copy.source) from None


def _contents(copy: Copy, store: Store) -> Iterator[tuple[str, bytes]]:
    """Yield each object's URL and content, fetched side by side, in the order of the list."""

    def fetch(entry: tuple[str, bool]) -> bytes | None:
        url, mandatory = entry
        try:
            content = store.get(url)
        except SqlError as error:
            if "Error NoSuchKey" in error.message and not mandatory:
                return None
            raise
        return _unzipped(content, url) if "gzip" in copy.options else content

    entries = _entries(copy, store)
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for (url, _), content in zip(entries, pool.map(fetch, entries), strict=True):
                if content is not None:
                    yield url, content
        finally:
            pool.shutdown(cancel_futures=True)


def _unzipped(content: bytes, url: str) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, ValueError) as error:
        raise copy_error(f"The file is not in gzip format: {error}", url) from None


# --- the records ---------------------------------------------------------------------------------


@dataclass
class Column:
    """A column of the target table, as PostgreSQL describes it."""

    name: str
    type: str  # the name in pg_type
    modifier: int
    not_null: bool

    @cached_property
    def length(self) -> int | None:
        """The length of a text column, in bytes."""
        return self.modifier - 4 if self.type == "varchar" and self.modifier > 4 else None


@dataclass
class Reject:
    """A record that was not loaded."""

    file: str
    line: int
    column: Column | None
    raw: str
    error: BadRecord

    def row(self) -> list:
        """Return what the system tables say of it, in their order."""
        column, error = self.column, self.error
        kind = NAMES.get(column.type, column.type)[:10] if column else ""
        length = str(column.length or "") if column else ""
        name = column.name if column else ""
        where = [self.file, self.line, name, kind, length, error.position]
        shown = [_ODD.sub(".", str(text))[:1024] for text in (error, self.raw, error.value)]
        return [*where, error.number, *shown]


@dataclass
class Loaded:
    """What a COPY has read: lines for PostgreSQL, bad records, and what each file held."""

    lines: list[str] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    files: list[tuple[str, int, int]] = field(default_factory=list)  # URL, bytes, lines


def load(copy: Copy, columns: list[Column], store: Store) -> Loaded:
    """Read all objects of a COPY, until more records are bad than may be."""
    pick = _picker(copy, columns, store)
    convert = _Converter(copy.options)
    loaded = Loaded()
    for url, content in _contents(copy, store):
        text = content.decode("utf-8", "surrogateescape")
        loaded.files.append((url, len(content), text.count("\n") + (text[-1:] not in ("", "\n"))))
        for line, raw, record in _records(text):
            _add(loaded, url, line, raw, record, columns, pick, convert)
        if len(loaded.rejects) > copy.maxerror:
            break
    return loaded


def _add(loaded, url, line, raw, record, columns, pick, convert) -> None:
    """Add a record to the lines, or to the rejects when a value of it can't be loaded."""
    column = None
    try:
        if isinstance(record, BadRecord):
            raise record
        fields = []
        for column, value in zip(columns, pick(record), strict=True):
            fields.append(convert(column, value))
        loaded.lines.append("\t".join(fields) + "\n")
    except BadRecord as error:
        loaded.rejects.append(Reject(url, line, column, raw, error))


def _constant(name: str):
    raise InvalidJson(name)


_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_constant)
_BLANK = re.compile(r"[ \t\r\n]*")


def _records(text: str) -> Iterator[tuple[int, str, dict | BadRecord]]:
    """Yield the records of a file: the line each ends on, its text, and the object or the error.

    They may share lines, or stretch over several. After what is no JSON comes the next line.
    """
    at, line, counted = _BLANK.match(text).end(), 1, 0
    while at < len(text):
        try:
            record, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            failed_at = getattr(error, "pos", at)
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            record = BadRecord(1224, "Invalid value.", text[at:end], max(failed_at - at, 0))
        else:
            if not isinstance(record, (dict, list)):
                record = BadRecord(1224, "Invalid value.", text[at:end])
        line, counted = line + text.count("\n", counted, end), end
        yield line, text[at:end], record
        at = _BLANK.match(text, end).end()


def _picker(copy: Copy, columns: list[Column], store: Store) -> Callable[[object], list]:
    """Return the function that takes a record's values, in the order of the columns."""
    names = [column.name for column in columns]
    if copy.json.lower() == "auto":
        return lambda record: _by_name(record, names)
    paths = _paths(store.get(copy.json), copy.json)
    if len(paths) != len(columns):
        raise copy_error(
            "Number of jsonpaths and the number of columns should match. JSONPath size: "
            f"{len(paths)}, Number of columns in table or column list: {len(columns)}"
        )
    return lambda record: [_at(record, path) for path in paths]


def _by_name(record: object, names: list[str]) -> list:
    if not isinstance(record, dict):
        raise BadRecord(1224, "Invalid JSON: an object is expected with 'auto'.")
    return [record.get(name) for name in names]


_STEP = re.compile(r"\.(?P<name>[^.\[\]'\"]+)|\[(['\"])(?P<quoted>.+?)\2\]|\[(?P<index>\d+)\]")


def _paths(content: bytes, url: str) -> list[list[str | int]]:
    """Return the steps of each expression of a JSONPaths file."""
    try:
        paths = json.loads(content)["jsonpaths"]
        return [_steps(path) for path in paths]
    except (ValueError, KeyError, TypeError):
        raise copy_error(f"Invalid JSONPath format: {url} is not a JSONPaths file", url) from None


def _steps(path: str) -> list[str | int]:
    """Return the keys and positions that a JSONPath goes through."""
    at, steps = 1, []
    while path[:1] == "$" and (found := _STEP.match(path, at)):
        steps.append(int(found["index"]) if found["index"] else found["name"] or found["quoted"])
        at = found.end()
    if not steps or at != len(path):
        raise copy_error(f"Invalid JSONPath format: {path}")
    return steps


def _at(value: object, path: list[str | int]) -> object:
    """Return what stands at a path, None when nothing does."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


# --- the values ----------------------------------------------------------------------------------

_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def _text(value: object) -> str:
    """Return a value of JSON as the text that COPY sees."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return _json(value)


def _json(value: object) -> str:
    """Return a value as JSON, its numbers as they were written."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return value if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


class _Converter:
    """Makes of a value of JSON a field for PostgreSQL's COPY, or raises BadRecord."""

    def __init__(self, options: dict[str, str]):
        self.options = options
        self.by_type = dict.fromkeys(WHOLE, self.whole) | {
            "float4": self.real,
            "float8": self.real,
            "bool": self.boolean,
            "timestamp": self.timestamp,
        }

    def __call__(self, column: Column, value: object) -> str:
        text = None if value is None else _text(value)
        if column.type in ("varchar", "text"):
            text = self.characters(column, text)
        elif text is not None:
            text = self.by_type.get(column.type, self.unknown)(column, text)
        if text is None and column.not_null:
            raise BadRecord(1213, "Missing data for not-null field")
        return r"\N" if text is None else text

    def characters(self, column: Column, text: str | None) -> str | None:
        """Return text that fits its column, counted in bytes."""
        if text is None:
            return None
        if found := re.search("[\0\ud800-\udfff]", text):
            code = ord(found[0])
            code = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code
            reason = "String contains invalid or unsupported UTF8 codepoints. Bad UTF8 hex sequence"
            shown = text.encode("ascii", "replace").decode()
            raise BadRecord(1220, f"{reason}: {code:02x} (error {4 if not code else 3})", shown)
        if column.length and len(text.encode()) > column.length:
            raise BadRecord(1204, "String length exceeds DDL length", text)
        return escape(text)

    def whole(self, column: Column, text: str) -> str:
        """Return a whole number in the range of its type."""
        name, bits = WHOLE[column.type]
        body = text[1:] if text[:1] in ("+", "-") else text
        if body.isascii() and body.isdigit() and len(body) < bits // 4:
            return text
        bad = next((i for i, char in enumerate(body) if char not in "0123456789"), None)
        if bad is not None or not body:
            at = (bad or 0) + len(text) - len(body)
            shown = f"Value '{text[at : at + 1]}', Pos {at}, Type: {name}"
            raise BadRecord(1207, f"Invalid digit, {shown}", text, at)
        if len(body) > bits or not -(2 ** (bits - 1)) <= int(text) < 2 ** (bits - 1):
            raise BadRecord(1222, f"Overflow, Value '{text}', Type: {name}", text)
        return text

    def real(self, column: Column, text: str) -> str:
        """Return a finite floating-point number."""
        if not _FLOAT.fullmatch(text):
            raise BadRecord(1208, f"Invalid digit, Value '{text[:1]}', Pos 0, Type: Double", text)
        if abs(float(text)) == float("inf"):
            raise BadRecord(1222, f"Overflow, Value '{text}', Type: Double", text)
        return text

    def boolean(self, column: Column, text: str) -> str:
        """Return t or f."""
        if text.lower() not in TRUE | FALSE:
            raise BadRecord(1210, "Unknown boolean format", text)
        return "t" if text.lower() in TRUE else "f"

    def timestamp(self, column: Column, text: str) -> str:
        """Return a timestamp, as TIMEFORMAT reads it."""
        try:
            unit = {"epochsecs": 1, "epochmillisecs": 1000}.get(self.options.get("timeformat", ""))
            if unit and not re.fullmatch(r"-?[0-9]+", text):
                raise ValueError
            if unit:
                return (EPOCH + timedelta(microseconds=int(text) * (1_000_000 // unit))).isoformat()
            found = datetime.fromisoformat(text)
            found = found.astimezone(UTC) if found.tzinfo else found
            return found.replace(tzinfo=None).isoformat()
        except (ValueError, OverflowError):
            reason = f"Invalid timestamp format or value [{self.options.get('timeformat', 'auto')}]"
            raise BadRecord(1206, reason, text) from None

    def unknown(self, column: Column, text: str) -> str:
        """Refuse a column of a type that is not played here."""
        raise SqlError(f"COPY into {column.type} is not played here", "0A000")
