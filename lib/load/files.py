"""The files of a place: list them, find the new ones, and make few large parts of them to stage.

An engine reads newline-delimited JSON fastest, in few files. So large files of that form are read
where they lie, and all others are copied into one bundle.
"""

from __future__ import annotations

import json
import os
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from lib import SourceError
from lib.config import Settings
from lib.load import s3
from lib.load.records import LONGEST, Kind, Reject, read_records, unpack_file
from lib.load.s3 import ENDINGS, File, Identity

LARGE = 1 << 16  # bytes from which a file is staged where it lies
CHUNK = 1 << 19  # bytes hashed at a time
LONG_NAME = 64  # characters of an unknown field's name that are shown
SAMPLED = 8  # files in S3 whose first record is looked at when the engine reads them from there


class ChangedFile(SourceError):
    """A file whose content has changed since it was loaded."""

    def __init__(self, key: str):
        super().__init__(
            f"{key} has changed since it was loaded; give the new content a new name, or load with "
            "replace = True. Nothing was loaded."
        )
        self.key = key


@dataclass
class Batch:
    """What is new in a place: its files, and the newline-delimited parts that hold their records.

    `one_by_one`: keys of the files whose records are each looked at here, to leave out bad ones.
    `remote`: the engine reads files from S3, and their records are not counted yet. `first_keys`:
    each JSON key of the files' first records, and a file that has it. `verified`: identities of
    known files that were read and are unchanged.
    """

    kind: Kind
    place: str
    settings: Settings = field(default_factory=Settings)
    one_by_one: Set[str] = frozenset()
    files: list[File] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    known: int = 0
    remote: bool = False
    rejects: list[Reject] = field(default_factory=list)
    first_keys: dict[str, str] = field(default_factory=dict)
    last_keys: Set[str] = frozenset()
    verified: dict[str, Identity] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """The number of records that the new files bring."""
        return sum(file.records for file in self.files)

    def find_files(self, parts: Set[str] = frozenset()) -> set[str]:
        """Return the keys of the files that these parts hold; of none: of all."""
        own = {file.path or file.key: file.key for file in self.files}
        bundled = own.keys() - set(self.parts) if parts - own.keys() else set()
        return {own[path] for path in (parts & own.keys()) | bundled} or set(own.values())

    def note_keys(self, key: str, line: bytes) -> bool:
        """Note the JSON keys of a file's first line; return whether that is a record."""
        try:
            record = json.loads(line.removeprefix(BOM_UTF8).decode())
            if isinstance(record, dict) and record.keys() != self.last_keys:  # mostly the same
                for name in record:
                    self.first_keys.setdefault(name.encode().decode()[:LONG_NAME], key)
                self.last_keys = record.keys()
        except (ValueError, RecursionError):
            return False
        return isinstance(record, dict)


def list_files(place: str, settings: Settings | None = None) -> list[File]:
    """Return each JSON file below a folder or s3://…, sorted by key.

    Names that start with a dot are passed over. Raises SourceError when there is no such place,
    it can't be read, or it holds no JSON file.
    """
    if "://" in place:
        return s3.list_objects(s3.connect(settings or Settings()), place)
    if not os.path.exists(place):
        raise SourceError(f"There is no folder {place}; name the folder that holds the JSON files.")
    try:
        paths = [place] if os.path.isfile(place) else sorted(_walk(place))
        "".join(paths).encode()
        identities = [identify_file(path) for path in paths]
    except UnicodeEncodeError:
        wrong = next(path for path in paths if os.fsencode(path) != path.encode("utf-8", "replace"))
        raise SourceError(f"The name {os.fsencode(wrong)!r} is not UTF-8; rename it.") from None
    except OSError as error:
        raise SourceError(f"{error.filename} can't be read: {error.strerror}.") from None
    if not paths:
        raise SourceError(f"The folder {place} holds no JSON file ({', '.join(ENDINGS[:3])} …).")
    return [File(p, i.size, "", p, i) for p, i in zip(paths, identities, strict=True)]


def _walk(folder: str) -> Iterator[str]:
    waiting, links, visited = [folder], [], set()
    while waiting or links:  # links last, so that a file has its own path wherever it has one
        folder = (waiting or links).pop()
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in visited:  # a link that leads back
            continue
        visited.add((stat.st_dev, stat.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(ENDINGS) and entry.is_file():
                    yield entry.path
                elif entry.is_dir():
                    (links if entry.is_symlink() else waiting).append(entry.path)
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    raise SourceError(
                        f"{entry.path} is a link to what is not there; bring that back, or take "
                        "the link away. Nothing was loaded."
                    )


def gather_files(
    batch: Batch,
    scratch: Path,
    known: Mapping[str, str],
    trusted: Mapping[str, Identity],
    in_place: bool = False,
) -> None:
    """Add the files of the batch's place that are not in `known` (path to hash, URI to etag).

    `scratch`: a folder for the bundle. `trusted`: identities of known files, which are not read
    again while they have it. `in_place`: the engine itself reads what is in S3.
    Raises SourceError for what can't be read, ChangedFile for what is not what was loaded.
    """
    files = list_files(batch.place, batch.settings)
    if is_in_s3 := "://" in batch.place:
        new = [file for file in files if not _is_known(file, known)]
    else:
        new = [file for file in files if file.identity != trusted.get(file.key)]
    batch.known = len(files) - len(new)
    client = s3.connect(batch.settings) if is_in_s3 and new else None
    if client and in_place:
        batch.files = [file for file in new if file.key not in batch.one_by_one]
        batch.parts, batch.remote = [file.key for file in batch.files], bool(batch.files)
        filled = [file.key for file in batch.files if file.size]
        for uri in filled[:: len(filled) // SAMPLED + 1]:
            batch.note_keys(uri, s3.read_start(client, uri).partition(b"\n")[0])
        new = [file for file in new if file.key in batch.one_by_one]
    if client and new:
        s3.fetch_files(client, new, s3.CACHE)
    _read_files(batch, new, known, scratch / f"{batch.kind.name}.json")


def _is_known(file: File, known: Mapping[str, str]) -> bool:
    if known.get(file.key, file.content_hash) != file.content_hash:
        raise ChangedFile(file.key)
    return file.key in known


def _read_files(batch: Batch, files: list[File], known: Mapping[str, str], bundle: Path) -> None:
    """Hash files; add those that are not known to the batch, and their records to its parts."""
    large = [file for file in files if file.size >= LARGE]
    with ExitStack() as stack:
        out = stack.enter_context(open(bundle, "wb"))
        pool = stack.enter_context(ThreadPoolExecutor())  # hashing lets other threads run
        hashed = stack.enter_context(closing(pool.map(_hash_file, large)))
        for file in [file for file in files if file.size < LARGE]:
            body = _read_file(file)
            if _add_new(batch, file, sha256(body).hexdigest(), known):
                _copy_records(batch, file, BytesIO(body), out)
        for file, (digest, lines) in zip(large, hashed, strict=True):
            if not _add_new(batch, file, digest, known):
                continue
            with _open(file) as content:
                if _can_stay(batch, file, content):
                    batch.parts.append(file.path)
                    file.records = lines
                else:
                    _copy_records(batch, file, content, out)
    if bundle.stat().st_size:
        batch.parts.append(str(bundle))


def _add_new(batch: Batch, file: File, digest: str, known: Mapping[str, str]) -> bool:
    file.content_hash = file.content_hash or digest
    if not _is_known(file, known):
        batch.files.append(file)
        return True
    batch.known += 1
    batch.verified[file.key] = file.identity
    return False


def _can_stay(batch: Batch, file: File, content: BinaryIO) -> bool:
    """Tell whether a large file can be staged where it lies: plain text, a record on each line."""
    is_checked = file.key in batch.one_by_one
    if is_checked or set(file.path) & set("*?[") or file.path.lower().endswith(".gz"):
        return False  # the engine would take the name for a pattern, or for its word
    return batch.note_keys(file.key, content.readline(LONGEST))


def _copy_records(batch: Batch, file: File, content: BinaryIO, out: BinaryIO) -> None:
    """Copy a file's records to the bundle, one a line; leave out bad ones when each is looked at.

    Lines are copied as they are when the first one is a record: the engine refuses others.
    """
    pieces = unpack_file(file.key, content)
    piece = next(pieces, b"").removeprefix(BOM_UTF8)
    if file.key not in batch.one_by_one and batch.note_keys(file.key, piece.partition(b"\n")[0]):
        while piece:
            out.write(piece)
            file.records += piece.count(b"\n")
            last, piece = piece, next(pieces, b"")
        out.write(b"\n")
        file.records += _count_open_line(last)
        return
    rejects = len(batch.rejects)
    for record in read_records(file.key, content, batch.kind, batch.rejects):
        if not file.records:
            batch.note_keys(file.key, record)
        out.write(record + b"\n")
        file.records += 1
    file.rejects = len(batch.rejects) - rejects


def _count_open_line(end: bytes) -> int:
    """Return by how much the records exceed the line breaks: 1 without a last break, 0, or less."""
    return 1 - end[len(end.rstrip()) :].count(b"\n")


def identify_file(path: str | int) -> Identity:
    """Return the identity of a file, named by its path or an open handle."""
    stat, most = os.stat(path), 2**63 - 1  # as a column of bigint holds it
    device, inode = stat.st_dev & most, stat.st_ino & most
    return Identity(stat.st_size, device, inode, stat.st_mtime_ns, stat.st_ctime_ns)


def require_unchanged(file: File) -> None:
    """Raise SourceError unless a file still has its identity, or is in S3."""
    with _explain(file):
        _compare_identity(file, file.path)


def _compare_identity(file: File, path: str | int) -> None:
    if file.identity and identify_file(path) != file.identity:
        raise SourceError(f"{file.key} changed while it was read; load again. Nothing was loaded.")


@contextmanager
def _explain(file: File) -> Iterator[None]:
    """Turn an error of the file system into a SourceError."""
    try:
        yield
    except OSError as error:
        said = f"{file.key} can't be read: {error.strerror}. Nothing was loaded."
        raise SourceError(said) from None


def _open(file: File) -> BinaryIO:
    with _explain(file):
        return open(file.path, "rb")


def _read_file(file: File) -> bytes:
    """Return the bytes of a small file; pathlib's own way takes five times as long."""
    with _explain(file):
        handle = os.open(file.path, os.O_RDONLY)
        try:
            body = os.read(handle, LARGE)
            _compare_identity(file, handle)
        finally:
            os.close(handle)
    return body


def _hash_file(file: File) -> tuple[str, int]:
    """Return the SHA-256 of a file's bytes, and the number of its lines."""
    digest, lines, last = sha256(), 0, b""
    with _explain(file), _open(file) as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            lines, last = lines + chunk.count(b"\n"), chunk
    require_unchanged(file)
    return digest.hexdigest(), lines + _count_open_line(last)
