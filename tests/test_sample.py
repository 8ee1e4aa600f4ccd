"""The sample promises: the real format and its dirt, the same bytes again, bounded memory."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime

import pytest

from lib import UserError, generator, sample, scratch

FIELDS = (
    *("artist", "auth", "firstName", "gender", "itemInSession", "lastName", "length", "level"),
    *("location", "method", "page", "registration", "sessionId", "song", "status", "ts"),
    *("userAgent", "userId"),
)
SONG_FIELDS = {
    *("artist_id", "artist_latitude", "artist_location", "artist_longitude", "artist_name"),
    *("duration", "num_songs", "song_id", "title", "year"),
}
SMALL, TINY = {"scale": 0.5, "songs": 700}, {"scale": 0.04, "songs": 5}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a small sample and the counts of its making."""
    folder = tmp_path_factory.mktemp("made") / "sample"
    return folder, sample.make(folder, **SMALL)


@pytest.fixture(scope="module")
def events(made):
    return [event for file in log_files(made[0]) for event in read_events(file)]


@pytest.fixture(scope="module")
def songs(made):
    return [record for text in song_texts(made[0]) for record in parse_all(text)]


@pytest.fixture(scope="module")
def plays(events):
    return [event for event in events if event["page"] == "NextSong"]


def log_files(folder):
    return sorted(folder.rglob("*-events*.json"))


def read_events(file):
    return [json.loads(line) for line in file.read_bytes().decode("ascii").split("\n")]


def song_texts(folder):
    return [file.read_text("ascii") for file in sorted((folder / "song_data").rglob("*.json"))]


def parse_all(text):
    """Return every JSON object in a text that may hold several, with or without space between."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text):
        record, at = decoder.raw_decode(text, at)
        found.append(record)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def digest(folder):
    """Return one hash of every name and every byte below `folder`."""
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        total.update(f"{file.relative_to(folder).as_posix()}\0".encode() + file.read_bytes())
    return total.hexdigest()


def pair(title, artist):
    return str(title).strip(), str(artist).strip()


def test_the_bytes_are_the_same_in_every_process_and_stay_what_they_were(tmp_path):
    """When this fails on purpose, raise VERSION, so that old samples are made anew."""
    command = [sys.executable, "-m", "lib.sample", tmp_path / "sample", "--scale", "0.1"]
    done = subprocess.run([*command, "--songs", "100"], check=True, capture_output=True, text=True)
    assert (sample.VERSION, digest(tmp_path / "sample")[:16]) == (1, "e02afb287ea21269")
    assert done.stdout == "1,210 events (1,052 plays), 100 songs, 127 files\n"
    marker = json.loads((tmp_path / "sample" / sample.MARKER).read_text())
    assert "Invented data" in marker["note"]


# The real format


def test_events_and_songs_have_the_real_fields_in_the_real_orders(events, songs):
    assert {tuple(event) for event in events} == {FIELDS}
    assert {frozenset(song) for song in songs} == {frozenset(SONG_FIELDS)}
    assert len({tuple(song) for song in songs}) == 2


def test_files_lie_where_the_real_ones_do_and_events_in_the_order_of_their_day(made):
    names = [file.relative_to(made[0]).as_posix() for file in log_files(made[0])]
    assert names == [f"log_data/2018/11/2018-11-{day:02}-events.json" for day in range(1, 31)]
    for file in log_files(made[0]):
        times = [event["ts"] for event in read_events(file)]
        assert times == sorted(times)
        days = {datetime.fromtimestamp(ts / 1000, UTC).date().isoformat() for ts in times}
        assert days == {file.name[:10]}
    for file in (made[0] / "song_data").rglob("*.json"):
        assert file.parts[-4:-1] == tuple(file.name[2:5])
        assert len(file.stem) == 18


def test_counts_are_those_of_the_files(made, events, songs, plays):
    folder, counts = made
    files = sum(1 for part in sample.PARTS for _ in (folder / part).rglob("*.json"))
    of = {"events": len(events), "plays": len(plays), "songs": len(songs), "files": files}
    users = len({event["userId"] for event in events} - {""})
    assert counts == of | {"users": users, "made": True}
    assert len({song["song_id"] for song in songs}) == len(songs) == 700


def test_logged_out_events_tell_nothing_of_the_user(events):
    out = [event for event in events if event["auth"] == "Logged Out"]
    known = {"auth", "itemInSession", "level", "method", "page", "sessionId", "status", "ts"}
    assert {event["userId"] for event in out} == {""}
    assert {event[field] for event in out for field in set(FIELDS) - known - {"userId"}} == {None}
    assert {"Home", "Login"} <= {event["page"] for event in out}
    assert all(event["userId"] and event["firstName"] for event in events if event not in out)


# People and their habits


def test_level_follows_what_was_submitted_and_some_change_it_twice_within_an_hour(events):
    pages = Counter(event["page"] for event in events)
    assert (pages["Submit Upgrade"], pages["Submit Downgrade"]) == (5, 2)
    current, submitted = {}, defaultdict(dict)
    for event in events:
        user, level = event["userId"], event["level"]
        if user:
            assert current.setdefault(user, level) == level
            if event["page"].startswith("Submit"):
                current[user] = generator.OTHER[level]
                submitted[user][event["page"]] = event["ts"]
    both = [pages for pages in submitted.values() if len(pages) == 2]
    waits = [pages["Submit Downgrade"] - pages["Submit Upgrade"] for pages in both]
    assert any(0 < wait < 3_600_000 for wait in waits)


# What matches


@pytest.mark.parametrize("matched", [0, 0.5, 1])
def test_as_many_plays_match_as_asked_whatever_their_padding(tmp_path, matched):
    sample.make(tmp_path / "sample", scale=0.5, songs=300, matched=matched)
    texts = song_texts(tmp_path / "sample")
    songs = [record for text in texts for record in parse_all(text)]
    known = {pair(song["title"], song["artist_name"]) for song in songs}
    events = [event for file in log_files(tmp_path) for event in read_events(file)]
    plays = [event for event in events if event["page"] == "NextSong"]
    matches = [play for play in plays if pair(play["song"], play["artist"]) in known]
    share = len(matches) / len(plays)
    assert share == pytest.approx(matched, abs=0.02 if 0 < matched < 1 else 0)
    assert any(play["song"] != play["song"].strip() for play in matches) == (matched > 0)


# The dirt


def test_songs_hold_the_dirt_of_the_real_ones(songs):
    for dirt, is_dirty in {
        "a title that is a fraction": lambda song: isinstance(song["title"], float),
        "a title that is a number": lambda song: isinstance(song["title"], int),
        "an artist that is a number": lambda song: isinstance(song["artist_name"], int),
        "a location that is a number": lambda song: isinstance(song["artist_location"], int),
        "a padded title": lambda song: str(song["title"]).endswith(" "),
        "a padded artist": lambda song: str(song["artist_name"]).startswith(" "),
        "a padded location": lambda song: str(song["artist_location"]).startswith(" "),
        "an entity in a location": lambda song: "&amp;" in str(song["artist_location"]),
        "an entity in a title": lambda song: "&#160;" in str(song["title"]),
        "a link in a location": lambda song: "<a href=" in str(song["artist_location"]),
        "a control character": lambda song: "\x19" in str(song["title"]),
        "a title beyond ASCII": lambda song: not str(song["title"]).isascii(),
        "an artist beyond ASCII": lambda song: not str(song["artist_name"]).isascii(),
        "a guest": lambda song: " feat. " in str(song["artist_name"]),
        "no year": lambda song: song["year"] == 0,
        "no place": lambda song: song["artist_location"] == "",
    }.items():
        assert any(map(is_dirty, songs)), dirt
    pairs = {(s["artist_latitude"] is None, s["artist_longitude"] is None) for s in songs}
    assert pairs == {(True, True), (False, False)}
    names = defaultdict(set)
    for song in songs:
        names[song["artist_id"]].add(str(song["artist_name"]))
    assert any(len(known) > 1 for known in names.values()), "an artist of several names"


def test_files_come_in_every_real_shape(made, plays):
    texts = song_texts(made[0])
    for shape in ("}{", "}\n{", '{\n    "', r"\/", r"\u00"):
        assert any(shape in text for text in texts), shape
    log = "\n".join(file.read_text("ascii") for file in log_files(made[0]))
    assert r'"userAgent":"\"Mozilla\/5.0 (' in log
    assert r'"userAgent":"Mozilla\/5.0 (' in log
    played = {play[field] for play in plays for field in ("song", "artist")}
    twice = next(text for text in played if "Ã\x83" in text)  # encoded twice
    assert {"é", "ö"} & set(twice.encode("latin-1").decode().encode("latin-1").decode())
    assert any("\x19" in text for text in played)


# Making it once, safely


def test_a_second_make_writes_nothing(made):
    folder, counts = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert sample.make(folder, **SMALL) == counts | {"made": False}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


@pytest.mark.parametrize("change", [{"seed": 2}, {"scale": 0.08}, {"songs": 6}, {"matched": 1}])
def test_other_parameters_another_version_or_a_lost_file_replace_the_sample(
    tmp_path, change, monkeypatch
):
    folder, clean = tmp_path / "sample", tmp_path / "clean"
    sample.make(folder, **TINY)
    before = digest(folder)
    assert sample.make(folder, **TINY | change)["made"]
    sample.make(clean, **TINY | change)
    assert digest(folder) == digest(clean) != before
    log_files(folder)[0].unlink()
    assert not sample.is_whole(folder)
    assert sample.make(folder, **TINY | change)["made"]
    assert digest(folder) == digest(clean)
    monkeypatch.setattr(sample, "VERSION", sample.VERSION + 1)
    assert sample.make(folder, **TINY | change)["made"]
    assert sorted(os.listdir(tmp_path)) == ["clean", "sample"]


def test_two_processes_at_once_end_with_one_whole_sample(tmp_path):
    sample.make(tmp_path / "sample", **TINY, seed=2)
    words = [sys.executable, "-m", "lib.sample", tmp_path / "sample", "--scale", "0.04"]
    both = [subprocess.Popen([*words, "--songs", "5"]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    sample.make(tmp_path / "clean", **TINY)
    assert digest(tmp_path / "sample") == digest(tmp_path / "clean")
    assert sorted(os.listdir(tmp_path)) == ["clean", "sample"]


@pytest.mark.parametrize(
    ("fault", "raised"),
    [(KeyboardInterrupt, KeyboardInterrupt), (OSError(28, "No space left"), UserError)],
)
def test_an_interrupted_make_leaves_what_was_there_whole_and_nothing_else(
    tmp_path, monkeypatch, fault, raised
):
    def fail(*_):
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(generator, "_write_days", fail)
        with pytest.raises(raised):
            sample.make(tmp_path / "sample", **TINY)
        assert os.listdir(tmp_path) == []
    sample.make(tmp_path / "sample", **TINY)
    before = digest(tmp_path)
    monkeypatch.setattr(generator, "_write_days", fail)
    with pytest.raises(raised):
        sample.make(tmp_path / "sample", **TINY, seed=2)
    assert digest(tmp_path) == before


def test_what_a_killed_process_left_is_cleared_by_the_next_one(tmp_path):
    folder = tmp_path / "sample"
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    for action in (lambda: sample.make(folder, **TINY), lambda: sample.remove(folder)):
        left = tmp_path / f".sparkify-{process.pid}-{scratch.HOST}-x" / "log_data"
        left.mkdir(parents=True)
        assert sample.has_remains(folder)
        action()
        assert not left.parent.exists()
    assert not sample.has_remains(folder)


@pytest.mark.parametrize("marker", [None, "[]", '{"made_by": "someone else"}'])
def test_a_foreign_folder_is_neither_replaced_nor_removed(tmp_path, marker):
    (tmp_path / "log_data").mkdir()
    (tmp_path / "log_data" / "mine.json").write_text("{}")
    if marker:
        (tmp_path / sample.MARKER).write_text(marker)
    before = digest(tmp_path)
    for action in (lambda: sample.make(tmp_path, **TINY), lambda: sample.remove(tmp_path)):
        with pytest.raises(UserError, match=r"not empty .* move what is there away"):
            action()
    assert digest(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("notes.txt", r"notes\.txt is not part of the sample"),
        ("log_data/mine.json", "1 files more than the sample has"),
    ],
)
def test_a_file_beside_or_among_those_of_the_sample_is_never_deleted(tmp_path, name, said):
    folder = tmp_path / "sample"
    sample.make(folder, **TINY)
    (folder / name).write_text("mine")
    assert not sample.make(folder, **TINY)["made"]
    for action in (lambda: sample.make(folder, **TINY, seed=2), lambda: sample.remove(folder)):
        with pytest.raises(UserError, match=said):
            action()
    assert (folder / name).read_text() == "mine"
    (folder / name).rename(folder / ".DS_Store")
    sample.remove(folder)
    assert not folder.exists()


@pytest.mark.parametrize(
    "wrong", [{"scale": 0}, {"scale": float("nan")}, {"songs": 0}, {"matched": 1.1}]
)
def test_a_wrong_parameter_is_refused_with_what_was_expected(tmp_path, wrong):
    with pytest.raises(UserError, match=r"above 0, and matched a share from 0 to 1\."):
        sample.make(tmp_path / "sample", **wrong)
    assert os.listdir(tmp_path) == []


# Any size


def test_more_scale_takes_no_more_memory(tmp_path):
    """Peak memory at 32 shards stays within a tenth of that at 4, in processes of their own."""
    pytest.importorskip("resource", reason="only POSIX tells a process's peak memory")
    code = (
        "import resource, sys; from lib import UserError, generator, sample; generator.SHARD = 25;"
        "sample.make(sys.argv[1], scale=float(sys.argv[2]), songs=10);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peak = {}
    for scale in ("1", "8"):
        command = [sys.executable, "-c", code, tmp_path / scale, scale]
        peak[scale] = int(subprocess.run(command, check=True, capture_output=True).stdout)
    assert peak["8"] < 1.1 * peak["1"]


# The command line


def test_the_command_ends_with_one_sentence_and_code_2_on_an_error(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert sample.main([str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert str(tmp_path) in said.err
