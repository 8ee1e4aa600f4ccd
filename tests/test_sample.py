"""The sample promises: the real format and its dirt, the same bytes again, bounded memory."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

from lib import generator, sample, scratch

FIELDS = (
    *("artist", "auth", "firstName", "gender", "itemInSession", "lastName", "length", "level"),
    *("location", "method", "page", "registration", "sessionId", "song", "status", "ts"),
    *("userAgent", "userId"),
)
SONG_FIELDS = {
    *("artist_id", "artist_latitude", "artist_location", "artist_longitude", "artist_name"),
    *("duration", "num_songs", "song_id", "title", "year"),
}
SMALL = {"scale": 0.5, "songs": 700}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder of a small sample and the counts of its making."""
    folder = tmp_path_factory.mktemp("made") / "sample"
    return folder, sample.make(folder, **SMALL)


@pytest.fixture(scope="module")
def events(made):
    return [json.loads(line) for file in log_files(made[0]) for line in lines(file)]


@pytest.fixture(scope="module")
def songs(made):
    return [record for text in song_texts(made[0]) for record in objects(text)]


@pytest.fixture(scope="module")
def plays(events):
    return [event for event in events if event["page"] == "NextSong"]


def log_files(folder):
    return sorted((folder / "log_data").rglob("*.json"))


def lines(file):
    return file.read_bytes().decode("ascii").split("\n")


def song_texts(folder):
    return [file.read_text("ascii") for file in sorted((folder / "song_data").rglob("*.json"))]


def objects(text):
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


def catalogue(songs):
    """Return the durations of each (title, artist) of the catalogue."""
    durations = defaultdict(list)
    for song in songs:
        durations[pair(song["title"], song["artist_name"])].append(song["duration"])
    return durations


# The same bytes


def test_the_bytes_are_the_same_in_every_process_and_stay_what_they_were(tmp_path):
    """When this fails on purpose, raise VERSION, so that old samples are made anew."""
    command = [sys.executable, "-m", "lib.sample", tmp_path / "sample", "--scale", "0.1"]
    done = subprocess.run([*command, "--songs", "100"], check=True, capture_output=True, text=True)
    assert (sample.VERSION, digest(tmp_path / "sample")[:16]) == (1, "e02afb287ea21269")
    assert done.stdout == "1,210 events (1,052 plays), 100 songs, 127 files\n"
    assert sample.make(tmp_path / "sample", scale=0.1, songs=100)["made"] is False


# The real format


def test_events_have_the_real_fields_in_the_real_order(events):
    assert {tuple(event) for event in events} == {FIELDS}


def test_songs_have_the_real_fields_in_two_orders(songs):
    assert {frozenset(song) for song in songs} == {frozenset(SONG_FIELDS)}
    assert len({tuple(song) for song in songs}) == 2


def test_files_lie_where_the_real_ones_do(made):
    names = [file.relative_to(made[0]).as_posix() for file in log_files(made[0])]
    assert names == [f"log_data/2018/11/2018-11-{day:02}-events.json" for day in range(1, 31)]
    for file in (made[0] / "song_data").rglob("*.json"):
        assert file.parts[-4:-1] == tuple(file.name[2:5])
        assert len(file.stem) == 18


def test_counts_are_those_of_the_files(made, events, songs, plays):
    folder, counts = made
    files = sum(1 for part in sample.PARTS for _ in (folder / part).rglob("*.json"))
    users = {event["userId"] for event in events} - {""}
    assert counts == {
        "events": len(events),
        "plays": len(plays),
        "songs": len(songs),
        "users": len(users),
        "files": files,
        "made": True,
    }
    assert len({song["song_id"] for song in songs}) == len(songs) == 700


def test_events_are_sorted_and_lie_in_the_file_of_their_day(made):
    for file in log_files(made[0]):
        times = [json.loads(line)["ts"] for line in lines(file)]
        assert times == sorted(times)
        days = {datetime.fromtimestamp(ts / 1000, UTC).date().isoformat() for ts in times}
        assert days == {file.name[:10]}


def test_each_page_has_the_method_status_and_level_of_the_real_app(events):
    assert {(event["page"], event["method"], event["status"]) for event in events} <= {
        (page, *answer) for page, answer in generator.PAGES.items()
    }
    levels = defaultdict(set)
    for event in events:
        levels[event["page"]].add(event["level"])
    assert levels["Submit Upgrade"] == levels["Upgrade"] == {"free"}
    assert levels["Submit Downgrade"] == levels["Downgrade"] == {"paid"}


def test_logged_out_events_tell_nothing_of_the_user(events):
    out = [event for event in events if event["auth"] == "Logged Out"]
    known = {"auth", "itemInSession", "level", "method", "page", "sessionId", "status", "ts"}
    assert {event["userId"] for event in out} == {""}
    assert {event[field] for event in out for field in set(FIELDS) - known - {"userId"}} == {None}
    assert {"Home", "Login"} <= {event["page"] for event in out}
    assert all(event["userId"] and event["firstName"] for event in events if event not in out)


def test_items_of_a_session_count_from_zero_in_the_order_of_the_file(events):
    sessions = defaultdict(list)
    for event in events:
        sessions[event["sessionId"]].append(event)
    shared = [s for s in sessions.values() if len({e["userId"] for e in s} - {""}) > 1]
    assert shared, "a few session ids belong to two users"
    for session in sessions.values():
        if session not in shared:
            items = [event["itemInSession"] for event in session]
            assert items == list(range(len(items)))


def test_the_next_song_starts_when_one_ends(events):
    gaps = Counter()
    sessions = defaultdict(list)
    for event in events:
        if event["userId"]:
            sessions[event["sessionId"], event["userId"]].append(event)
    for session in sessions.values():
        for one, two in pairwise(session):
            if one["page"] == two["page"] == "NextSong":
                gaps[two["ts"] - one["ts"] == int(one["length"]) * 1000] += 1
    assert set(gaps) == {True}


def test_texts_are_escaped_as_in_the_real_files(made):
    text = "\n".join(line for file in log_files(made[0]) for line in lines(file))
    assert r'"userAgent":"\"Mozilla\/5.0 (' in text
    assert r'"userAgent":"Mozilla\/5.0 (' in text
    assert '"registration":1540' in text
    assert '796.0,"sessionId"' in text


# People and their habits


def test_levels_change_in_both_directions(events):
    pages = Counter(event["page"] for event in events)
    assert (pages["Submit Upgrade"], pages["Submit Downgrade"]) == (5, 2)


def test_level_follows_what_was_submitted_and_some_change_it_twice_within_an_hour(events):
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


def test_few_people_who_pay_bring_most_plays_and_a_few_users_and_artists_stand_out(plays):
    paid = [play for play in plays if play["level"] == "paid"]
    assert 0.6 < len(paid) / len(plays) < 0.9
    assert len({play["userId"] for play in paid}) < 0.4 * len({play["userId"] for play in plays})
    for field, share in (("userId", 0.45), ("artist", 0.08)):
        top = Counter(play[field] for play in plays).most_common()
        assert sum(count for _, count in top[:10]) / len(plays) > share
        assert top[len(top) // 2][1] < top[0][1] / 20


def test_afternoons_are_busy_and_weekends_quiet(tmp_path):
    sample.make(tmp_path / "sample", scale=2, songs=10)
    hours, weekend, count = Counter(), 0, 0
    for file in log_files(tmp_path / "sample"):
        for line in lines(file):
            time = datetime.fromtimestamp(json.loads(line)["ts"] / 1000, UTC)
            hours[time.hour] += 1
            weekend += time.weekday() >= 5
            count += 1
    assert 13 <= max(hours, key=hours.get) <= 18
    assert max(hours.values()) > 2.5 * min(hours.values())
    assert weekend / count < 0.75 * 8 / 30  # 8 of the 30 days


# What matches


@pytest.mark.parametrize("matched", [0, 0.5, 1])
def test_as_many_plays_match_as_asked(tmp_path, matched):
    folder = tmp_path / "sample"
    sample.make(folder, scale=0.5, songs=300, matched=matched)
    known = catalogue(record for text in song_texts(folder) for record in objects(text))
    found = [
        pair(event["song"], event["artist"]) in known
        for file in log_files(folder)
        for event in map(json.loads, lines(file))
        if event["page"] == "NextSong"
    ]
    assert sum(found) / len(found) == pytest.approx(matched, abs=0.02 if 0 < matched < 1 else 0)


def test_matches_survive_padding_and_other_lengths(plays, songs):
    known = catalogue(songs)
    matches = [play for play in plays if pair(play["song"], play["artist"]) in known]
    assert any(play["song"] != play["song"].strip() for play in matches)
    equal = [p["length"] in known[pair(p["song"], p["artist"])] for p in matches]
    assert 0.85 < sum(equal) / len(equal) < 1


def test_a_title_alone_does_not_match_and_title_and_artist_may_be_there_twice(plays, songs):
    known = catalogue(songs)
    titles = {title for title, _ in known}
    decoys = [p for p in plays if p["song"].strip() in titles]
    decoys = [p for p in decoys if pair(p["song"], p["artist"]) not in known]
    assert len(decoys) > 0.02 * len(plays)
    assert any(len(set(lengths)) > 1 for lengths in known.values())


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
    }.items():
        assert any(map(is_dirty, songs)), dirt


def test_songs_lack_what_the_real_ones_lack(songs):
    def share(is_missing):
        return sum(map(is_missing, songs)) / len(songs)

    assert 0.3 < share(lambda song: song["year"] == 0) < 0.5
    assert 0.55 < share(lambda song: song["artist_latitude"] is None) < 0.75
    assert 0.4 < share(lambda song: song["artist_location"] == "") < 0.6
    pairs = {(s["artist_latitude"] is None, s["artist_longitude"] is None) for s in songs}
    assert pairs == {(True, True), (False, False)}
    assert {song["num_songs"] for song in songs} == {1}


def test_artists_have_several_names_and_titles_several_artists(songs):
    names, artists = defaultdict(set), defaultdict(set)
    for song in songs:
        names[song["artist_id"]].add(str(song["artist_name"]))
        artists[str(song["title"])].add(song["artist_id"])
    assert any(len(n) > 1 and any(" feat. " in name for name in n) for n in names.values())
    assert any(len(a) > 1 for a in artists.values())


def test_song_files_come_in_every_real_shape(made):
    texts = song_texts(made[0])
    assert any("}{" in text for text in texts), "objects back to back"
    assert any("}\n{" in text for text in texts), "objects on lines"
    assert any('{\n    "' in text for text in texts), "pretty-printed"
    assert any(r"\/" in text for text in texts), "escaped slashes"
    assert any(r"\u00" in text for text in texts), "escaped letters"
    assert all(len(objects(text)) >= 1 for text in texts)


def test_played_texts_are_garbled_as_in_the_real_logs(plays):
    texts = {play[field] for play in plays for field in ("song", "artist")}
    twice = [text for text in texts if "Ã\x83" in text]
    once = twice[0].encode("latin-1").decode().encode("latin-1").decode()
    assert "é" in once or "ö" in once
    assert any("\x19" in text for text in texts)
    assert any("'" in text for text in texts)


def test_a_reader_sees_that_it_is_invented(made):
    marker = json.loads((made[0] / sample.MARKER).read_text())
    assert "Invented data" in marker["note"]
    assert "invented" in sample.__doc__


# Making it once, safely


def test_a_second_make_writes_nothing(made):
    folder, counts = made
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert sample.make(folder, **SMALL) == counts | {"made": False}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


TINY = {"scale": 0.04, "songs": 5}


@pytest.mark.parametrize("change", [{"seed": 2}, {"scale": 0.08}, {"songs": 6}, {"matched": 1}])
def test_other_parameters_give_other_bytes_and_replace_the_sample(tmp_path, change):
    folder, clean = tmp_path / "sample", tmp_path / "clean"
    sample.make(folder, **TINY)
    before = digest(folder)
    assert sample.make(folder, **TINY | change)["made"]
    sample.make(clean, **TINY | change)
    assert digest(folder) == digest(clean) != before
    assert sorted(os.listdir(tmp_path)) == ["clean", "sample"]


def test_a_sample_of_another_version_or_that_lost_a_file_or_part_is_made_anew(
    tmp_path, monkeypatch
):
    folder = tmp_path / "sample"
    sample.make(folder, **TINY)
    before = digest(folder)
    (folder / "log_data").rename(tmp_path / "lost")
    assert sample.make(folder, **TINY)["made"]
    log_files(folder)[0].unlink()
    assert not sample.is_whole(folder)
    assert sample.make(folder, **TINY)["made"]
    assert digest(folder) == before
    monkeypatch.setattr(sample, "VERSION", sample.VERSION + 1)
    assert sample.make(folder, **TINY)["made"]


@pytest.mark.parametrize(
    ("fault", "raised"),
    [(KeyboardInterrupt, KeyboardInterrupt), (OSError(28, "No space left"), sample.SampleError)],
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


def test_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "sample").mkdir()
    assert sample.make(tmp_path / "sample", **TINY)["made"]


@pytest.mark.parametrize("marker", [None, "not JSON", "[]", '{"made_by": "someone else"}'])
def test_a_foreign_folder_is_neither_replaced_nor_removed(tmp_path, marker):
    (tmp_path / "log_data").mkdir()
    (tmp_path / "log_data" / "mine.json").write_text("{}")
    if marker:
        (tmp_path / sample.MARKER).write_text(marker)
    before = digest(tmp_path)
    for action in (lambda: sample.make(tmp_path, **TINY), lambda: sample.remove(tmp_path)):
        with pytest.raises(sample.SampleError, match=r"not empty .* move what is there away"):
            action()
    assert digest(tmp_path) == before


def test_a_file_beside_the_sample_is_never_deleted(tmp_path):
    folder = tmp_path / "sample"
    sample.make(folder, **TINY)
    (folder / "notes.txt").write_text("mine")
    assert not sample.make(folder, **TINY)["made"]
    for action in (lambda: sample.make(folder, **TINY, seed=2), lambda: sample.remove(folder)):
        with pytest.raises(sample.SampleError, match=r"notes\.txt is not part of the sample"):
            action()
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_file_put_among_those_of_the_sample_is_never_deleted(tmp_path):
    folder = tmp_path / "sample"
    sample.make(folder, **TINY)
    own = folder / "log_data" / "2019" / "mine.json"
    own.parent.mkdir()
    own.write_text("mine")
    assert not sample.make(folder, **TINY)["made"]
    for action in (lambda: sample.make(folder, **TINY, seed=2), lambda: sample.remove(folder)):
        with pytest.raises(sample.SampleError, match=r"1 files more than the sample has"):
            action()
    assert own.read_text() == "mine"
    own.rename(own.with_name(".DS_Store"))
    sample.remove(folder)
    assert not folder.exists()


@pytest.mark.parametrize("function", ["pathlib.Path.rename", "shutil.rmtree"])
def test_a_sample_that_can_not_be_removed_is_one_sentence(tmp_path, monkeypatch, function):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    sample.make(tmp_path / "sample", **TINY)
    monkeypatch.setattr(function, refuse)
    with pytest.raises(sample.SampleError, match=r"can't be removed: Permission denied; put"):
        sample.remove(tmp_path / "sample")


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "sample").write_text("a file")
    with pytest.raises(sample.SampleError, match="can't be written"):
        sample.make(tmp_path / "sample", **TINY)


def test_remove_deletes_a_sample_and_nothing_else(tmp_path):
    sample.make(tmp_path / "sample", **TINY)
    (tmp_path / "mine.txt").write_text("mine")
    for folder in ("sample", "sample", "nowhere/sample"):
        sample.remove(tmp_path / folder)
    assert os.listdir(tmp_path) == ["mine.txt"]


@pytest.mark.parametrize("before", [{}, {"seed": 2}])
def test_two_processes_at_once_end_with_one_whole_sample(tmp_path, before):
    if before:
        sample.make(tmp_path / "sample", **TINY, **before)
    words = [sys.executable, "-m", "lib.sample", tmp_path / "sample", "--scale", "0.04"]
    both = [subprocess.Popen([*words, "--songs", "5"]) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    sample.make(tmp_path / "clean", **TINY)
    assert digest(tmp_path / "sample") == digest(tmp_path / "clean")
    assert sorted(os.listdir(tmp_path)) == ["clean", "sample"]


@pytest.mark.parametrize(
    "wrong", [{"scale": 0}, {"scale": float("nan")}, {"songs": 0}, {"matched": 1.1}]
)
def test_a_wrong_parameter_is_refused_with_what_was_expected(tmp_path, wrong):
    with pytest.raises(sample.SampleError, match=r"above 0, and matched a share from 0 to 1\."):
        sample.make(tmp_path / "sample", **wrong)
    assert os.listdir(tmp_path) == []


# Any size


def test_shards_write_files_of_their_own_and_share_no_user(tmp_path, monkeypatch):
    monkeypatch.setattr(generator, "SHARD", 20)
    counts = sample.make(tmp_path / "sample", scale=0.5, songs=10)
    users, total = defaultdict(set), 0
    for file in log_files(tmp_path / "sample"):
        _, _, shard = file.stem[10:].partition("events")
        events = [json.loads(line) for line in lines(file)]
        users[shard] |= {event["userId"] for event in events} - {""}
        total += len(events)
    assert set(users) == {"", "-0001", "-0002"}
    assert total == counts["events"]
    assert sum(map(len, users.values())) == len(set().union(*users.values())) == 50


def test_more_scale_takes_no_more_memory(tmp_path):
    """Peak memory at 32 shards stays within a tenth of that at 4, in processes of their own."""
    pytest.importorskip("resource", reason="only POSIX tells a process's peak memory")
    code = (
        "import resource, sys; from lib import generator, sample; generator.SHARD = 25;"
        "sample.make(sys.argv[1], scale=float(sys.argv[2]), songs=10);"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peak = {}
    for scale in ("1", "8"):
        command = [sys.executable, "-c", code, tmp_path / scale, scale]
        peak[scale] = int(subprocess.run(command, check=True, capture_output=True).stdout)
    assert peak["8"] < 1.1 * peak["1"]


# The command line


def test_the_command_ends_with_one_sentence_and_code_2_on_an_error(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    command = [sys.executable, "-m", "lib.sample", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert str(Path(tmp_path)) in done.stderr
