"""The records of one JSON file: what each kind holds, and what is wrong with a bad one.

Files are newline-delimited, pretty-printed, several objects a line, gzip, with a byte order mark:
one object after the other is all that is asked of them. What can't be read is told with its line,
and reading goes on after it.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import mmap
import os
import re
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from lib import SourceError

if TYPE_CHECKING:
    import numpy as np

GZIP = b"\x1f\x8b"
SPACE = re.compile(r"[ \t\r\n]*")
# Where a record that can't be parsed ends: before a line that neither goes on nor closes it.
NEXT = re.compile(r"\n(?=[^ \t\r\n}\]])")
CHUNK = 1 << 16  # small: an error in it costs a look at all lines before
LONGEST = 16 << 20  # bytes of one record, as many as DuckDB reads
COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
BOMB = 250  # times that a file of text may unpack to its own size; JSON logs reach some 20
RAW = 65_535  # bytes of a rejected record that are kept
FEW = 1000  # rejects; of each one after so many, only so many bytes are kept
MOST = 100_000  # rejects of one load, as many as COPY's MAXERROR can be


class BadRecord(SourceError):
    """A record that can't be loaded."""


@dataclass(frozen=True, eq=False)
class Kind:
    """What one kind of file holds.

    `fields` maps a JSON key to the sort of its number, or to the most bytes of its text, which is
    the width of its column. `allowed`: of a required field, the only values that it can have, and
    these in words.
    """

    name: str
    fields: Mapping[str, str | int]
    required: tuple[str, ...]
    allowed: Mapping[str, tuple[Collection, str]] = field(default_factory=dict)

    @cached_property
    def whole(self) -> tuple[str, ...]:
        """The fields that hold whole numbers."""
        return tuple(name for name, sort in self.fields.items() if sort in RANGES)


@dataclass(frozen=True)
class Reject:
    """A record that can't be loaded: the line it starts on, the field that is wrong, and why.

    `field`: '' when the record as a whole can't be read.
    """

    file_key: str
    line: int
    field: str
    reason: str
    raw_text: str

    def __str__(self) -> str:
        return f"{self.file_key}, line {self.line}: {self.reason}"


T, F, U, ZERO, COLON, BACKSLASH, SPACES = b"tfu0:\\ "
# What a warehouse would take for a number or text: true and false, and NUL.
DOUBT = re.compile(rb":\s*(?:true|false)|\\u0000")
NUMBER = "number"
# The sorts of whole numbers, and from where to where they go.
WHOLE, SMALL = "whole", "small"
RANGES = {
    WHOLE: (1 - 2**53, 2**53 - 1),  # beyond it JSON readers disagree (RFC 8259, section 6)
    SMALL: (-(2**31), 2**31 - 1),
}
PLAIN = re.compile(r"-?[0-9]+")
NUMERAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
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
    """Return the kind of events that have one of these times and levels only.

    times: in milliseconds since 1970.
    """
    ends = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (times.start, times.stop))
    span = " to ".join(f"{end:%Y-%m-%d}" for end in ends)
    time = f"a time from {span} in milliseconds since 1970 ([LOAD] EARLIEST)"
    level = f"{' or '.join(levels)} ([LOAD] LEVELS)"
    return replace(EVENTS, allowed={"ts": (times, time), "level": (levels, level)})


def unchecked(key: str, place: str | bytes) -> Iterator[bytes]:
    """Yield each object of a file (its path, or all its bytes) on one line.

    Raises BadRecord at the first that is none, or that only a look at its fields can judge.
    """
    for line, text, problem in _objects(key, place):
        if problem := problem or not_unicode(text):
            raise BadRecord(f"{key}, line {line}: {problem}")
        record = _on_one_line(text)
        if doubtful(record):
            raise BadRecord(f"{key}, line {line}: true, false or NUL")
        yield record


def checked(key: str, place: str | bytes, kind: Kind, rejects: list[Reject]) -> Iterator[bytes]:
    """Yield each record of a file that fits its kind on one line; add the others to `rejects`.

    Raises SourceError when they are more than a load can keep.
    """
    for line, text, problem in _objects(key, place):
        problem = not_unicode(text) or problem  # which explains most else
        field, reason, record = ("", problem, b"") if problem else _read(text, kind)
        if not reason:
            yield record
            continue
        most = RAW if len(rejects) < FEW else FEW
        rejects.append(Reject(key, line, field, reason, _kept(text, most)))
        if len(rejects) > MOST:
            raise SourceError(
                f"{key}, line {line}: over {MOST:,} records can't be loaded, the first at "
                f"{rejects[0]}. Nothing was loaded; is this the folder of the {kind.name}?"
            )


def doubtful(content: bytes | mmap.mmap) -> bool:
    """Tell whether a text of JSON holds what only a look at each record can judge."""
    return holds_words(content) and bool(DOUBT.search(content))


def holds_words(content: bytes | mmap.mmap) -> bool:
    """Tell whether a text can be doubtful; fast."""
    found = content.rfind  # twice as fast as find
    return found(b"true") >= 0 or found(b"false") >= 0 or found(rb"\u0000") >= 0


def may_hold_words(text: np.ndarray) -> bool:
    """Tell whether a text (its bytes, at least five) can be doubtful: whether t or f follows a
    colon, or \\u000 stands in it. Ten times as fast as a search, with other threads at work.
    """
    import numpy as np

    values = np.flatnonzero(text[:-4] == COLON) + 1
    first = text[values]
    second = text[values[first <= SPACES] + 1]
    words = (first == T).any() or (first == F).any()
    words = words or (second == T).any() or (second == F).any() or (second <= SPACES).any()
    escapes = np.flatnonzero(text[:-4] == BACKSLASH)
    return bool(words or ((text[escapes + 1] == U) & (text[escapes + 4] == ZERO)).any())


def _on_one_line(text: str) -> bytes:
    # Strings hold no raw line break, so those left are layout.
    return text.replace("\n", " ").replace("\r", " ").encode()


def _kept(text: str, most: int) -> str:
    """Return the text of a bad record as a table can hold it, at most so many bytes."""
    shown = text.strip().encode("utf-8", "backslashreplace").replace(b"\0", b"\\x00")
    return shown[:most].decode("utf-8", "ignore")


def _objects(key: str, place: str | bytes) -> Iterator[tuple[int, str, str]]:
    """Yield each record: its first line's number, its text, and what is wrong with it, or ''."""
    decoder = json.JSONDecoder(parse_constant=_refuse)
    text, at, line, ended, unpacked, lost = "", 0, 1, False, 0, False
    stream, size = _stream(key, place)
    with stream:
        while True:
            if lost:  # in the midst of a record that is too long
                found = NEXT.search(text, at)
                start = found.start() if found else len(text) - text.endswith("\n")
                line, at = line + text.count("\n", at, start), start
                lost = not found and not ended
            if not lost:
                start = SPACE.match(text, at).end()
                line, at = line + text.count("\n", at, start), start
                end, problem = _end(decoder, text, at, ended)
                if end:
                    yield line, text[at:end], problem
                    lost = problem == _too_long() and end == len(text)
                    line, at = line + text.count("\n", at, end), end
                    continue
            if ended:
                return
            chunk = _next(stream, key, max(CHUNK, len(text) - at))  # a long record is tried seldom
            unpacked += len(chunk)
            if unpacked > max(LONGEST, BOMB * size):
                raise SourceError(
                    f"{key} unpacks to over {BOMB} times its size, as no log does; look at where "
                    "it comes from. Nothing was loaded."
                )
            text, at, ended = text[at:] + chunk, 0, not chunk


def _end(decoder: json.JSONDecoder, text: str, at: int, ended: bool) -> tuple[int, str]:
    """Return where the record at `at` ends (0: beyond this text), and what is wrong with it."""
    if at == len(text):
        return 0, ""
    end = at
    try:
        value, end = decoder.raw_decode(text, at)
        if not ended and end == len(text):  # a number might go on
            return 0, ""
        if isinstance(value, dict):
            return end, ""
        problem = f"expected an object, found {text[at:end][:40]!r}"
    except (ValueError, RecursionError) as error:
        if not ended and _may_go_on(error, len(text) - at, len(text)):
            return 0, ""
        problem = f"not valid JSON ({getattr(error, 'msg', error)})"
    if found := NEXT.search(text, end):
        return found.start(), problem
    if len(text) - at > LONGEST:
        return len(text), _too_long()
    return (len(text), problem) if ended else (0, "")


def _too_long() -> str:
    return f"longer than {LONGEST:,} bytes"


def _refuse(constant: str):
    raise ValueError(f"{constant} is no JSON value")


def _may_go_on(error: ValueError, length: int, end: int) -> bool:
    """Tell whether the error is only that the text ends before the record does."""
    open_string = str(error).startswith("Unterminated string")
    return length < LONGEST and (open_string or getattr(error, "pos", 0) >= end - 16)


def opened(key: str, path: str) -> io.BufferedReader:
    """Open a file to read its bytes; raise SourceError when that can't be done."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise unreadable(key, error) from None


def unreadable(key: str, error: OSError) -> SourceError:
    """Return the error of a file that can't be read."""
    return SourceError(f"{key} can't be read: {error.strerror}. Nothing was loaded.")


def _stream(key: str, place: str | bytes) -> tuple[io.TextIOBase, int]:
    """Return the text of a file, unpacked, and the size of the file itself."""
    file = io.BytesIO(place) if isinstance(place, bytes) else opened(key, place)
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    packed = file.read(2) == GZIP
    file.seek(0)
    text = io.TextIOWrapper(
        gzip.open(file) if packed else file,  # noqa: SIM115 who reads it closes it
        encoding="utf-8-sig",
        errors="surrogateescape",  # a bad byte spoils its record, not the file
        newline="",
    )
    return text, size


def _next(stream: io.TextIOBase, key: str, size: int) -> str:
    try:
        return stream.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{key} can't be unpacked: {error}. Nothing was loaded.") from None


def not_unicode(text: str) -> str:
    """Say so when a text holds half of a surrogate pair, as which a bad byte was read."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "not UTF-8 text"
    return ""


def _read(text: str, kind: Kind) -> tuple[str, str, bytes]:
    """Return a record on one line; or the field that can't be read as what it holds, and why."""
    try:
        record = json.loads(text, object_pairs_hook=_unique)
        COMPACT.encode(record).encode()  # half of a surrogate pair is no text
        field, reason = _wrong(record, kind)
        line = b"" if reason else _spelled_out(text, record, kind)
    except KeyError as error:
        name = _kept(error.args[0], 64)
        return name, f"the key {name} stands twice in one object", b""
    except (ValueError, RecursionError) as error:
        return "", f"not valid JSON ({error})", b""
    if len(line) > LONGEST:
        return "", _too_long(), b""
    return field, reason, line


def _wrong(record: dict, kind: Kind) -> tuple[str, str]:
    """Return the field of a record that can't be read as what it holds, and why; else '', ''."""
    for name in kind.required:
        if record.get(name) is None:
            return name, f"the record has no {name}, as all {kind.name} have"
    for name, sort in kind.fields.items():
        value = record.get(name)
        if value is not None and (expected := _expected(value, sort)):
            return name, f"{name} must be {expected}, not {str(value)[:60]!r}"
    for name, (allowed, expected) in kind.allowed.items():
        value = record[name]
        if (int(float(value)) if name in kind.whole else str(value).strip(" ")) not in allowed:
            return name, f"{name} must be {expected}, not {str(value)[:60]!r}"
    return "", ""


def _spelled_out(text: str, record: dict, kind: Kind) -> bytes:
    """Return a record on one line, its whole numbers (1e3, "7.0") in digits, as COPY wants them."""
    other = {}
    for name in kind.whole:
        value = record.get(name)
        if not (value is None or isinstance(value, int) or PLAIN.fullmatch(str(value))):
            other[name] = int(float(value))
    if not other:
        return _on_one_line(text)
    known = {name: record[name] for name in kind.fields if name in record}
    return json.dumps(known | other, ensure_ascii=False).encode()


def _unique(pairs: list) -> dict:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        raise KeyError(next(name for name in names if names.count(name) > 1))
    return record


def _expected(value, sort: str | int) -> str:
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
    if not number.is_integer():
        return "a whole number"
    low, high = RANGES[sort]
    return "" if low <= number <= high else f"a whole number from {low} to {high}"
