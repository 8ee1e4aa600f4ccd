"""Hostile input: a bad record is left out, or the load stops with one sentence; never a wrong row.

The fuzz tests run a few cases of a fixed seed; SPARKIFY_FUZZ=10000 SPARKIFY_FUZZ_SEED=7 runs so
many of another one.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from lib import ROOT, SourceError, UserError, load
from lib.load import files
from lib.load.records import EVENTS, SONGS
from lib.warehouse.base import TABLES
from lib.warehouse.templates import name_columns

T = 1541062800000  # 1 November 2018, 09:00 UTC
MARK = '"@@"'


@pytest.fixture
def world(tmp_path, new_world, engine):
    """An empty warehouse that leaves any number of bad records out."""
    made = new_world(tmp_path, engine, max_rejects="100%")
    yield made
    made.close()


@pytest.fixture
def holding(event):
    """Return an event's line whose `field` holds a JSON value that is spelled as it is told."""

    def spelled(field: str, value: str, **fields) -> bytes:
        text = json.dumps(event(**fields) | {field: "@@"})
        return text.replace(MARK, value, 1).encode("utf-8", "surrogateescape")

    return spelled


@pytest.fixture
def leave_out(world, event, song, holding):
    """Load records with such fields and values between good ones, which alone are to be staged."""

    def load(values: list[tuple[str, str]]) -> None:
        world.catalogue(song())
        bad = [holding(field, value, ts=T) for field, value in values]
        good = [json.dumps(event(ts=T + 2 * n)).encode() for n in range(len(bad) + 1)]
        lines = [line for pair in zip(good, bad, strict=False) for line in pair] + good[-1:]
        world.log(b"\n".join(lines))
        world.load()
        assert [line for line, _ in rejected(world)] == [2 * n + 2 for n in range(len(bad))]
        assert staged(world, "ts") == [(T + 2 * n,) for n in range(len(good))]
        assert str(world.load()).startswith("Nothing new")

    return load


def staged(world, *columns) -> list[tuple]:
    return world.rows(f"select {', '.join(columns)} from staging_events order by ts")


def rejected(world) -> list[tuple]:
    return world.rows("select line, field from load_rejects order by line")


# Values

BAD_VALUES = {
    "a fraction": [("itemInSession", "1.5"), ("status", '"0.5"'), ("ts", "1541106106796.5")],
    "no number": [("ts", '"yesterday"'), ("sessionId", '"abc"'), ("length", '"long"')],
    "beyond 64 bits": [("sessionId", "18446744073709551616"), ("status", "9" * 40)],
    "beyond a double": [("length", "1e400"), ("ts", "-1e400"), ("sessionId", "9" * 400)],
    "thousands of digits": [("status", "9" * 5000), ("length", '"' + "9" * 5000 + '"')],
    "a huge exponent": [("length", "1e" + "9" * 20), ("status", "1e20")],
    "not exact in a double": [("sessionId", "9007199254740993"), ("sessionId", "-1e16")],
    "not a number": [("length", "NaN"), ("length", '"NaN"'), ("status", "Infinity")],
    "a spelling of other languages": [
        *(("status", text) for text in ("0x10", "01", "+1", "1_000", ".5", "'1'")),
        *(("length", f'"{text}"') for text in ("0x10", "01", "+1", "1_000", "1,5", "\u0661", "")),
    ],
    "an object or a list": [("length", "{}"), ("status", "[200]"), ("ts", '{"$date": 1}')],
    "before 1970, after 2146": [("ts", "-1"), ("ts", "253402300800000"), ("ts", "1e17")],
    "NUL": [("song", r'"a\u0000b"'), ("page", r'"\u0000"'), ("song", '"a\0b"')],
    "half a character": [("song", r'"\ud800"'), ("w", r'["\udfff"]')],
    "no UTF-8": [("song", '"\udcff"'), ("w", '"\udced\udca0\udc80"'), ("song", '"\udcc0\udc80"')],
    "no JSON": [("song", "'x'"), ("song", r'"\x"'), ("song", '"\t"'), ("w", "1 // one"), ("w", "")],
    "nested 100,000 deep": [("song", "[" * 100_000 + "]" * 100_000)],
    "text of 10 MB": [("song", '"' + "x" * (10 << 20) + '"')],
}
# What COPY takes as it is: the last of two keys, and more than a double of it can say of size.
BAD_VALUES_HERE = {
    "a key twice": [
        ("w", '1, "song": 2'),
        ("w", r'1, "s\u006fng": 2'),
    ],
    "a record of 40 MB": [("w", '"' + "x" * (40 << 20) + '"')],
}


@pytest.mark.parametrize("what", BAD_VALUES)
def test_a_record_with_such_a_value_is_left_out_and_all_others_load(leave_out, what):
    leave_out(BAD_VALUES[what])


@pytest.mark.only_on("local")
@pytest.mark.parametrize("what", BAD_VALUES_HERE)
def test_a_record_that_only_a_look_at_it_can_judge_is_left_out(leave_out, what):
    leave_out(BAD_VALUES_HERE[what])


@pytest.mark.parametrize("shift", range(4))
def test_a_value_that_is_cut_amid_a_character_in_an_error_is_left_out(leave_out, shift):
    leave_out([("sessionId", '{"' + "x" * shift + "\U0001f600" * 100 + '": 1}')])


@pytest.mark.parametrize("clean", [True, False], ids=["clean file", "beside a bad record"])
def test_other_spellings_of_a_number_are_that_number(world, song, holding, clean):
    spellings = {
        "status": {"200.0": 200, "2e2": 200, '"200"': 200, '"2E+2"': 200, "-0": 0, "-0.0": 0},
        "sessionId": {"9007199254740991": 2**53 - 1, "-9007199254740991": 1 - 2**53},
        "length": {
            '"1.5"': 1.5,
            "-0": 0,
            "0.1" + "0" * 400: 0.1,
            "17976931348623157e292": 1.7976931348623157e308,
        },
    }
    cases = [(f, s, v) for f, each in spellings.items() for s, v in each.items()]
    lines = [holding(field, text, ts=T + n) for n, (field, text, _) in enumerate(cases)]
    world.catalogue(song())
    world.log(b"\n".join(lines if clean else [*lines, b"{oops"]))
    world.load()
    columns = {"status": 0, "sessionId": 1, "length": 2}
    found = staged(world, "status", "session_id", "length")
    for row, (field, text, value) in zip(found, cases, strict=True):
        assert row[columns[field]] == value, text


def test_songs_with_such_values_are_left_out_too(world, event, song):
    bad = {"year": "true", "duration": "1e400", "title": r'"\u0000"', "artist_latitude": '"0x1"'}
    for field, value in bad.items():
        text = json.dumps(song(song_id=field) | {field: "@@"}).replace(MARK, value)
        world.catalogue(text.encode(), file=f"{field}.json")
    world.catalogue(song(), file="good.json")
    world.log(event())
    world.load()
    assert {field for _, field in rejected(world)} == set(bad)
    assert world.rows("select song_id from songs") == [(song()["song_id"],)]


KEPT = {
    "NUL in a field that is not loaded": ("w", r'"\u0000"', "You Gotta Be"),
    "10 MB in a field that is not loaded": ("w", '"' + "x" * (10 << 20) + '"', "You Gotta Be"),
    "nested 200 deep, not loaded": ("w", "[" * 200 + "]" * 200, "You Gotta Be"),
    "true as text": ("song", "true", "true"),
    "an object as text": ("song", '{"a":[1,{}]}', '{"a":[1,{}]}'),
    "a line separator": ("song", '"\u2028\u0085\x7f"', "\u2028\u0085\x7f"),
    "a byte order mark": ("song", '"\ufeffa"', "\ufeffa"),
    "no characters of Unicode": ("song", '"\ufffe\uffff"', "\ufffe\uffff"),
    "a pair of surrogates": ("song", r'"\ud83d\ude00"', "\U0001f600"),
    "a key of another case": ("w", '1, "SONG": "x"', "You Gotta Be"),
    "a key that is escaped": ("w", r'1, "\u0077\u0000": "x"', "You Gotta Be"),
    "a backslash before u0000": ("song", r'"\\u0000"', r"\u0000"),
}


@pytest.mark.parametrize("clean", [True, False], ids=["clean file", "beside a bad record"])
def test_what_is_odd_but_valid_is_loaded_as_it_is(world, song, holding, clean):
    world.catalogue(song())
    for n, (field, value, _) in enumerate(KEPT.values()):
        line = holding(field, value, ts=T + n)
        world.log(line + (b"\n" if clean else b"\n{oops"), file=f"{n}.json")
    world.load()
    assert [title for (title,) in staged(world, "song")] == [title for *_, title in KEPT.values()]


BETWEEN = {
    "a byte order mark": b"\xef\xbb\xbf",
    "NUL": b"\0\0\0",
    "a comment": b"// no event",
    "an unfinished record": b'{"ts": 1541',
    "a closing brace": b"}",
    "a list of objects": b"[{}, {}]",
    "values that are no objects": b"null",
    "no UTF-8": b"\xff\xfe\x80",
    "UTF-16": "{}".encode("utf-16"),
    "another file's gzip": gzip.compress(b"{}", mtime=0),
    "HTML": b"<html><script>alert(1)</script>",
}


def test_what_lies_between_records_spoils_none_of_them(world, event, song):
    world.catalogue(song())
    times = range(T, T + 2 * len(BETWEEN))
    good, files = (json.dumps(event(ts=ts)).encode() for ts in times), {}
    for n, (what, between) in enumerate(BETWEEN.items()):
        body = b"\n".join([next(good), between, next(good)])
        files[str(world.log(body, file=f"{n}.json"))] = what
    world.load()
    assert staged(world, "ts") == [(ts,) for ts in times]
    found = world.rows("select file_key, line from load_rejects")
    assert {files[file] for file, _ in found} == set(BETWEEN)
    assert {line for _, line in found} <= {2, 3}


@pytest.mark.only_on("local")
@pytest.mark.parametrize(
    "extra", [b'"w": NaN', b'"w": [1,]', b'"w": {"a": 1, "a": 2}', b'"w": -inf,']
)
def test_the_fast_path_is_lenient_with_what_is_not_loaded(world, event, song, extra):
    world.catalogue(song())
    line = json.dumps(event(ts=T)).encode()
    world.log(line + b"\n" + line[:-1] + b", " + extra + b"}")
    world.load()
    assert staged(world, "song", "ts") == [("You Gotta Be", T)] * 2


# Names and texts

NAMES = {
    "quotes": """it's "quoted" `$(id)`.json""",
    "line breaks": "a\nb\r\tc.json",
    "dots": "a..%2f..%2fetc..json",
    "a pattern": "*?[a-z]{x,y}**.json",
    "very long": "x" * 250 + ".json",
    "SQL": "'; drop table songs; --.json",
    "markup": "<img src=x onerror=alert(1)>.json",
    "a bound value": ":batch_id $1 %s {}.json",
    "another writing": "\u202efdp.\U0001f600.json",
    "a backslash": "a\\n\\0.json",
}


@pytest.mark.parametrize("size", [1, 300], ids=["small", "large"])
def test_a_files_name_is_a_name_whatever_it_looks_like(world, event, song, size):
    world.catalogue(song())
    wide = dict.fromkeys(("song", "artist", "location", "userAgent"), "x" * 1000)
    for at, name in enumerate(NAMES.values()):
        folder = f"{name[:200]}/" if size == 1 else ""
        lines = [event(ts=T + at * size + n, **wide) for n in range(size if at < 4 else 1)]
        file = world.log(*lines, file=folder + name)
        assert (file.stat().st_size > files.LARGE) == (size > 1 and at < 4)
    loaded = world.load()
    keys = world.rows("select file_key from load_files where kind = 'events'")
    assert {os.path.basename(key) for (key,) in keys} == set(NAMES.values())
    assert loaded.new_files["events"] == len(NAMES)
    assert str(world.load()).startswith("Nothing new")


def test_a_name_that_is_no_text_is_told_in_one_sentence(world, event, song):
    world.catalogue(song())
    world.log(event())
    try:
        Path(os.fsdecode(os.fsencode(world.logs) + b"/\xff.json")).write_bytes(b"{}")
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    with pytest.raises(SourceError, match=r"\\xff\.json.* is not UTF-8; rename it\.$"):
        world.load()


EVIL = {
    "SQL": "'); drop table songs; select ('",
    "SQL in quotes": '"; delete from users; --',
    "a bound value": ":batch_id $1 %s %(x)s {x} {{ 1 }} {% x %}",
    "markup": "</td><script>alert(1)</script><img src=x onerror=alert(2)>",
    "a spreadsheet's formula": "=cmd|'/c calc'!A0",
    "COPY's own": '\\N\\.\t\n\r|,"',
    "a sentence's end": "\u202e\u0007\x1b[31m",
}


@pytest.mark.parametrize("what", EVIL)
def test_text_is_text_in_every_field(world, event, song, what):
    evil = EVIL[what]
    texts = [n for n, sort in EVENTS.fields.items() if isinstance(sort, int) and n != "level"]
    short = {"gender", "method", "auth", "page", "userId"}
    values = {name: evil[: EVENTS.fields[name]] if name in short else evil for name in texts}
    world.log(event(**values | {"page": "NextSong"}), event(**values | {"ts": T}))
    named = [name for name, sort in SONGS.fields.items() if isinstance(sort, int)]
    world.catalogue(song(**dict.fromkeys(named, evil) | {"song_id": evil, "title": evil}))
    loaded = world.load()
    assert (loaded.plays, loaded.matched) == (1, 1)
    columns = [name for name in texts if name != "page"]
    rows = world.rows(f"select {', '.join(name_columns(columns))} from staging_events")
    assert rows == [tuple(values[name] for name in columns)] * 2
    assert world.rows("select song_id, title from songs") == [(evil, evil.strip(" "))]
    assert set(world.dwh.count_rows()) == set(TABLES)
    for question in ("top_songs", "top_artists"):
        assert (
            evil.strip(" ")
            in world.dwh.analysis(question, top=5, least=1).to_numpy().ravel().tolist()
        )


@pytest.mark.parametrize("beside", [b"", b"{oops"], ids=["clean file", "beside a bad record"])
def test_a_boolean_is_no_number_except_in_a_clean_file_on_duckdb(
    world, song, holding, engine, beside
):
    world.catalogue(song())
    values = [("status", "true"), ("itemInSession", "false"), ("length", " true")]
    lines = [holding(field, value, ts=T + n) for n, (field, value) in enumerate(values)]
    world.log(b"\n".join([*lines, holding("status", "200", ts=T + 9), beside]))
    world.load()
    taken = engine == "local" and not beside
    expected = [(1, 1, 246.30812), (200, 0, 246.30812), (200, 1, 1.0)] if taken else []
    assert staged(world, "status", "item_in_session", "length") == [*expected, (200, 1, 246.30812)]


# Bombs: what a child process needs to read them is bounded.

READ = """
import resource, sys
from lib import UserError
from lib.load import files, records
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]), int(sys.argv[3])))
try:
    checked = {file.key for file in files.list_files(sys.argv[1])} if sys.argv[4:] else set()
    batch = files.Batch(records.EVENTS, sys.argv[1], one_by_one=checked)
    files.gather_files(batch, Path(sys.argv[2]), {}, {})
    print(batch.records, "records", len(batch.rejects), "rejects")
except UserError as error:
    print(error)
"""


def reading(place, scratch, memory: int, *checked) -> str:
    """Return what a process says that gathers events with so many bytes of memory."""
    scratch.mkdir()
    command = [sys.executable, "-c", READ, place, scratch, str(memory), *checked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def bomb(piece: bytes, size: int, start: bytes = b"", level: int = 9) -> bytes:
    """Return a gzip file of so many bytes of a piece, over and over."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=level, mtime=0) as file:
        file.write(start)
        block = piece * max((1 << 20) // len(piece), 1)
        for _ in range(size // len(block)):
            file.write(block)
    return packed.getvalue()


MANY = json.dumps({"ts": T, "page": "Home", "level": "paid", "sessionId": 1, "itemInSession": 1})
WIDE = b" " * 1000 + b"\n"
BOMBS = {
    "spaces": (b" ", b""),
    "line breaks": (b"\n", b""),
    "an endless string": (b"x", b'{"song": "'),
    "an endless number": (b"9", b'{"ts": '),
    "an endless list": (b"1,", b'{"w": ['),
    "endless nesting": (b"[", b'{"w": '),
    "equal records": (MANY.encode() + WIDE, b""),
    "bad records": (b"{oops" + WIDE, b""),
}


linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is not limited so")


@linux
@pytest.mark.parametrize("checked", [(), ("checked",)], ids=["fast", "record by record"])
@pytest.mark.parametrize("what", BOMBS)
def test_a_small_file_that_unpacks_to_a_huge_one_is_refused_in_little_memory(
    tmp_path, write, what, checked
):
    piece, start = BOMBS[what]
    file = write(tmp_path / "log" / "a.json.gz", bomb(piece, 100 << 20, start))
    assert file.stat().st_size < 1 << 20
    said = reading(tmp_path / "log", tmp_path / "scratch", 1 << 30, *checked)
    assert said.startswith(f"{file} unpacks to over 250 times its size, as no log does")
    assert said.count("\n") == 1


@linux
def test_records_that_pack_well_are_no_bomb(tmp_path, write):
    several = [MANY.replace("1}", f"{n * 7919 % 10_007}}}").encode() for n in range(1000)]
    file = write(tmp_path / "log/a.json.gz", bomb(b"\n".join(several) + b"\n", 10 << 20))
    assert file.stat().st_size > (10 << 20) // 250
    assert reading(tmp_path / "log", tmp_path / "scratch", 1 << 30).endswith(" 0 rejects\n")


@linux
def test_what_is_kept_of_very_many_bad_records_is_bounded(tmp_path, write):
    line = b'{"song": "' + b"x" * 60_000 + b'"\n'
    write(tmp_path / "log/a.json", line * 3000)
    said = reading(tmp_path / "log", tmp_path / "scratch", 1 << 29, "checked")
    assert said == "0 records 3000 rejects\n"


# Fuzz

CASES = int(os.environ.get("SPARKIFY_FUZZ", "40"))
SLOWER = 20  # times fewer cases where a load is a conversation with a server
SEED = int(os.environ.get("SPARKIFY_FUZZ_SEED", "1"))
BAD_LINE = b"{oops"

fuzz = hypothesis.settings(
    max_examples=CASES,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.generate],  # a failure is shown as it was found
    suppress_health_check=list(hypothesis.HealthCheck),
)
fewer = hypothesis.settings(fuzz, max_examples=max(CASES // SLOWER, 5))


class Loader:
    """Loads one file of events after the other, into staging alone, each into empty tables."""

    def __init__(self, world, song):
        self.world = world
        world.catalogue(song())

    def __call__(self, body: bytes):
        """Return staged rows and rejects; or the sentence with which the load stopped."""
        for table in ("staging_events", "staging_songs", "load_files", "load_rejects"):
            self.world.dwh._execute(f"delete from {table}")
        self.world.log(body)
        try:
            loaded = self.world.load()
        except UserError as error:
            assert self.world.rows("select count(*) from load_files") == [(0,)]
            assert self.world.rows("select count(*) from staging_events") == [(0,)]
            return str(error)
        rows = self.world.rows(
            f"select {', '.join(name_columns(EVENTS.fields))} from staging_events"
        )
        ledger = "select row_count, reject_count from load_files where kind = 'events'"
        assert self.world.rows(ledger) == [(len(rows), len(loaded.rejects))]
        if len(body) % 8 == 0:
            assert str(self.world.load()).startswith("Nothing new")
        return Counter(rows), loaded.rejects


@pytest.fixture(scope="module")
def loader(tmp_path_factory, new_world, song):
    """Make loaders of an engine; what comes after staging is left out, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "build_star", lambda *_: None)
        made = {}

        def make(engine):
            if engine not in made:
                folder = tmp_path_factory.mktemp("fuzz")
                made[engine] = Loader(new_world(folder, engine, max_rejects="100%"), song)
            return made[engine]

        yield make
        for one in made.values():
            one.world.close()


def one_of(*values):
    return st.sampled_from(values)


# Bytes

PIECES = one_of(
    *(b"\n", b"\r", b"{", b"}", b"[", b"]", b'"', b",", b":", b" ", b"\\", b"\0", b"\xff", b"-"),
    *(b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\x1f\x8b", b"\\u0000", b"\\ud800", b"null", b"true"),
    *(b"NaN", b"1e999", b"//", b"\x0c", b"\xe2\x80\xa8", b'"ts":1,', b'{"w":', b"9" * 20, b"0"),
)


HOW = ("flip", "cut", "insert", "replace", "double", "move", "line")


@st.composite
def damaged(draw, event):
    """Draw the lines of a few events, and their bytes after a few mutations."""
    count = draw(st.integers(2, 6))
    lines = [json.dumps(event(ts=T + n, song=f"Song {n}")).encode() for n in range(count)]
    body = draw(one_of(b"\n", b"\r\n")).join(lines) + draw(one_of(b"", b"\n"))
    for _ in range(draw(st.integers(1, 4))):
        at, to = sorted(draw(st.integers(0, len(body))) for _ in range(2))
        to = draw(one_of(to, min(at + 1, to), min(at + 9, to)))
        piece, how = draw(PIECES), draw(one_of(*HOW))
        if how == "flip" and at < len(body):
            flipped = body[at] ^ (1 << draw(st.integers(0, 7)))
            body = body[:at] + bytes([flipped]) + body[at + 1 :]
        elif how == "cut":
            body = body[:at] + body[to:]
        elif how == "insert":
            body = body[:at] + piece + body[at:]
        elif how == "replace":
            body = body[:at] + piece + body[to:]
        elif how == "double":
            body = body[:to] + body[at:to] + body[to:]
        elif how == "move":
            goal = draw(st.integers(0, len(body)))
            body = body[:goal] + body[at:to] + body[goal:]
        else:
            parts = body.split(b"\n")
            line = draw(st.integers(0, len(parts) - 1))
            body = b"\n".join(
                [*parts[:line], piece, *draw(one_of(parts[line:], parts[line + 1 :]))]
            )
    return lines, body


def as_text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def is_unfinished(line: bytes) -> bool:
    """Tell whether a line might be the first of a record that goes on in those after it."""
    text = as_text(line).rstrip()
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text) or "Unterminated" in error.msg
    except ValueError:
        return False
    return False


def untouched(lines: list[bytes], body: bytes) -> Counter:
    """Count the lines that are in a damaged file as they were, and which nothing else can hold."""
    found = [line.strip(b" \t\r") for line in body.split(b"\n")]
    others = [line for line in found if line and line not in lines]
    if len(others) > 1 and any(map(is_unfinished, others)):
        return Counter()
    return Counter(line for line in found if line in lines)


def objects_in(body: bytes) -> set[tuple]:
    """Return time and title of every object that begins anywhere in a file."""
    text, decoder, found = as_text(body), json.JSONDecoder(), set()
    for start in re.finditer("{", text):
        try:
            record, _ = decoder.raw_decode(text, start.start())
        except ValueError:
            continue
        for value in (record, *record.values()):
            if isinstance(value, dict) and "ts" in value:
                found.add((str(value["ts"]), str(value.get("song"))))
    return found


def survives(load_one, lines: list[bytes], body: bytes) -> None:
    """Load a damaged file, and look at what became of it."""
    done = load_one(body)
    if isinstance(done, str):
        assert done
        assert "Traceback" not in done
        return
    rows, rejects = done
    columns = list(EVENTS.fields)
    ts, title = columns.index("ts"), columns.index("song")
    for line, count in untouched(lines, body).items():
        record = json.loads(line)
        whole = {n: v for n, v in record.items() if n in EVENTS.fields}
        row = tuple(whole[name] for name in columns)
        assert rows[row] >= count, line
    if not re.search(rb",\s*[}\]]", body):  # which the fast path passes over
        for row in rows:
            assert any(
                float(when) == row[ts] and (name == str(row[title]) or not name.startswith("Song"))
                for when, name in objects_in(body)
            )
    shown = as_text(body).encode("utf-8", "backslashreplace").replace(b"\0", b"\\x00").decode()
    for reject in rejects:
        assert reject.raw_text in shown
        assert 1 <= reject.line <= body.count(b"\n") + 1


@pytest.mark.only_on("local")
@hypothesis.seed(SEED)
@fuzz
@hypothesis.given(data=st.data())
def test_a_file_with_damaged_bytes_gives_its_whole_records_or_one_sentence(
    loader, event, engine, data
):
    survives(loader(engine), *data.draw(damaged(event)))


@pytest.mark.only_on("redshift")
@hypothesis.seed(SEED)
@fewer
@hypothesis.given(data=st.data())
def test_damaged_bytes_do_no_more_on_another_engine(loader, event, engine, data):
    survives(loader(engine), *data.draw(damaged(event)))


# Values

SPELLED = one_of(
    *("null", "true", "false", "0", "-0", "1", "-1", "0.0", "1e0", "1.5", "1e400", "-1e400"),
    *("1e-400", "5e-324", "1E+2", "2147483647", "2147483648", "-2147483649"),
    *("9007199254740991", "9007199254740992", "9007199254740993", "9223372036854775808"),
    *("18446744073709551616", "1.7976931348623157e308", "0.30000000000000004"),
    *("246.30812000000000000001", "1541106106796", "1541106106796.0", "1.541106106796e12"),
    *("5585587199999", "5585587200000", '"0"', '"1"', '"-1.5"', '"1e3"', '"01"', '"+1"'),
    *('"1_0"', '"0x1"', '"nan"', '"inf"', '"true"', '""'),
    *('" "', '"\\u0000"', '"a\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"'),
    *('"\\\\u0000"', '"\\/"', '"\u2028"', '"\ufeff"', '"\U0001f600"', '"\x7f"', '"é"'),
    *('"; drop table x"', '"true, : false"', '": true"', "{}", "[]", '{"a":[{}]}', "[[[[]]]]"),
    *('{"ts":1}', "9" * 400, '"' + "é" * 600 + '"', '"' + "x" * 70_000 + '"'),
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
VALUES = SPELLED | SPELLED | JSON.map(json.dumps)
FIELDS = one_of(*EVENTS.fields, "w", "", "TS", "ts ")
LAYOUTS = {
    "lines": lambda records: b"\n".join(map(spelled, records)),
    "crlf": lambda records: b"\r\n".join(map(spelled, records)) + b"\r\n",
    "blank lines": lambda records: b"\n \n" + b"\n\n".join(map(spelled, records)) + b"\n\t\n",
    "one line": lambda records: b" ".join(map(spelled, records)),
    "pretty": lambda records: b"\n".join(spelled(record, "\n  ") for record in records),
    "pretty, tight": lambda records: b"".join(spelled(record, "\n") for record in records),
    "byte order mark": lambda records: b"\xef\xbb\xbf" + b"\n".join(map(spelled, records)),
    "gzip": lambda records: gzip.compress(b"\n".join(map(spelled, records)), 1, mtime=0),
}


def spelled(record: dict[str, str], gap: str = "") -> bytes:
    pairs = [f"{gap}{json.dumps(name)}: {value}" for name, value in record.items()]
    return ("{" + ",".join(pairs) + gap.rstrip(" ") + "}").encode()


@st.composite
def odd_records(draw, event):
    """Draw records, by field the JSON text of the value; two of them are as they should be."""
    records = []
    for number in range(draw(st.integers(3, 7))):
        record = {n: json.dumps(v) for n, v in event(ts=T + number).items()}
        for _ in range(draw(st.integers(1, 3)) if number > 1 else 0):
            field = draw(FIELDS)
            if draw(st.integers(0, 9)):
                record[field] = draw(VALUES)
            else:
                record.pop(field, None)
        records.append(record)
    return draw(st.permutations(records))


def compact(value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def number_of(value) -> float:
    """Return the number that a value is, or spells as JSON does; else NaN."""
    if isinstance(value, str):
        spelling = r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?"
        return float(value) if re.fullmatch(spelling, value) else math.nan
    try:
        return math.nan if isinstance(value, bool | dict | list) else float(value)
    except OverflowError:
        return math.inf


def expected(record: dict[str, str]) -> dict | None:
    """Return the numbers and texts of a record, ... for other text; None if it is a bad one."""
    found = {}
    for name, value in ((n, json.loads(v)) for n, v in record.items()):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            return None
        if value is None or name not in EVENTS.fields:
            continue
        sort = EVENTS.fields[name]
        if isinstance(sort, int):
            shown = value if isinstance(value, str) else compact(value)
            if len(shown.encode()) > sort or "\0" in shown:
                return None
            found[name] = value if isinstance(value, str) and name != "userId" else ...
            if name == "level":
                found[name] = shown.strip(" ")
            continue
        low, high = {
            "number": (-math.inf, math.inf),
            "whole": (1 - 2**53, 2**53 - 1),
            "small": (-(2**31), 2**31 - 1),
        }[sort]
        number = number_of(value)
        whole = sort == "number" or (math.isfinite(number) and number == math.floor(number))
        if not (math.isfinite(number) and whole and low <= number <= high):
            return None
        found[name] = number
    needed = ("ts", "page", "level", "sessionId", "itemInSession")
    if not all(name in found for name in needed) or found["level"] not in ("free", "paid"):
        return None
    return found if 946_684_800_000 <= found["ts"] < (time.time() + 86_400) * 1000 else None


def fits(row: dict, values: dict) -> bool:
    return all(
        value is ... or (row[name] == value and (value is None) == (row[name] is None))
        for name, value in ((n, values.get(n)) for n in EVENTS.fields if n != "userId")
    )


def load_as_expected(load_one, records: list[dict], layout: str) -> None:
    """Load records alone and beside a bad line; what is staged and left out must be what it is."""
    good = [values for record in records if (values := expected(record)) is not None]
    done, beside = load_one(LAYOUTS[layout](records)), []
    if layout in ("lines", "crlf", "byte order mark"):
        beside = load_one(LAYOUTS[layout](records).rstrip() + b"\n" + BAD_LINE)
        assert not isinstance(beside, str), beside
    assert not isinstance(done, str), done
    rows, rejects = done
    assert rows.total() + len(rejects) == len(records)
    assert rows.total() == len(good)
    left = [dict(zip(EVENTS.fields, row, strict=True)) for row in rows.elements()]
    for values in sorted(good, key=lambda values: [*values.values()].count(...)):
        match = next((row for row in left if fits(row, values)), None)
        assert match is not None, values
        left.remove(match)
    if beside:
        assert beside[0] == rows
        assert len(beside[1]) == len(rejects) + 1


@pytest.mark.only_on("local")
@hypothesis.seed(SEED)
@fuzz
@hypothesis.given(data=st.data(), layout=one_of(*LAYOUTS))
def test_odd_values_are_staged_to_the_last_digit_or_left_out(loader, event, engine, data, layout):
    load_as_expected(loader(engine), data.draw(odd_records(event)), layout)


@pytest.mark.only_on("redshift")
@hypothesis.seed(SEED)
@fewer
@hypothesis.given(data=st.data(), layout=one_of("lines", "gzip"))
def test_odd_values_are_staged_or_left_out_on_another_engine_too(
    loader, event, engine, data, layout
):
    load_as_expected(loader(engine), data.draw(odd_records(event)), layout)
