"""Where the JSON lies: list the files of a folder or in S3, gather the new ones for a fast parse.

A warehouse parses newline-delimited JSON fastest, in few files. So large files that have that form
are parsed where they lie, and all others (thousands of one-object files, gzip, pretty-printed,
with a byte order mark) are rewritten into bundles, one record a line.
"""

from __future__ import annotations

import json
import os
import re
import time
from bisect import bisect
from codecs import BOM_UTF8
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from io import BufferedWriter
from itertools import accumulate, chain, islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from lib import SourceError, progress, records, s3, workers
from lib.config import Settings
from lib.records import GZIP, BadRecord, Kind, Reject
from lib.s3 import ENDINGS

SEVERAL = re.compile(rb"\}[ \t]*\{")  # two objects on one line
DECODER = json.JSONDecoder()
CHUNK = 1 << 19  # bytes looked at at a time: few enough to stay in a processor's own memory
SEAM, NEWLINE = 8, 10
LARGE = 1 << 20  # bytes from which a file is parsed where it lies
SETTLED = 60.0  # seconds between the last change of a file and its load; clocks may differ a little
AT_ONCE, TOGETHER = 8, 64  # threads that read small files, and how many files each at a time
MANY = 20_000  # files, beyond which several processes read, and a progress bar is shown
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


class SourceFile(NamedTuple):
    """One file that a load brings in: how many of its records, and how many it leaves out.

    `key`: its absolute path or S3 URI. `content_hash`: SHA-256, or the etag that S3 gives it.
    """

    key: str
    size: int
    content_hash: str
    records: int
    rejects: int = 0


@dataclass
class Batch:
    """What is new in a place: its files, and the newline-delimited parts to parse for them.

    `holds`: each part, and the keys of the files that are in it. `remote`: parts are files in S3,
    which the engine reads from there, so their records are unknown. `seen`: each JSON key of the
    first records, and the file that showed it first; `same`: those of the last one. `stamps`: size
    and time of the large files, which are read more than once.
    """

    kind: Kind
    files: list[SourceFile] = field(default_factory=list)
    holds: dict[str, list[str]] = field(default_factory=dict)
    known: int = 0
    remote: bool = False
    rejects: list[Reject] = field(default_factory=list)
    seen: dict[str, str] = field(default_factory=dict)
    same: Set[str] = frozenset()
    stamps: dict[str, tuple[int, int]] = field(default_factory=dict)

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

    def require_unchanged(self) -> None:
        """Raise SourceError when a large file was written to while it was read."""
        for path, stamp in self.stamps.items():
            about = _about(path)
            if (about.st_size, about.st_mtime_ns) != stamp:
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
                if not entry.name.isprintable() and records.not_unicode(entry.name):
                    shown = os.fsencode(entry.path)
                    raise SourceError(f"The name {shown!r} is not UTF-8; rename it.")
                if entry.name.lower().endswith(ENDINGS) and entry.is_file():
                    yield entry.path, entry.stat().st_size
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
    loads: Mapping[str, tuple[int, datetime]] = MappingProxyType({}),
) -> Batch:
    """Gather the files below `place` that are not in `known` (path to content hash, URI to etag).

    `scratch`: an empty folder for the bundles.
    `checked`: the files to read record by record, so that bad ones are left out and named.
    `settings`: say how to read from S3.
    `in_place`: whether the engine itself reads what lies in S3.
    `loads`: of known files, the size and when they were loaded (UTC); one that nobody has touched
    since is not read again.
    Raises SourceError for what can't be read, ChangedFile for what is not what was loaded.
    """
    batch = Batch(kind)
    if "://" in place:
        found = _from_s3(batch, place, known, checked, settings or Settings(), in_place)
    else:
        found = [(path, path, size, "") for path, size in listing(place)]
    large, others = [], []
    for key, path, size, etag in found:
        if size < LARGE:
            others.append((key, path, size, etag))
        elif _is_untouched(key, path, size, etag, loads):
            batch.known += 1
        else:
            batch.stamps[path] = size, _about(path).st_mtime_ns
            stays = key not in checked and _can_stay(path)
            (large if stays else others).append((key, path, size, etag))
    _pack_all(batch, scratch, others, known, checked, loads)
    if doubted := _add_large(batch, large, known):
        looked_at = {key for key, *_ in doubted}
        bundle = scratch / f"{kind.name}-doubted.json"
        _pack(_Task(kind, bundle, doubted, {}, looked_at, {}), batch)
    return batch


class _Task(NamedTuple):
    """Files (key, path, size, etag) to read, the bundle to write, and what `gather` was told of
    these files."""

    kind: Kind
    bundle: Path
    files: list[tuple[str, str, int, str]]
    known: Mapping[str, str]
    checked: Collection[str]
    loads: Mapping[str, tuple[int, datetime]]


def _pack_all(batch: Batch, scratch: Path, files: list, known, checked, loads) -> None:
    """Add files to the batch: many by several processes, of which each writes bundles."""
    if len(files) <= MANY:
        task = _Task(batch.kind, scratch / f"{batch.kind.name}.json", files, known, checked, loads)
        _pack(task, batch)
        return

    def task(number: int, some: list) -> _Task:
        keys = [key for key, *_ in some]
        return _Task(
            batch.kind,
            scratch / f"{batch.kind.name}-{number}.json",
            some,
            {key: known[key] for key in keys if key in known},
            {key for key in keys if key in checked},
            {key: loads[key] for key in keys if key in loads},
        )

    tasks = [task(n, files[n : n + A_TASK]) for n in range(0, len(files), A_TASK)]
    with progress.bar(len(files), f"reading {batch.kind.name}", " files") as bar:
        for done, found in zip(tasks, workers.each(_pack, tasks), strict=True):
            if found.rejects:  # how many a load keeps, and how much of each, is counted here
                _pack(done, batch)
            else:
                batch.extend(found)
            bar.update(len(done.files))


def _pack(task: _Task, batch: Batch | None = None) -> Batch:
    """Add files to a batch, and their records to the bundle that becomes its part."""
    batch, bundled = batch or Batch(task.kind), []
    with open(task.bundle, "wb", buffering=CHUNK) as file:
        bundle = _Bundle(file)
        for key, path, size, etag, body in _read_ahead(batch, task):
            digest = etag or (_digest(key, path)[0] if body is None else sha256(body).hexdigest())
            if _is_known(key, digest, task.known):
                batch.known += 1
                continue
            content = path if body is None else body
            _add(batch, bundle, (key, size, digest), content, key in task.checked)
            bundled.append(key)
    if bundle.count:
        batch.holds[str(task.bundle)] = bundled
    return batch


def _read_ahead(batch: Batch, task: _Task) -> Iterator[tuple]:
    """Yield key, path, size and etag of each file, with its bytes when it is small; count those
    that nobody has touched since their load as known.

    A disk takes 0.4 ms to bring a file, and brings many at once: where one is waited for, several
    threads read. What lies in memory one thread reads faster.
    """

    def read(block: list[tuple]) -> list[tuple]:
        new = [file for file in block if not _is_untouched(*file, task.loads)]
        return [(*file, _read(*file[:3]) if file[2] < LARGE else None) for file in new]

    blocks = _blocks(task.files)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while some := [*islice(blocks, 4 * AT_ONCE)]:
            began, worked = time.perf_counter(), time.thread_time()
            first = read(some[0])
            waited = time.perf_counter() - began > 3 * (time.thread_time() - worked)
            rest = (pool.map if waited else map)(read, some[1:])
            for block, new in zip(some, chain([first], rest), strict=True):
                yield from new
                batch.known += len(block) - len(new)


def _blocks(files: list[tuple]) -> Iterator[list[tuple]]:
    """Cut a list of files where there are enough of them, or of their bytes, to read at once."""
    block, size = [], 0
    for file in files:
        block.append(file)
        size += min(file[2], LARGE)
        if len(block) == TOGETHER or size >= LARGE:
            yield block
            block, size = [], 0
    if block:
        yield block


def _add(batch: Batch, bundle: _Bundle, file: tuple, place: str | bytes, check: bool) -> None:
    """Add a file (key, size, hash) to the batch, and its records (at its path, or in all its
    bytes) to the bundle.

    `check`: look at each one; that is also done when the file can't be read otherwise.
    """
    key, rejected, count = file[0], len(batch.rejects), None
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
    batch.files.append(SourceFile(*file, count, len(batch.rejects) - rejected))


def _from_s3(batch, place, known, checked, settings, in_place) -> list[tuple]:
    """Return URI, path in the cache, size and etag of each object that is new and read here; what
    the engine reads becomes parts of the batch."""
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
    paths = s3.fetch(client, objects, s3.CACHE, f"fetching {batch.kind.name}")
    return [(item.uri, str(paths[item.uri]), item.size, item.etag) for item in objects]


def _add_large(batch: Batch, large: list[tuple], known: Mapping[str, str]) -> list[tuple]:
    """Add the files that are parsed where they lie; return those to read record by record."""
    doubted = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing leaves the interpreter free
        digests = pool.map(lambda item: _digest(*item[:2]), large)
        for (key, path, size, etag), (digest, count, doubt) in zip(large, digests, strict=True):
            if _is_known(key, etag or digest, known):
                batch.known += 1
            elif doubt and _doubtful(path):
                doubted.append((key, path, size, etag or digest))
            else:
                batch.files.append(SourceFile(key, size, etag or digest, count))
                batch.holds[path] = [key]
                batch.look_at(key, _first_line(path))
    return doubted


def _doubtful(path: str) -> bool:
    try:
        with open(path, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            return records.doubtful(content)
    except (OSError, ValueError):  # it is changing, as will be found
        return False


def _is_untouched(key: str, path: str, size: int, etag: str, loads: Mapping) -> bool:
    """Tell whether a file is as it was when it was loaded: nothing but the system sets the time of
    a file's last change, be it of its bytes, its name or its owner (POSIX, sys_stat.h: st_ctim)."""
    then, loaded_at = loads.get(key, (None, None))
    if etag or size != then or os.name == "nt":  # there it is the time of creation
        return False
    return _about(path).st_ctime < loaded_at.replace(tzinfo=UTC).timestamp() - SETTLED


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


def _read(key: str, path: str, size: int) -> bytes:
    """Return the bytes of a small file; pathlib's own way takes five times as long."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            body = os.read(handle, size + 1)
        finally:
            os.close(handle)
    except OSError as error:
        raise records.unreadable(key, error) from None
    if len(body) != size:
        raise _changed(key)
    return body


def _about(path: str) -> os.stat_result:
    """Return what the system knows of a file, as its size and when it was last written to."""
    try:
        return os.stat(path)
    except OSError as error:
        raise records.unreadable(path, error) from None


def _changed(key: str) -> SourceError:
    return SourceError(f"{key} changed while it was read; load again. Nothing was loaded.")


def _digest(key: str, path: str) -> tuple[str, int, bool]:
    """Return the SHA-256 of a file's bytes, the number of its lines, and whether to look closer."""
    import numpy as np

    digest, lines, suspect, doubt = sha256(), 0, False, False
    buffer = bytearray(SEAM + CHUNK)  # what is looked at may lie across two chunks
    bytes_read, text = memoryview(buffer)[SEAM:], np.frombuffer(buffer, np.uint8)
    try:
        with open(path, "rb", buffering=0) as file:
            while size := file.readinto(bytes_read):
                digest.update(bytes_read[:size])
                lines += int(np.count_nonzero(text[SEAM : SEAM + size] == NEWLINE))
                suspect = suspect or records.may_hold_words(text[: SEAM + size])
                doubt = doubt or (suspect and records.holds_words(buffer[: SEAM + size]))
                text[:SEAM] = text[size : SEAM + size].copy()
    except OSError as error:
        raise records.unreadable(key, error) from None
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
