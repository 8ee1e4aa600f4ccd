"""The records of the files that an engine refused: which are bad, where they are, and why.

All that is asked of a file is one JSON object after the other: on lines of their own, several on
a line, pretty-printed, gzip, with a byte order mark. After what can't be read, reading goes on.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import zlib
from codecs import iterdecode
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from lib import SourceError

GZIP = b"\x1f\x8b"
PIECE = 1 << 16  # bytes read at a time: few, since an error costs a look at all lines before it
LONGEST = 16 << 20  # characters of one record, as many bytes as DuckDB reads
BOMB = 250  # times its size that a file may unpack to; JSON logs reach some 20
RAW, FEW = 65_535, 1000  # bytes that are kept of each of the first FEW bad records; then, only FEW
MOST = 100_000  # bad records that a load keeps
SPACE = re.compile(r"[ \t\r\n]*")
TOO_LONG = f"longer than {LONGEST:,} bytes"
COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
# Where a bad record ends: before a line that neither goes on nor closes it.
NEXT = re.compile(r"\n(?=[^ \t\r\n}\]])")
NUMERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
NUMBER, WHOLE, SMALL = "number", "whole", "small"
RANGES = {
    WHOLE: (1 - 2**53, 2**53 - 1),  # beyond it JSON readers disagree (RFC 8259, section 6)
    SMALL: (-(2**31), 2**31 - 1),
}


@dataclass(frozen=True, eq=False)
class Kind:
    """What one kind of file holds.

    `fields` maps a JSON key to the sort of its number, or to the most bytes of its text.
    `allowed`: of a required field, the only values that it can have, and these in words.
    """

    name: str
    fields: Mapping[str, str | int]
    required: tuple[str, ...]
    allowed: Mapping[str, tuple[Collection, str]] = field(default_factory=dict)


class _BadRecord(Exception):
    """Why a record can't be loaded, and the field that is wrong, '' for the whole record."""

    def __init__(self, reason: str, field: str = ""):
        self.reason, self.field = reason, field


class Reject(NamedTuple):
    """A bad record: the line that it starts on, the wrong field ('' for the whole record), why."""

    file_key: str
    line: int
    field: str
    reason: str
    raw_text: str


EVENTS = Kind(
    "events",
    {
        **{"artist": 1024, "auth": 64, "firstName": 256, "gender": 16, "itemInSession": SMALL},
        **{"lastName": 256, "length": NUMBER, "level": 16, "location": 1024, "method": 16},
        **{"page": 64, "registration": NUMBER, "sessionId": WHOLE, "song": 1024, "status": SMALL},
        **{"ts": WHOLE, "userAgent": 1024, "userId": 64},
    },
    required=("ts", "page", "level", "sessionId", "itemInSession"),
)
SONGS = Kind(
    "songs",
    {
        **{"artist_id": 64, "artist_latitude": NUMBER, "artist_location": 1024},
        **{"artist_longitude": NUMBER, "artist_name": 1024, "duration": NUMBER},
        **{"num_songs": SMALL, "song_id": 64, "title": 1024, "year": SMALL},
    },
    required=("song_id", "title", "artist_id", "artist_name"),
)


def limit_events(times: range, levels: Sequence[str]) -> Kind:
    """Return the kind of events that have only these times (ms since 1970) and levels."""
    ends = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (times.start, times.stop))
    span = " to ".join(f"{end:%Y-%m-%d}" for end in ends)
    time = f"a time from {span} in milliseconds since 1970 ([LOAD] EARLIEST)"
    level = f"{' or '.join(levels)} ([LOAD] LEVELS)"
    return replace(EVENTS, allowed={"ts": (times, time), "level": (levels, level)})


def read_records(key: str, file: BinaryIO, kind: Kind, rejects: list[Reject]) -> Iterator[bytes]:
    """Yield each good record of a file on one line; add the others to `rejects`.

    Raises SourceError when the file can't be unpacked, or there are more rejects than are kept.
    """
    for line, text, problem in _split_records(key, file):
        try:
            yield _check_record(text, problem, kind)
        except _BadRecord as bad:
            if rejects and rejects[-1][:4] == (key, line, "", TOO_LONG):  # the rest of that record
                continue
            raw = text.strip().encode("utf-8", "backslashreplace").replace(b"\0", b"\\x00")
            raw = raw[: RAW if len(rejects) < FEW else FEW].decode("utf-8", "ignore")
            rejects.append(Reject(key, line, bad.field, bad.reason, raw))
        if len(rejects) > MOST:
            first = rejects[0]
            raise SourceError(
                f"{key}, line {line}: over {MOST:,} records can't be loaded, the first at "
                f"{first.file_key}, line {first.line}: {first.reason}. Nothing was loaded; is this "
                f"the folder of the {kind.name}?"
            )


def unpack_file(key: str, file: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of a file in pieces, unpacked when they are gzip."""
    size, unpacked = file.seek(0, os.SEEK_END), 0
    file.seek(0)
    packed = file.read(2) == GZIP
    file.seek(0)
    stream = gzip.open(file) if packed else file  # noqa: SIM115 who opened the file closes it
    try:
        while piece := stream.read(PIECE):
            unpacked += len(piece)
            if packed and unpacked > max(LONGEST, BOMB * size):
                raise SourceError(
                    f"{key} unpacks to over {BOMB} times its size, as no log does; look at where "
                    "it comes from. Nothing was loaded."
                )
            yield piece
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{key} can't be unpacked: {error}. Nothing was loaded.") from None


def _split_records(key: str, file: BinaryIO) -> Iterator[tuple[int, str, str]]:
    """Yield each record of a file: the number of its first line, its text, what is wrong, or ''."""
    # A byte that is not UTF-8 becomes half of a surrogate pair, which spoils only its record.
    pieces = iterdecode(unpack_file(key, file), "utf-8-sig", "surrogateescape")
    text, at, line, ended = "", 0, 1, False
    while True:
        start = SPACE.match(text, at).end()
        line, at = line + text.count("\n", at, start), start
        end, problem = _find_end(text, at, ended)
        if end:
            yield line, text[at:end], problem
            line, at = line + text.count("\n", at, end), end
        elif ended:
            return
        else:
            left, text, at = len(text) - at, text[at:], 0
            while len(text) <= 2 * left and not ended:  # a long record is tried seldom
                piece = next(pieces, "")
                text += piece
                ended = not piece


def _find_end(text: str, at: int, ended: bool) -> tuple[int, str]:
    """Return where the record at `at` ends (0: beyond this text), and what is wrong with it."""
    if at == len(text):
        return 0, ""
    end, longest = at, len(text) - at > LONGEST
    try:
        value, end = DECODER.raw_decode(text, at)
        if not ended and end == len(text):  # a number might go on
            return 0, ""
        if isinstance(value, dict):
            return end, ""
        problem = f"expected an object, found {text[at:end][:40]!r}"
    except (ValueError, RecursionError) as error:
        cut = str(error).startswith("Unterminated string")  # or near the end of this text
        cut = cut or getattr(error, "pos", 0) >= len(text) - 16
        if cut and not ended and not longest:
            return 0, ""
        problem = f"not valid JSON ({getattr(error, 'msg', error)})"
    if found := NEXT.search(text, end):
        return found.start(), problem
    if longest:
        return len(text), TOO_LONG
    return (len(text), problem) if ended else (0, "")


def _refuse_constant(constant: str):
    raise ValueError(f"{constant} is no JSON value")


def _refuse_double_keys(pairs: list) -> dict:
    record = {}
    for name, value in pairs:
        if name in record:
            name = name.encode("utf-8", "replace").decode()[:64]
            raise _BadRecord(f"the key {name} stands twice in one object", name)
        record[name] = value
    return record


DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _check_record(text: str, problem: str, kind: Kind) -> bytes:
    """Return a record on one line, whole numbers such as 1e3 in digits, as COPY wants them.

    Raises _BadRecord when `problem` is known, or a value does not fit its column.
    """
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise _BadRecord("not UTF-8 text") from None
    if problem or size > LONGEST:
        raise _BadRecord(problem or TOO_LONG)
    try:
        record = json.loads(text, object_pairs_hook=_refuse_double_keys)
        COMPACT.encode(record).encode()  # half of a surrogate pair is no text
        numbers = _check_fields(record, kind)
    except (ValueError, RecursionError) as error:
        raise _BadRecord(f"not valid JSON ({error})") from None
    if all(str(record[name]).lstrip("-").isdigit() for name in numbers):
        return text.replace("\n", " ").replace("\r", " ").encode()  # strings hold no line break
    known = {name: record[name] for name in kind.fields if name in record}
    return json.dumps(known | numbers, ensure_ascii=False).encode()


def _check_fields(record: dict, kind: Kind) -> dict[str, int]:
    """Return the whole numbers of a record; raise _BadRecord when a value does not fit."""
    for name in kind.required:
        if record.get(name) is None:
            raise _BadRecord(f"the record has no {name}, as all {kind.name} have", name)
    found = {n: record[n] for n in kind.fields if record.get(n) is not None}
    for name, value in found.items():
        if expected := _describe_expected(value, kind.fields[name]):
            raise _BadRecord(f"{name} must be {expected}, not {str(value)[:60]!r}", name)
    numbers = {n: int(float(value)) for n, value in found.items() if kind.fields[n] in RANGES}
    for name, (allowed, expected) in kind.allowed.items():
        value = numbers[name] if name in numbers else str(record[name]).strip(" ")
        if value not in allowed:
            raise _BadRecord(f"{name} must be {expected}, not {str(record[name])[:60]!r}", name)
    return numbers


def _describe_expected(value, sort: str | int) -> str:
    """Return what a value should have been, or '' when it fits; text can look like anything."""
    if isinstance(sort, int):
        text = value if isinstance(value, str) else COMPACT.encode(value)
        if "\0" in text:
            return "text without NUL"
        return "" if len(text.encode()) <= sort else f"at most {sort:,} bytes"
    numeral = not isinstance(value, bool) and NUMERAL.fullmatch(str(value))
    number = float(str(value)) if numeral else math.nan
    if sort == NUMBER:
        return "" if math.isfinite(number) else "a number"
    low, high = RANGES[sort]
    if not number.is_integer():
        return "a whole number"
    return "" if low <= number <= high else f"a whole number from {low} to {high}"
