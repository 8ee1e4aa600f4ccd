"""Where the JSON lies: list the files of a folder or in S3, gather the new ones for a fast parse.

A warehouse parses newline-delimited JSON fastest, in few files. So large files that have that form
are parsed where they lie, and all others (thousands of one-object files, gzip, pretty-printed,
with a byte order mark) are rewritten into bundles, one record a line.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import os
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from lib import SourceError, s3
from lib.config import Settings
from lib.s3 import ENDINGS

GZIP = b"\x1f\x8b"
SEVERAL = re.compile(rb"\}[ \t]*\{")  # two objects on one line
SPACE = re.compile(r"[ \t\r\n]*")
LARGE = 1 << 20  # bytes from which a file is parsed where it lies
CHUNK = 1 << 20
LONGEST = 64 << 20  # characters of one record; more is taken for a broken file


class BadRecord(SourceError):
    """A record that can't be loaded."""

    def __init__(self, path: str, line: int, reason: str):
        super().__init__(
            f"{path}, line {line}: {reason}. Nothing was loaded; mend or take out that record, "
            "then load again."
        )


@dataclass(frozen=True, eq=False)
class Kind:
    """What one kind of file holds: `fields` maps a JSON key to the sort of value it has."""

    name: str
    fields: Mapping[str, str]
    required: tuple[str, ...]


TEXT, NUMBER = "text", "number"
# The sorts of whole numbers, and from where to where they go.
WHOLE, SMALL, MOMENT = "whole", "small", "moment"
RANGES = {
    WHOLE: (-(2**53), 2**53),  # beyond it JSON readers disagree (RFC 8259, section 6)
    SMALL: (-(2**31), 2**31 - 1),
    MOMENT: (0, 5_585_587_199_999),  # the end of 2146, the last year of an integer hour key
}
NUMERAL = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
EVENTS = Kind(
    "events",
    {
        **dict.fromkeys(("artist", "auth", "firstName", "gender"), TEXT),
        **{"itemInSession": SMALL, "lastName": TEXT, "length": NUMBER},
        **dict.fromkeys(("level", "location", "method", "page"), TEXT),
        **{"registration": NUMBER, "sessionId": WHOLE, "song": TEXT, "status": SMALL},
        **{"ts": MOMENT, "userAgent": TEXT, "userId": TEXT},
    },
    required=("ts", "page", "level", "sessionId", "itemInSession"),
)
SONGS = Kind(
    "songs",
    {
        **{"artist_id": TEXT, "artist_latitude": NUMBER, "artist_location": TEXT},
        **{"artist_longitude": NUMBER, "artist_name": TEXT, "duration": NUMBER},
        **{"num_songs": SMALL, "song_id": TEXT, "title": TEXT, "year": SMALL},
    },
    required=("song_id", "title", "artist_id", "artist_name"),
)
KINDS = (SONGS, EVENTS)


@dataclass(frozen=True)
class SourceFile:
    """One file that a load brings in.

    `key`: its absolute path or S3 URI. `content_hash`: SHA-256, or the etag that S3 gives it.
    """

    key: str
    size: int
    content_hash: str
    records: int


@dataclass
class Batch:
    """What is new in a place: its files, and the newline-delimited `parts` to parse for them.

    `remote`: the parts are the files themselves, in S3 and not read, so their records are unknown.
    `stamps`: size and time of the large files, which are read more than once.
    """

    kind: Kind
    files: list[SourceFile] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    known: int = 0
    remote: bool = False
    stamps: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """The number of records in the new files."""
        return sum(file.records for file in self.files)

    def count(self, records: Mapping[str, int]) -> None:
        """Enter the number of records of those files (by key) of which an engine tells it."""
        if records:
            self.files = [replace(f, records=records.get(f.key, f.records)) for f in self.files]

    def require_unchanged(self) -> None:
        """Raise SourceError when a large file was written to while it was read."""
        for path, stamp in self.stamps.items():
            if _stamp(path) != stamp:
                raise _changed(path)


def listing(place: str, settings: Settings | None = None) -> list[tuple[str, int]]:
    """Return path and size in bytes of each JSON file below a folder or s3://…, sorted by path.

    Names that start with a dot are passed over. Raises SourceError when there is no such place,
    it can't be read, or no JSON file lies in it.
    """
    if "://" in place:
        client = s3.reader(settings or Settings())
        return [(item.uri, item.size) for item in s3.listing(client, place)]
    if not os.path.exists(place):
        raise SourceError(f"There is no folder {place}; name the folder that holds the JSON files.")
    if os.path.isfile(place):
        return [(place, os.path.getsize(place))]
    try:
        found = sorted(_walk(place))
    except OSError as error:
        raise SourceError(f"{error.filename} can't be read: {error.strerror}.") from None
    if not found:
        raise SourceError(f"The folder {place} holds no JSON file ({', '.join(ENDINGS[:3])} …).")
    return found


def _walk(folder: str) -> Iterator[tuple[str, int]]:
    waiting, links, visited = [folder], [], set()
    while waiting or links:  # links last, so that a file has its own path wherever it has one
        folder = (waiting or links).pop()
        about = os.stat(folder)
        if (about.st_dev, about.st_ino) in visited:  # a link that leads back
            continue
        visited.add((about.st_dev, about.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(ENDINGS) and entry.is_file():
                    yield entry.path, entry.stat().st_size
                elif entry.is_dir():
                    (links if entry.is_symlink() else waiting).append(entry.path)


def remote(kind: Kind, place: str, known: Mapping[str, str], settings: Settings) -> Batch:
    """Return the batch of what is new below s3://…, for an engine that reads it from there.

    `known`: URI to etag. Raises SourceError when an object has changed; none is fetched.
    """
    objects, old = _new(s3.reader(settings), place, known)
    files = [SourceFile(item.uri, item.size, item.etag, 0) for item in objects]
    return Batch(kind, files, [file.key for file in files], old, remote=True)


def _new(client, place: str, known: Mapping[str, str]) -> tuple[list, int]:
    """Return the objects below a place in S3 that are not in `known`, and how many are."""
    found = s3.listing(client, place)
    objects = [item for item in found if not _is_known(item.uri, item.etag, known)]
    return objects, len(found) - len(objects)


def gather(
    kind: Kind,
    place: str,
    known: Mapping[str, str],
    scratch: Path,
    strict: bool = False,
    settings: Settings | None = None,
) -> Batch:
    """Gather the files below `place` that are not in `known` (path to content hash, URI to etag).

    `scratch`: an empty folder for the bundles.
    `strict`: read record by record, so that the first bad one is named.
    `settings`: say how to read from S3.
    Raises SourceError for what can't be read or has changed, BadRecord for a bad record.
    """
    batch = Batch(kind)
    if "://" in place:
        found = _fetched(batch, place, known, settings or Settings())
    else:
        found = ((path, path, size, "") for path, size in listing(place))
    large = []
    with _Bundle(scratch / f"{kind.name}.json") as bundle:
        for key, path, size, etag in found:
            if size >= LARGE:
                batch.stamps[path] = size, _stamp(path)[1]
            if size >= LARGE and not strict and _can_stay(path):
                large.append((key, path, size, etag))
                continue
            body = _read(key, path, size) if size < LARGE else None
            digest = etag or (_digest(key, path)[0] if body is None else _hash(body))
            if _is_known(key, digest, known):
                batch.known += 1
                continue
            lines = _lines(body) if body is not None and not strict else None
            if lines is None:
                lines = _records(key, path if body is None else body, kind if strict else None)
            batch.files.append(SourceFile(key, size, digest, bundle.add(lines)))
    if bundle.count:
        batch.parts.append(str(bundle.path))
    _add_large(batch, large, known)
    return batch


def _fetched(batch: Batch, place: str, known: Mapping[str, str], settings: Settings) -> list[tuple]:
    """Return URI, path in the cache, size and etag of each object that is new."""
    client = s3.reader(settings)
    objects, batch.known = _new(client, place, known)
    paths = s3.fetch(client, objects, s3.CACHE, f"fetching {batch.kind.name}")
    return [(item.uri, str(paths[item.uri]), item.size, item.etag) for item in objects]


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _add_large(batch: Batch, large: list[tuple], known: Mapping[str, str]) -> None:
    with ThreadPoolExecutor() as pool:  # hashing leaves the interpreter free
        digests = pool.map(lambda item: _digest(*item[:2]), large)
        for (key, path, size, etag), (digest, records) in zip(large, digests, strict=True):
            if _is_known(key, etag or digest, known):
                batch.known += 1
            else:
                batch.files.append(SourceFile(key, size, etag or digest, records))
                batch.parts.append(path)


def _is_known(path: str, digest: str, known: Mapping[str, str]) -> bool:
    if known.get(path, digest) != digest:
        raise SourceError(
            f"{path} has changed since it was loaded; give the new content a new name, or start a "
            "new warehouse (05_teardown, then 01_provision). Nothing was loaded."
        )
    return path in known


class _Bundle:
    """A file of records, one a line."""

    def __init__(self, path: Path):
        self.path, self.count = path, 0

    def __enter__(self) -> _Bundle:
        self._file = open(self.path, "wb", buffering=CHUNK)
        return self

    def __exit__(self, *error) -> None:
        self._file.close()

    def add(self, lines) -> int:
        before = self.count
        for line in lines:
            self._file.write(line)
            self._file.write(b"\n")
            self.count += 1
        return self.count - before


def _read(key: str, path: str, size: int) -> bytes:
    """Return the bytes of a small file; pathlib's own way takes five times as long."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            body = os.read(handle, size + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise _unreadable(key, error) from None
    if len(body) != size:
        raise _changed(key)
    return body


def opened(key: str, path: str) -> io.BufferedReader:
    """Open a file to read its bytes; raise SourceError when that can't be done."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise _unreadable(key, error) from None


def _stamp(path: str) -> tuple[int, int]:
    """Return a file's size and when it was last written to."""
    try:
        about = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    return about.st_size, about.st_mtime_ns


def _changed(key: str) -> SourceError:
    return SourceError(f"{key} changed while it was read; load again. Nothing was loaded.")


def _unreadable(key: str, error: OSError) -> SourceError:
    return SourceError(f"{key} can't be read: {error.strerror}. Nothing was loaded.")


def _digest(key: str, path: str) -> tuple[str, int]:
    """Return the SHA-256 of a file's bytes and the number of its lines."""
    digest, lines, last = hashlib.sha256(), 0, b""
    try:
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                lines += chunk.count(b"\n")
                last = chunk
    except OSError as error:
        raise _unreadable(key, error) from None
    return digest.hexdigest(), lines + (not last.endswith(b"\n"))


def _can_stay(path: str) -> bool:
    """Tell whether a large file can be parsed where it lies: plain text, a record a line."""
    if set(path) & set("*?[") or path.lower().endswith(".gz"):
        return False  # the parser would take the name for a pattern, or for its word
    try:
        with open(path, "rb") as file:
            return isinstance(json.loads(file.readline(LARGE).decode()), dict)
    except (OSError, ValueError):
        return False


def _lines(body: bytes) -> list[bytes] | None:
    """Return a small file's records when each has a line of its own at a glance, else None.

    A glance is enough: the parse that follows takes exactly one object from each line, or fails.
    """
    if body.startswith(GZIP):
        return None
    body = body.removeprefix(BOM_UTF8).strip()
    if SEVERAL.search(body):
        return None
    if b"\n" not in body:
        return [body] if body.startswith(b"{") else None
    lines = [line for line in map(bytes.strip, body.split(b"\n")) if line]
    return lines if all(line[:1] == b"{" and line[-1:] == b"}" for line in lines) else None


def _records(key: str, place: str | bytes, check: Kind | None = None) -> Iterator[bytes]:
    """Yield each object of a file on one line, however the file is laid out.

    `place`: its path, or all its bytes.
    `check`: also compare each record's values with this kind's types.
    Raises BadRecord with the line at which the first bad record starts.
    """
    for line, text in _objects(key, place):
        if check:
            _check(key, line, text, check)
        # Strings hold no raw line break, so those left are layout.
        yield text.replace("\n", " ").replace("\r", " ").encode()


def _objects(key: str, place: str | bytes) -> Iterator[tuple[int, str]]:
    """Yield the first line's number and the text of each JSON object of a file."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    text, at, line, ended = "", 0, 1, False
    with _stream(key, place) as stream:
        while True:
            start = SPACE.match(text, at).end()
            line, at = line + text.count("\n", at, start), start
            try:
                if at < len(text):
                    value, end = decoder.raw_decode(text, at)
                    if not isinstance(value, dict):
                        found = text[at : at + 40]
                        raise BadRecord(key, line, f"expected an object, found {found!r}")
                    if ended or end < len(text):
                        yield line, text[at:end]
                        line, at = line + text.count("\n", at, end), end
                        continue
            except RecursionError:
                raise BadRecord(key, line, "nested too deeply") from None
            except ValueError as error:
                if ended or not _may_go_on(error, len(text) - at, len(text)):
                    raise BadRecord(key, line, f"not valid JSON ({_reason(error)})") from None
            if ended and at == len(text):
                return
            chunk = _next(stream, key, line)
            text, at, ended = text[at:] + chunk, 0, not chunk


def _refuse(constant: str):
    raise ValueError(f"{constant} is no JSON value")


def _may_go_on(error: ValueError, length: int, end: int) -> bool:
    """Tell whether the error is only that the text ends before the record does."""
    open_string = str(error).startswith("Unterminated string")
    return length < LONGEST and (open_string or getattr(error, "pos", 0) >= end - 16)


def _reason(error: ValueError) -> str:
    return getattr(error, "msg", str(error))


def _stream(key: str, place: str | bytes) -> io.TextIOBase:
    file = io.BytesIO(place) if isinstance(place, bytes) else opened(key, place)
    packed = file.read(2) == GZIP
    file.seek(0)
    return io.TextIOWrapper(gzip.open(file) if packed else file, encoding="utf-8-sig", newline="")


def _next(stream: io.TextIOBase, key: str, line: int) -> str:
    try:
        return stream.read(CHUNK)
    except UnicodeDecodeError:
        raise BadRecord(key, line, "not UTF-8 text, here or in the records after it") from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{key} can't be unpacked: {error}. Nothing was loaded.") from None


def _check(key: str, line: int, text: str, kind: Kind) -> None:
    """Raise BadRecord when a value can't be read as what its field holds."""
    record = json.loads(text, object_pairs_hook=lambda pairs: _unique(key, line, pairs))
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadRecord(key, line, "half of a surrogate pair, which is no character") from None
    for name in kind.required:
        if record.get(name) is None:
            raise BadRecord(key, line, f"the record has no {name}, as all {kind.name} have")
    for name, sort in kind.fields.items():
        value = record.get(name)
        if value is not None and (expected := _expected(value, sort)):
            raise BadRecord(key, line, f"{name} must be {expected}, not {str(value)[:60]!r}")


def _unique(key: str, line: int, pairs: list) -> dict:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise BadRecord(key, line, "a key stands twice in one object")
    return record


def _expected(value, sort: str) -> str:
    """Return what a value should have been, or '' when it fits; text can be anything."""
    if sort == TEXT:
        return ""
    numeral = not isinstance(value, bool) and NUMERAL.fullmatch(str(value))
    number = float(value) if numeral else math.nan
    if sort == NUMBER:
        return "" if math.isfinite(number) else "a number"
    if not number.is_integer():
        return "a whole number"
    low, high = RANGES[sort]
    return "" if low <= number <= high else f"a whole number from {low} to {high}"
