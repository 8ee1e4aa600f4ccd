"""Where the JSON lies: list the files of a folder or in S3, gather the new ones for a fast parse.

A warehouse parses newline-delimited JSON fastest, in few files. So large files that have that form
are parsed where they lie, and all others (thousands of one-object files, gzip, pretty-printed,
with a byte order mark) are rewritten into bundles, one record a line.
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect
from codecs import BOM_UTF8
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from io import BufferedWriter
from itertools import accumulate
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from lib import SourceError
from lib.config import Settings
from lib.load import records, s3, workers
from lib.load.records import GZIP, BadRecord, Kind, Reject
from lib.load.s3 import ENDINGS

SEVERAL = re.compile(rb"\}[ \t]*\{")  # two objects on one line
DECODER = json.JSONDecoder()
CHUNK = 1 << 19  # bytes looked at at a time: few enough to stay in a processor's own memory
SEAM, NEWLINE = 8, 10
LARGE = 1 << 20  # bytes from which a file is parsed where it lies
MANY = 20_000  # files, beyond which several processes read
A_TASK = 4_096  # files that one of them reads at a time
LONG_NAME = 64  # characters of an unknown field's name that are shown
LOOKED_AT = 8  # files whose first record is looked at when an engine reads them from S3


class ChangedFile(SourceError):
    """A file whose content is not that which was loaded."""

    def __init__(self, key: str):
        super().__init__(
            f"{key} has changed since it was loaded; give the new content a new name, or load with "
            "replace = True. Nothing was loaded."
        )
        self.key = key

    def __reduce__(self) -> tuple:
        return type(self), (self.key,)


class Identity(NamedTuple):
    """What the file system says of a file: while none of it changes, neither do the bytes."""

    size: int
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int


class SourceFile(NamedTuple):
    """One file that a load brings in: how many of its records, and how many it leaves out.

    `key`: its absolute path or S3 URI. `content_hash`: SHA-256, or the etag that S3 gives it.
    `identity`: from before it was read; None for a file in S3.
    """

    key: str
    size: int
    content_hash: str
    records: int
    rejects: int = 0
    identity: Identity | None = None


class _Listed(NamedTuple):
    """A file that was found: where to read it, and its hash when that is known already."""

    key: str
    path: str
    size: int
    content_hash: str
    identity: Identity | None = None


@dataclass
class Batch:
    """What is new in a place: its files, and the newline-delimited parts to parse for them.

    `holds`: each part, and the keys of the files that are in it. `remote`: parts are files in S3,
    which the engine reads from there, so their records are unknown. `seen`: each JSON key of the
    first records, and the file that showed it first; `same`: those of the last one. `verified`:
    identities of the known files that were read, and hold what was loaded.
    """

    kind: Kind
    files: list[SourceFile] = field(default_factory=list)
    holds: dict[str, list[str]] = field(default_factory=dict)
    known: int = 0
    remote: bool = False
    rejects: list[Reject] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    same: Set[str] = frozenset()
    verified: dict[str, Identity] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """The number of records that the new files bring."""
        return sum(file.records for file in self.files)

    def count(self, records: Mapping[str, int]) -> None:
        """Enter the number of records of those files (by key) of which an engine tells it."""
        if records:
            self.files = [f._replace(records=records.get(f.key, f.records)) for f in self.files]

    @property
    def parts(self) -> list[str]:
        """The parts to parse."""
        return list(self.holds)

    def files_of(self, part: str, lines: Collection[range]) -> set[str]:
        """Return the keys of the files in a part that some of its lines are of; of none: all."""
        if not lines or len(self.holds[part]) == 1:
            return set(self.holds[part])
        counts = {file.key: file.records for file in self.files}
        ends = [*accumulate(counts[key] for key in self.holds[part])]
        files = (slice(bisect(ends, each[0]), bisect(ends, each[-1]) + 1) for each in lines)
        return {key for some in files for key in self.holds[part][some]}

    def extend(self, more: Batch) -> None:
        """Add what is new in other files of the place."""
        self.files += more.files
        self.holds |= more.holds
        self.known += more.known
        self.rejects += more.rejects
        self.verified |= more.verified
        for name, key in more.seen.items():
            self.seen.setdefault(name, key)

    def look_at(self, key: str, record: bytes) -> None:
        """Note the JSON keys of a file's first record."""
        try:
            found, _ = DECODER.raw_decode(record.removeprefix(BOM_UTF8).decode().lstrip())
        except (ValueError, RecursionError):  # who parses it will say so
            return
        if not isinstance(found, dict) or found.keys() == self.same:  # as of most files
            return
        self.same = frozenset(found)
        if not records.not_unicode("".join(found)):
            for name in found:
                self.seen.setdefault(name[:LONG_NAME], key)

    def skip_known(self, file: _Listed, known: Mapping[str, str]) -> bool:
        """Return whether a file is known, and count it; raise ChangedFile for other content."""
        if not _is_known(file.key, file.content_hash, known):
            return False
        self.known += 1
        if file.identity:
            self.verified[file.key] = file.identity
        return True

    def require_unchanged(self) -> None:
        """Raise SourceError when a large file, which is read more than once, has changed since."""
        for file in self.files:
            if file.size >= LARGE:
                _require_unchanged(file.key, file.identity)


def listing(place: str, settings: Settings | None = None) -> list[tuple[str, int]]:
    """Return path and size in bytes of each JSON file below a folder or s3://…, sorted by path.

    Names that start with a dot are passed over. Raises SourceError when there is no such place,
    it can't be read, or no JSON file lies in it.
    """
    if "://" in place:
        client = s3.reader(settings or Settings())
        return [(item.uri, item.size) for item in s3.listing(client, place)]
    return [(path, identity.size) for path, identity in list_files(place)]


def list_files(place: str) -> list[tuple[str, Identity]]:
    """Return path and identity of each JSON file below a folder, as `listing` does."""
    if not os.path.exists(place):
        raise SourceError(f"There is no folder {place}; name the folder that holds the JSON files.")
    if os.path.isfile(place):
        return [(place, identify_file(place))]
    try:
        found = sorted(_walk(place))
    except OSError as error:
        raise SourceError(f"{error.filename} can't be read: {error.strerror}.") from None
    if not found:
        raise SourceError(f"The folder {place} holds no JSON file ({', '.join(ENDINGS[:3])} …).")
    return found


def _walk(folder: str) -> Iterator[tuple[str, Identity]]:
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
                if not entry.name.isprintable() and records.not_unicode(entry.name):
                    shown = os.fsencode(entry.path)
                    raise SourceError(f"The name {shown!r} is not UTF-8; rename it.")
                if entry.name.lower().endswith(ENDINGS) and entry.is_file():
                    yield entry.path, identify_file(entry.path)
                elif entry.is_dir():
                    (links if entry.is_symlink() else waiting).append(entry.path)
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    raise SourceError(
                        f"{entry.path} is a link to what is not there; bring that back, or take "
                        "the link away. Nothing was loaded."
                    )


def gather(
    kind: Kind,
    place: str,
    known: Mapping[str, str],
    scratch: Path,
    checked: Collection[str] = (),
    settings: Settings | None = None,
    in_place: bool = False,
    trusted: Mapping[str, Identity] = MappingProxyType({}),
) -> Batch:
    """Gather the files below `place` that are not in `known` (path to content hash, URI to etag).

    `scratch`: an empty folder for the bundles.
    `checked`: the files to read record by record, so that bad ones are left out and named.
    `settings`: say how to read from S3.
    `in_place`: whether the engine itself reads what lies in S3.
    `trusted`: of known files, the identity; one that still has it is not read again.
    Raises SourceError for what can't be read, ChangedFile for what is not what was loaded.
    """
    batch = Batch(kind)
    if "://" in place:
        found = _from_s3(batch, place, known, checked, settings or Settings(), in_place)
    else:
        listed = list_files(place)
        found = [
            _Listed(path, path, identity.size, "", identity)
            for path, identity in listed
            if identity != trusted.get(path)
        ]
        batch.known = len(listed) - len(found)
    large, others = [], []
    for file in found:
        stays = file.size >= LARGE and file.key not in checked and _can_stay(file.path)
        (large if stays else others).append(file)
    _pack_all(batch, scratch, others, known, checked)
    if doubted := _add_large(batch, large, known):
        looked_at = {file.key for file in doubted}
        _pack(_Task(kind, scratch / f"{kind.name}-doubted.json", doubted, {}, looked_at), batch)
    return batch


class _Task(NamedTuple):
    """Files to read, the bundle to write, and what `gather` was told of these files."""

    kind: Kind
    bundle: Path
    files: list[_Listed]
    known: Mapping[str, str]
    checked: Collection[str]


def _pack_all(batch: Batch, scratch: Path, files: list[_Listed], known, checked) -> None:
    """Add files to the batch: many by several processes, of which each writes bundles."""
    if len(files) <= MANY:
        _pack(_Task(batch.kind, scratch / f"{batch.kind.name}.json", files, known, checked), batch)
        return

    def task(number: int, some: list[_Listed]) -> _Task:
        keys = [file.key for file in some]
        return _Task(
            batch.kind,
            scratch / f"{batch.kind.name}-{number}.json",
            some,
            {key: known[key] for key in keys if key in known},
            {key for key in keys if key in checked},
        )

    tasks = [task(n, files[n : n + A_TASK]) for n in range(0, len(files), A_TASK)]
    for done, found in zip(tasks, workers.each(_pack, tasks), strict=True):
        if found.rejects:  # how many a load keeps, and how much of each, is counted here
            _pack(done, batch)
        else:
            batch.extend(found)


def _pack(task: _Task, batch: Batch | None = None) -> Batch:
    """Add files to a batch, and their records to the bundle that becomes its part."""
    batch, bundled = batch or Batch(task.kind), []
    with open(task.bundle, "wb", buffering=CHUNK) as file:
        bundle = _Bundle(file)
        for listed in task.files:
            content = _read(listed) if listed.size < LARGE else listed.path
            if not listed.content_hash:
                small = isinstance(content, bytes)
                digest = sha256(content).hexdigest() if small else _digest(listed)[0]
                listed = listed._replace(content_hash=digest)
            if not batch.skip_known(listed, task.known):
                _add(batch, bundle, listed, content, listed.key in task.checked)
                bundled.append(listed.key)
    if bundle.count:
        batch.holds[str(task.bundle)] = bundled
    return batch


def _add(batch: Batch, bundle: _Bundle, file: _Listed, place: str | bytes, check: bool) -> None:
    """Add a file to the batch, and its records (at its path, or in all its bytes) to the bundle.

    `check`: look at each one; that is also done when the file can't be read otherwise.
    """
    key, rejected, count = file.key, len(batch.rejects), None
    small = isinstance(place, bytes)
    if not (check or (small and records.doubtful(place))):
        try:
            found = (small and _lines(place)) or records.unchecked(key, place)
            count = bundle.add(found, batch, key)
        except BadRecord:
            pass
    if count is None:
        found = records.checked(key, place, batch.kind, batch.rejects)
        count = bundle.add(found, batch, key)
    left_out = len(batch.rejects) - rejected
    batch.files.append(
        SourceFile(key, file.size, file.content_hash, count, left_out, file.identity)
    )


def _from_s3(batch, place, known, checked, settings, in_place) -> list[_Listed]:
    """Return each object that is new and read here, with its path in the cache; what the engine
    reads becomes parts of the batch."""
    client = s3.reader(settings)
    found = s3.listing(client, place)
    objects = [item for item in found if not _is_known(item.uri, item.etag, known)]
    batch.known = len(found) - len(objects)
    if in_place:
        there = [item for item in objects if item.uri not in checked]
        batch.files = [SourceFile(item.uri, item.size, item.etag, 0) for item in there]
        batch.holds = {item.uri: [item.uri] for item in there}
        batch.remote = bool(there)
        filled = [item.uri for item in there if item.size]
        for uri in filled[:: len(filled) // LOOKED_AT + 1]:
            batch.look_at(uri, s3.beginning(client, uri))
        objects = [item for item in objects if item.uri in checked]
    paths = s3.fetch(client, objects, s3.CACHE)
    return [_Listed(item.uri, str(paths[item.uri]), item.size, item.etag) for item in objects]


def _add_large(batch: Batch, large: list[_Listed], known: Mapping[str, str]) -> list[_Listed]:
    """Add the files that are parsed where they lie; return those to read record by record."""
    doubted = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing leaves the interpreter free
        digests = pool.map(_digest, large)
        for file, (digest, count, doubt) in zip(large, digests, strict=True):
            file = file._replace(content_hash=file.content_hash or digest)
            if batch.skip_known(file, known):
                continue
            if doubt and _doubtful(file.path):
                doubted.append(file)
                continue
            batch.files.append(
                SourceFile(file.key, file.size, file.content_hash, count, 0, file.identity)
            )
            batch.holds[file.path] = [file.key]
            batch.look_at(file.key, _first_line(file.path))
    return doubted


def _doubtful(path: str) -> bool:
    try:
        with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return records.doubtful(content)
    except (OSError, ValueError):  # it is changing, as will be found
        return False


def _is_known(path: str, digest: str, known: Mapping[str, str]) -> bool:
    if known.get(path, digest) != digest:
        raise ChangedFile(path)
    return path in known


class _Bundle:
    """A file of records, one a line."""

    def __init__(self, file: BufferedWriter):
        self.file, self.count, self.size = file, 0, 0

    def add(self, lines: Iterable[bytes], batch: Batch, key: str) -> int:
        """Add a file's records and return their number; all or, when it can't be read, none."""
        start, before = self.size, self.count  # asking the file would be a system call
        try:
            for line in lines:
                if self.count == before:
                    batch.look_at(key, line)
                self.size += self.file.write(line) + self.file.write(b"\n")
                self.count += 1
        except BadRecord:
            self.file.seek(start)
            self.file.truncate()
            self.count, self.size = before, start
            raise
        return self.count - before


def identify_file(path: str) -> Identity:
    """Return the identity of a file; raise SourceError when it can't be had."""
    try:
        stat = os.stat(path)
    except OSError as error:
        raise records.unreadable(path, error) from None
    numbers = stat.st_size, stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns
    return Identity(*(number % 2**63 for number in numbers))  # as a column of bigint holds it


def _require_unchanged(path: str, identity: Identity | None) -> None:
    """Raise SourceError unless a file (of S3: nothing to ask) still has its identity."""
    if identity and identify_file(path) != identity:
        raise _changed(path)


def _read(file: _Listed) -> bytes:
    """Return the bytes of a small file; pathlib's own way takes five times as long."""
    try:
        handle = os.open(file.path, os.O_RDONLY)
        try:
            body = os.read(handle, file.size + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise records.unreadable(file.key, error) from None
    if len(body) != file.size:
        raise _changed(file.key)
    _require_unchanged(file.path, file.identity)
    return body


def _changed(key: str) -> SourceError:
    return SourceError(f"{key} changed while it was read; load again. Nothing was loaded.")


def _digest(listed: _Listed) -> tuple[str, int, bool]:
    """Return the SHA-256 of a file's bytes, the number of its lines, and whether to look closer."""
    import numpy as np

    digest, lines, suspect, doubt = sha256(), 0, False, False
    buffer = bytearray(SEAM + CHUNK)  # what is looked at may lie across two chunks
    bytes_read, text = memoryview(buffer)[SEAM:], np.frombuffer(buffer, np.uint8)
    try:
        with open(listed.path, "rb", buffering=0) as file:
            while size := file.readinto(bytes_read):
                digest.update(bytes_read[:size])
                lines += int(np.count_nonzero(text[SEAM : SEAM + size] == NEWLINE))
                suspect = suspect or records.may_hold_words(text[: SEAM + size])
                doubt = doubt or (suspect and records.holds_words(buffer[: SEAM + size]))
                text[:SEAM] = text[size : SEAM + size].copy()
    except OSError as error:
        raise records.unreadable(listed.key, error) from None
    _require_unchanged(listed.path, listed.identity)
    return digest.hexdigest(), lines + int(text[SEAM - 1] != NEWLINE), doubt


def _can_stay(path: str) -> bool:
    """Tell whether a large file can be parsed where it lies: plain text, a record a line."""
    if set(path) & set("*?[") or path.lower().endswith(".gz"):
        return False  # the parser would take the name for a pattern, or for its word
    try:
        return isinstance(json.loads(_first_line(path).decode()), dict)
    except (OSError, ValueError, RecursionError):
        return False


def _first_line(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.readline(LARGE)


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
