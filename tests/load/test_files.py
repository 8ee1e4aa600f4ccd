"""Whatever way JSON lies in a folder, each record is found once, and a bad one with its line."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib import ROOT, SourceError
from lib.load import files, records
from lib.load.records import EVENTS, SONGS


@pytest.fixture
def gathered(tmp_path):
    """Gather a folder, and return the batch with the records of its parts."""

    def gather(kind, place, known=None, strict=False):
        scratch = tmp_path / f"scratch{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        checked = {file.key for file in files.list_files(str(place))} if strict else set()
        batch = files.Batch(kind, str(place), one_by_one=checked)
        files.gather_files(batch, scratch, known or {}, {})
        lines = b"\n".join(Path(part).read_bytes() for part in batch.parts).split(b"\n")
        return batch, [json.loads(line) for line in lines if line.strip(b"\xef\xbb\xbf \r")]

    return gather


def listed(place) -> list[tuple[str, int]]:
    return [(file.key, file.size) for file in files.list_files(str(place))]


def names(place) -> list[str]:
    """Return the paths below `place` that are listed, as they are listed."""
    return [os.path.relpath(path, place) for path, _ in listed(place)]


def said(reject) -> str:
    return f"{reject.file_key}, line {reject.line}: {reject.reason}"


def bad(kind, file, gathered) -> str:
    """Return what is said of the first bad record of a file."""
    batch, _ = gathered(kind, file, strict=True)
    return said(batch.rejects[0])


def events(event, count=3) -> list[dict]:
    awkward = 'a } { b, "c": [\\] \u00e9 \u4e2d \U0001f600 \u2028 \u0092'
    return [event(itemInSession=item, song=awkward, length=None) for item in range(count)]


# The listing


def test_files_are_listed_by_path_with_their_size_at_any_depth(tmp_path, write):
    write(tmp_path / "b.json", b"{}")
    write(tmp_path / "A/B/C/TRABC.json", b"{} ")
    write(tmp_path / "/".join("deep" for _ in range(60)) / "x.json", b"")
    assert listed(tmp_path) == [
        (str(tmp_path / "A/B/C/TRABC.json"), 3),
        (str(tmp_path / "b.json"), 2),
        (str(tmp_path / "/".join("deep" for _ in range(60)) / "x.json"), 0),
    ]


def test_json_files_have_one_of_six_endings_in_any_case(tmp_path, write):
    found = ["a.json", "b.jsonl", "c.ndjson", "d.json.gz", "e.jsonl.gz", "f.ndjson.gz", "g.JSON"]
    for name in [*found, "README.md", "json", "x.json.bak", "y.gz", "z.csv"]:
        write(tmp_path / name, b"{}")
    assert names(tmp_path) == found


def test_hidden_files_and_folders_are_passed_over(tmp_path, write):
    for name in (".a.json", "._b.json", ".git/c.json", ".ipynb_checkpoints/d.json", "d/e.json"):
        write(tmp_path / name, b"{}")
    assert names(tmp_path) == ["d/e.json"]


def test_a_single_file_is_listed_whatever_its_name(tmp_path, write):
    file = write(tmp_path / "events.txt", b"{}")
    assert listed(file) == [(str(file), 2)]


def test_a_link_to_data_elsewhere_is_followed(tmp_path, write):
    write(tmp_path / "elsewhere/a.json", b"{}")
    write(tmp_path / "b.json", b"{}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/folder").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/file.json").symlink_to(tmp_path / "b.json")
    assert names(tmp_path / "data") == ["file.json", "folder/a.json"]


@pytest.mark.parametrize("name", ["b.json", "2018"])
def test_a_link_that_leads_nowhere_is_named_and_not_passed_over(tmp_path, write, name):
    write(tmp_path / "a.json", b"{}")
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(SourceError) as caught:
        listed(tmp_path)
    said = f"{tmp_path / name} is a link to what is not there; bring that back, or take the link"
    assert str(caught.value) == f"{said} away. Nothing was loaded."


@pytest.mark.parametrize("target", [".", "A", "A/B"])
@pytest.mark.parametrize("place", ["loop", "A/loop", "A/B/loop"])
def test_a_link_back_into_the_folder_ends_and_lists_no_file_twice(tmp_path, write, place, target):
    write(tmp_path / "A/B/x.json", b"{}")
    (tmp_path / place).symlink_to(tmp_path / target)
    assert names(tmp_path) == ["A/B/x.json"]


def test_a_folder_with_two_names_is_listed_once_by_the_first(tmp_path, write):
    write(tmp_path / "elsewhere/x.json", b"{}")
    for name in ("c", "a", "b"):
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere")
    assert names(tmp_path / "data") == ["a/x.json"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SourceError) as caught:
        listed(tmp_path / "none")
    assert str(caught.value) == (
        f"There is no folder {tmp_path / 'none'}; name the folder that holds the JSON files."
    )


def test_a_folder_without_json_is_named_with_the_endings_that_count(tmp_path, write):
    write(tmp_path / "README.md", b"{}")
    with pytest.raises(SourceError) as caught:
        listed(tmp_path)
    assert str(caught.value) == (
        f"The folder {tmp_path} holds no JSON file (.json, .jsonl, .ndjson …)."
    )


@pytest.mark.skipif(os.name != "posix" or not os.geteuid(), reason="root and Windows would read it")
def test_a_folder_that_cannot_be_read_is_named(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    with pytest.raises(SourceError, match=f"^{closed} can't be read: Permission denied.$"):
        listed(tmp_path)


@pytest.mark.parametrize("place", ["gs://bucket/log_data", "https://bucket/log_data", "s3:///x"])
def test_what_is_neither_a_folder_nor_in_s3_is_named(place):
    with pytest.raises(SourceError) as caught:
        listed(place)
    assert str(caught.value) == f"{place} is no place in S3; write s3://bucket/folder."


def test_nothing_of_aws_is_imported_for_a_folder(tmp_path, write):
    write(tmp_path / "a.json", b"{}")
    listed = f"import sys; from lib.load import files; files.list_files({str(tmp_path)!r}); "
    code = listed + "sys.exit(bool({'boto3', 'botocore', 'tqdm'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# Layouts


@pytest.mark.parametrize("strict", [False, True])
def test_every_layout_gives_the_same_records(tmp_path, write, event, gathered, layout, strict):
    file = write(tmp_path / "log/a.json", events(event), layout)
    strict = strict or layout.startswith("several")  # the fast parse fails, and asks for it
    batch, found = gathered(EVENTS, tmp_path / "log", strict=strict)
    assert found == events(event)
    assert [(f.key, f.size, f.records) for f in batch.files] == [
        (str(file), file.stat().st_size, 3)
    ]


@pytest.mark.parametrize("strict", [False, True])
def test_every_layout_gives_the_same_records_from_a_large_file(
    tmp_path, write, event, gathered, layout, strict, monkeypatch
):
    monkeypatch.setattr(files, "LARGE", 1 << 12)
    monkeypatch.setattr(records, "PIECE", 1000)  # records lie across several reads
    file = write(tmp_path / "log/a.json", events(event, 20), layout)
    batch, found = gathered(EVENTS, tmp_path / "log", strict=strict)
    assert found == events(event, 20)
    if layout != "blank lines" or strict:  # else counting tells, after the parse
        assert [(f.key, f.records) for f in batch.files] == [(str(file), 20)]


@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_gzip_is_told_by_content_not_by_name(tmp_path, write, event, gathered, name, packed):
    write(tmp_path / "log" / name, events(event), "gzip" if packed else "lines")
    assert gathered(EVENTS, tmp_path / "log")[1] == events(event)


@pytest.mark.parametrize(
    "nothing",
    [
        b"",
        b"\n",
        b"\r\n \t\n",
        b"\xef\xbb\xbf",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"\n", mtime=0),
    ],
    ids=["empty", "line", "blank", "bom", "gzip of empty", "gzip of line"],
)
@pytest.mark.parametrize("strict", [False, True])
def test_an_empty_file_is_a_file_with_no_record(tmp_path, write, gathered, nothing, strict):
    write(tmp_path / "log/a.json", nothing)
    batch, found = gathered(EVENTS, tmp_path / "log", strict=strict)
    assert ([file.records for file in batch.files], batch.parts, found) == ([0], [], [])


def test_a_large_file_of_lines_is_parsed_where_it_lies(tmp_path, write, event, gathered):
    file = write(tmp_path / "log/large.json", [event(itemInSession=i) for i in range(3000)])
    write(tmp_path / "log/small.json", [event()])
    assert file.stat().st_size > 1 << 20
    batch, found = gathered(EVENTS, tmp_path / "log")
    assert batch.parts[:1] == [str(file)]
    assert batch.parts[1] != str(tmp_path / "log/small.json")
    assert {f.key: f.records for f in batch.files} == {
        str(file): 3000,
        str(tmp_path / "log/small.json"): 1,
    }
    assert len(found) == 3001


@pytest.mark.parametrize("layout", ["pretty", "gzip"])
def test_a_large_file_of_another_layout_is_rewritten(tmp_path, write, event, gathered, layout):
    many = [event(itemInSession=i, song=str(i) + os.urandom(450).hex()) for i in range(1500)]
    file = write(tmp_path / "log/large.json", many, layout)
    assert file.stat().st_size > files.LARGE
    batch, found = gathered(EVENTS, tmp_path / "log")
    assert len(batch.parts) == 1
    assert batch.parts != [str(file)]
    assert found == many


@pytest.mark.parametrize("name", ["plain.json.gz", "st*r.json", "wh[1]ch?.json"])
def test_a_large_file_whose_name_would_mislead_the_parser_is_rewritten(
    tmp_path, write, event, gathered, name
):
    many = [event(itemInSession=i) for i in range(3000)]
    file = write(tmp_path / "log" / name, many)
    batch, found = gathered(EVENTS, tmp_path / "log")
    assert batch.parts != [str(file)]
    assert found == many


def test_thousands_of_small_files_become_one_part(tmp_path, write, song, gathered):
    many = [song(song_id=f"SO{number:04}") for number in range(1200)]
    for number, record in enumerate(many):
        write(tmp_path / f"song/{number % 26}/{number:04}.json", [record], "no last line break")
    batch, found = gathered(SONGS, tmp_path / "song")
    assert (len(batch.files), batch.records, len(batch.parts)) == (1200, 1200, 1)
    assert sorted(found, key=lambda record: record["song_id"]) == many


# What is known


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_known_files_are_passed_over_and_new_ones_are_read(tmp_path, write, gathered, size):
    padding = b'{"song": "' + b"x" * size + b'"}\n'
    for name in ("a.json", "b.json"):
        write(tmp_path / "log" / name, padding)
    first, _ = gathered(EVENTS, tmp_path / "log")
    known = {file.key: file.content_hash for file in first.files}
    write(tmp_path / "log/c.json", b'{"song": "new"}')
    batch, found = gathered(EVENTS, tmp_path / "log", known)
    assert (batch.known, [file.key for file in batch.files]) == (2, [str(tmp_path / "log/c.json")])
    assert found == [{"song": "new"}]


# Bad records


BROKEN = {
    "not JSON": (b"artist,song\n1,2\n", "not valid JSON"),
    "cut off": (b'{"song": "a", "page": ', "not valid JSON"),
    "open string": (b'{"song": "a', "not valid JSON"),
    "comma left": (b'{"song": "a",}', "not valid JSON"),
    "raw control character": (b'{"song": "a\tb"}', "not valid JSON"),
    "NaN": (b'{"length": NaN}', "not valid JSON"),
    "array": (b'[{"song": "a"}]', "expected an object"),
    "number": (b"12", "expected an object"),
    "null": (b"null", "expected an object"),
    "not UTF-8": (b'{"song": "\xff\xfe"}', "not UTF-8 text"),
    "very deep": (b'{"song": ' + b"[" * 50_000, "not valid JSON (maximum recursion"),
    "key twice": (b'{"song": "a", "song": "b"}', "the key song stands twice in one object"),
    "empty object": (b"{}", "the record has no ts, as all events have"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_bad_record_is_left_out_with_its_line_and_those_around_it_stay(
    tmp_path, write, event, gathered, broken
):
    body, reason = BROKEN[broken]
    good = json.dumps(event()).encode()
    file = write(tmp_path / "log/a.json", b"\n".join([good, good, b"", body, good]))
    batch, found = gathered(EVENTS, file, strict=True)
    assert said(batch.rejects[0]).startswith(f"{file}, line 4: {reason}")
    assert len(batch.rejects) == 1 + body.count(b"\n", 0, -1)
    assert batch.rejects[0].raw_text[:10].encode() in body.splitlines()[0]
    assert found == [event()] * 3
    assert [(f.records, f.rejects) for f in batch.files] == [(3, len(batch.rejects))]


def test_a_bad_record_over_several_lines_is_one(tmp_path, write, event, gathered):
    pretty = json.dumps(event(), indent=2)
    body = f"{pretty}\n{pretty.replace(': ', ' ', 1)}\n{pretty}\n"
    file = write(tmp_path / "log/a.json", body.encode())
    batch, found = gathered(EVENTS, file, strict=True)
    assert (found, [one.line for one in batch.rejects]) == ([event()] * 2, [21])


@pytest.mark.parametrize(
    ("layout", "line"),
    [
        ("lines", 3),
        ("crlf", 3),
        ("blank lines", 7),
        ("several on a line", 1),
        ("pretty", 41),
        ("pretty, no break between", 39),
        ("gzip", 3),
        ("bom", 3),
    ],
)
@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_the_line_is_exact_in_each_layout(
    tmp_path, write, event, gathered, monkeypatch, layout, line, chunk
):
    monkeypatch.setattr(records, "PIECE", chunk)
    lines = [event(), event(), event(ts="yesterday"), event(ts="today")]
    file = write(tmp_path / "log/a.json", lines, layout)
    said = bad(EVENTS, file, gathered)
    assert said.startswith(f"{file}, line {line}: ts must be a whole number")
    assert "not 'yesterday'" in said


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("ts", None, "the record has no ts, as all events have"),
        ("page", None, "the record has no page, as all events have"),
        ("level", None, "the record has no level, as all events have"),
        ("sessionId", None, "the record has no sessionId, as all events have"),
        ("itemInSession", None, "the record has no itemInSession, as all events have"),
        ("ts", 1541106106796.5, "ts must be a whole number"),
        ("ts", [1], "ts must be a whole number"),
        ("ts", 10**30, "ts must be a whole number"),
        ("ts", "1_541", "ts must be a whole number"),
        ("ts", True, "ts must be a whole number"),
        ("status", 2**31, "status must be a whole number"),
        ("length", "long", "length must be a number, not 'long'"),
        ("length", {"s": 1}, "length must be a number, not \"{'s': 1}\""),
        ("length", "nan", "length must be a number, not 'nan'"),
        ("song", "\ud800", "not valid JSON"),
    ],
)
def test_what_a_value_should_have_been_is_said(
    tmp_path, write, event, gathered, field, value, said
):
    file = write(tmp_path / "log/a.json", [event(), event(**{field: value})])
    assert bad(EVENTS, file, gathered).startswith(f"{file}, line 2: {said}")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda packed: packed[:2], id="only its first bytes"),
        pytest.param(lambda packed: packed[:-9], id="cut off"),
        pytest.param(lambda packed: packed[:-8] + bytes(8), id="checksum"),
        pytest.param(lambda packed: packed[:10] + b"\xff" + packed[11:], id="content"),
    ],
)
def test_a_damaged_gzip_file_is_named(tmp_path, write, event, gathered, damage):
    packed = gzip.compress(json.dumps(event()).encode(), mtime=0)
    file = write(tmp_path / "log/a.json.gz", damage(packed))
    with pytest.raises(SourceError, match=f"^{file} can't be unpacked: .* Nothing was loaded.$"):
        gathered(EVENTS, file)
