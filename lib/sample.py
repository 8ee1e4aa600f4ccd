"""A sample: Sparkify app events and song metadata in the real format, real dirt included.

All of it is invented. People, artists, songs and ids are made from the word lists in sample.toml;
only the names of US metro areas, cities and browsers are real, and public. Equal parameters give
equal bytes on every platform: nothing draws from more than `random.random`, and no arithmetic goes
beyond what IEEE 754 rounds exactly.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from errno import EACCES
from itertools import accumulate, product
from pathlib import Path
from random import Random

from lib import UserError

try:
    import fcntl
except ImportError:  # Windows: there, two processes must not make the same sample at once
    fcntl = None

VERSION = 1  # raise it whenever the bytes change
MARKER, PARTS, MADE_BY = "sample.json", ("log_data", "song_data"), "lib.sample"
UNFINISHED, FINDERS = ("partial", "old"), ".DS_Store"  # macOS leaves one in each folder it shows
NOTE = "Invented data in the Sparkify format: no person, artist, song or play in it is real."

DATA = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
WORDS = {name: words.split() for name, words in DATA["words"].items()}
WORDS["first"] = WORDS["F"] + WORDS["M"]
QUANTILES, PAGES, VISITS = DATA["quantiles"], DATA["pages"], DATA["visits"]
DIRT = {number: (field, change) for number, field, change in DATA["songs"]["dirt"]}
TWICE, PRETTY, GLUED = 24, 26, {28: "", 30: "\n", 31: "\n"}  # further dirt, numbered as DIRT is
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

START, DAYS, DAY = 1_541_030_400, 30, 86_400  # 2018-11-01 00:00 UTC, a month of days, in seconds
END = START + DAYS * DAY
STARTS = [  # the weight of each hour of the month, as a sum with those before it
    *accumulate(
        DATA["rhythm"]["weekdays"][day % 7] * weight
        for day, weight in product(range(DAYS), DATA["rhythm"]["hours"])
    )
]
USERS = 100  # for each unit of scale; they leave about 8,000 events
SHARD = 2_000  # users simulated, sorted and written at a time: it bounds the memory
SLOTS = 40_000  # what may be played, at scale 1 and above: popular songs hold many slots
KNOWN = 3_000  # of the catalogue's songs: those that people play
# Of 50 users in a row: the level they start with, and how often it changes; the others stay free.
KINDS = dict.fromkeys((0, 7, 15, 23, 31, 39, 47), ("paid", 0)) | {1: ("free", 2), 2: ("paid", 1)}
KINDS |= dict.fromkeys((4, 14, 24, 34), ("free", 1))
SPREAD = 0.7320508  # its multiples are spread evenly: how many are busy is not left to chance
OTHER = {"free": "paid", "paid": "free"}

# One event as text; what differs from song to song stands at the \0.
EVENT = (
    '{{"artist":\0,"auth":"{auth}","firstName":{first},"gender":{gender},"itemInSession":\0,'
    '"lastName":{last},"length":\0,"level":"{level}","location":{location},"method":"{method}",'
    '"page":"{page}","registration":{registration},"sessionId":\0,"song":\0,'
    '"status":{status},"ts":\x00796,"userAgent":{agent},"userId":{id}}}'
)
USER = {"gender": "FFFFMMM", "last": WORDS["last"]} | DATA["events"]
NOBODY = dict.fromkeys((*USER, "first", "registration"), "null") | {"id": '""'}


class SampleError(UserError, ValueError):
    """A sample that can't be made, or removed, as asked."""


def make(
    folder: Path, scale: float = 1, seed: int = 1, songs: int = 15_000, matched: float = 0.05
) -> dict:
    """Write the sample below `folder` (log_data/, song_data/) unless it is there already.

    `scale`: 1 is about 8,000 events of 100 users in 30 days; more scale is more users.
    `seed`: another one gives other people, songs and plays.
    `songs`: song records in the catalogue.
    `matched`: share of plays, 0 to 1, whose title and artist are in the catalogue.
    Returns the counts `events`, `plays`, `songs`, `users`, `files`, and `made`: whether it wrote.
    """
    _check(scale, seed, songs, matched)
    folder = Path(folder).resolve()
    asked = {"scale": float(scale), "seed": seed, "songs": songs, "matched": float(matched)}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _alone(folder.parent):
            found = _marker(folder)
            if is_whole(folder) and (found["version"], found["parameters"]) == (VERSION, asked):
                return found["counts"] | {"made": False}
            return _build(folder, asked) | {"made": True}
    except OSError as error:
        reason = f"The sample can't be written to {folder}: {error.strerror or error}"
        raise SampleError(f"{reason}; put that right or name another folder.") from error


def remove(folder: Path) -> None:
    """Delete the sample in `folder`, if there is one; refuse whatever else lies there."""
    folder = Path(folder).resolve()
    try:
        if folder.parent.is_dir():
            with _alone(folder.parent):
                if _marker(folder):
                    _check_strays(folder)
                    folder.rename(_beside(folder, "old"))  # first: no half of it is ever seen
                _clean(folder)
                if has_remains(folder):
                    raise PermissionError(EACCES, "not all of it is yours")
    except OSError as error:
        reason = f"The sample in {folder} can't be removed: {error.strerror or error}"
        raise SampleError(f"{reason}; put that right and try again.") from error


def is_whole(folder: Path) -> bool:
    """Tell whether the sample in `folder` has every file that was made; refuse what is none."""
    found = folder.is_dir() and _marker(folder)
    return bool(found) and _count_files(folder) >= found["counts"]["files"]


def has_remains(folder: Path) -> bool:
    """Tell whether a sample, or what an interrupted process has left of one, is there."""
    return any(os.path.lexists(at) for at in (folder, *(_beside(folder, s) for s in UNFINISHED)))


def _count_files(folder: Path) -> int:
    names = (name for part in PARTS for *_, names in os.walk(folder / part) for name in names)
    return sum(name != FINDERS for name in names)


def _check(scale: float, seed: int, songs: int, matched: float) -> None:
    for name, value, fits, expected in (
        ("scale", scale, 0 < scale < math.inf, "a number above 0, such as 1 for 8,000 events"),
        ("seed", seed, isinstance(seed, int), "a whole number, such as 1"),
        ("songs", songs, isinstance(songs, int) and songs > 0, "a whole number above 0"),
        ("matched", matched, 0 <= matched <= 1, "a share from 0 to 1, such as 0.05"),
    ):
        if not fits:
            raise SampleError(f"{name} is {value!r}; it must be {expected}.")


@contextmanager
def _alone(parent: Path) -> Iterator[None]:
    """Let processes that make the same sample take turns; the lock ends with its process."""
    if fcntl is None:
        yield
        return
    handle = os.open(parent, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives can't lock
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _marker(folder: Path) -> dict | None:
    """Return what the marker in `folder` says; None when nothing lies there, else refuse."""
    if not folder.exists() or not any(folder.iterdir()):
        return None
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        found = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        if found["made_by"] == MADE_BY:
            return found
    what = f"{folder} is not empty and holds no {MARKER} of this project"
    raise SampleError(f"{what}; move what is there away or name another folder.")


def _check_strays(folder: Path) -> None:
    for name in sorted(set(os.listdir(folder)) - {MARKER, *PARTS, FINDERS}):
        what = f"{folder / name} is not part of the sample and would be deleted with it"
        raise SampleError(f"{what}; move it away or name another folder.")
    found = _marker(folder)
    if found and (more := _count_files(folder) - found["counts"]["files"]) > 0:
        what = f"{folder} holds {more:,} files more than the sample has, which would be deleted"
        raise SampleError(f"{what} with it; move them away or name another folder.")


def _beside(folder: Path, state: str) -> Path:
    return folder.with_name(f".{folder.name}.{state}")


def _clean(folder: Path) -> None:
    """Delete unfinished work beside `folder`, left by an error, Ctrl-C or a kill."""
    for state in UNFINISHED:
        shutil.rmtree(_beside(folder, state), ignore_errors=True)


def _build(folder: Path, asked: dict) -> dict:
    """Make the sample beside `folder`, then put it in the place of what was there."""
    if folder.exists():
        _check_strays(folder)
    _clean(folder)
    try:
        partial = _beside(folder, "partial")
        counts = _write(partial, **asked)
        marker = {"note": NOTE, "made_by": MADE_BY, "version": VERSION, "parameters": asked}
        text = json.dumps(marker | {"counts": counts}, indent=2) + "\n"
        (partial / MARKER).write_bytes(text.encode())
        if folder.exists():
            folder.rename(_beside(folder, "old"))
        partial.rename(folder)
    finally:
        _clean(folder)
    return counts


def _write(folder: Path, scale: float, seed: int, songs: int, matched: float) -> dict:
    """Write songs and events below `folder` and return their counts."""
    known: list[tuple] = []
    files = _write_songs(folder, Random(f"{seed} songs"), songs, known)  # noqa: S311
    rng = Random(f"{seed} events")  # noqa: S311
    played = _played(rng, known, matched, min(SLOTS, 1000 + int(SLOTS * scale)))
    users, session = max(4, round(USERS * scale)), 3
    counts = {"events": 0, "plays": 0, "songs": songs, "users": users, "files": files}
    logs = folder / "log_data/2018/11"
    logs.mkdir(parents=True)
    for shard, first in enumerate(range(0, users, SHARD)):
        agendas, session = _agendas(rng, range(first, min(first + SHARD, users)), session)
        days = [([], []) for _ in range(DAYS)]  # the times and the lines of each
        for user, agenda in agendas.items():
            _User(rng, user, days).live(agenda, played)
        for name, count in _write_days(logs, shard, days).items():
            counts[name] += count
    return counts


def _drawn(chance: float, name: str) -> float:
    """Return the value that `chance`, from 0 to below 1, has among the quantiles of `name`."""
    quantiles = QUANTILES[name]
    at = chance * (len(quantiles) - 1)
    low = quantiles[int(at)]
    return low + (at - int(at)) * (quantiles[int(at) + 1] - low)


def _phrase(rng: Random, pattern: str, nouns: str) -> str:
    """Return a title or an artist's name with nouns from `inside` or `outside` the catalogue."""
    words = {name: rng.choices(WORDS[name])[0] for name in ("first", "adj", "verb", "end")}
    noun, other = rng.choices(WORDS[nouns], k=2)
    return rng.choices(DATA["patterns"][pattern])[0].format(noun=noun, other=other, **words)


def _id(rng: Random, kind: str, family: str, number: int) -> str:
    """Return an id in the real shape, unique for `number`."""
    letters = "".join(rng.choices(LETTERS, k=7 - len(kind)))
    return f"{kind}{letters}{family}{(number + 1) * 0x9E3779B1 % 16**7:07X}"


def _catalogue(rng: Random, songs: int) -> Iterator[dict]:
    """Yield the song records, artist by artist, in the key order of the compact files."""
    artist, record, left = {}, {}, 0
    for number in range(songs):
        if left < 1:
            artist, left = _artist(rng, number), _drawn(rng.random(), "songs_of_artist")
        left -= 1
        record = _song(rng, number, artist, record)
        yield record


def _artist(rng: Random, number: int) -> dict:
    location, *coordinates = rng.choices(DATA["songs"]["places"])[0]
    latitude, longitude = coordinates or (None, None)
    return {
        "artist_id": _id(rng, "AR", "1187", number),
        "artist_latitude": latitude,
        "artist_location": location,
        "artist_longitude": longitude,
        "artist_name": _phrase(rng, "artist", "inside"),
    }


def _song(rng: Random, number: int, artist: dict, previous: dict) -> dict:
    """Return one song record; a few are dirty, or repeat the `previous` song in another length."""
    record = artist | {
        "duration": round(_drawn(rng.random(), "seconds"), 5),
        "num_songs": 1,
        "song_id": _id(rng, "SO", "12A8", number),
        "title": _phrase(rng, "title", "inside"),
        "year": 0 if rng.random() < 0.4 else 2010 - int(40 * rng.random() * rng.random()),
    }
    if rng.random() < 0.06:
        record["artist_name"] += " feat. " + _phrase(rng, "artist", "inside")
    if number % 1000 == TWICE:  # there, what is known of the artist's place differs as well
        nowhere = {"artist_latitude": None, "artist_longitude": None}
        return previous | nowhere | {key: record[key] for key in ("duration", "song_id")}
    if number % 1000 in DIRT:
        field, change = DIRT[number % 1000]
        record[field] = change.format(record[field]) if isinstance(change, str) else change
    return record


def _song_text(rng: Random, number: int, record: dict) -> str:
    if number % 1000 == PRETTY:
        return json.dumps(record, indent=4)
    if rng.random() < 0.5:
        return json.dumps({key: record[key] for key in DATA["songs"]["loose"]})
    return json.dumps(record, separators=(",", ":")).replace("/", "\\/")


def _write_songs(folder: Path, rng: Random, songs: int, known: list[tuple]) -> int:
    """Write the song files, put the first songs in `known`, and return how many files it were."""
    files, text = 0, ""
    for number, record in enumerate(_catalogue(rng, songs)):
        if number < KNOWN:
            title, artist = (str(record[key]).strip() for key in ("title", "artist_name"))
            known.append((title, artist, record["duration"]))
        text += _song_text(rng, number, record)
        if number % 1000 in GLUED and number + 1 < songs:
            text += GLUED[number % 1000]  # the next song goes to the same file
            continue
        _write_song(folder, rng, files, text)
        files, text = files + 1, ""
    return files


def _write_song(folder: Path, rng: Random, number: int, text: str) -> None:
    place = number // 23  # as many files a folder as the real set has
    letters = [LETTERS[place // step % 26] for step in (676, 26, 1)]
    directory = f"{folder}/song_data/{'/'.join(letters)}"
    if number % 23 == 0:
        os.makedirs(directory, exist_ok=True)
    name = _id(rng, "TR" + "".join(letters), "128F", number)
    with open(f"{directory}/{name}.json", "wb", buffering=0) as file:
        file.write(text.encode("ascii"))


def _played(rng: Random, known: list[tuple], matched: float, slots: int) -> list[tuple]:
    """Return what people play, each song as often as it is popular, ready for an event."""
    known.sort(key=lambda _: rng.random())
    hits = round(slots * matched)
    return [*_hits(rng, known, hits), *_misses(rng, known, slots - hits)]


def _popular(rng: Random, ranked: Sequence, slots: int, flat: int) -> list:
    """Draw `slots` times from `ranked`, its first most often: the less so, the higher `flat`."""
    weights = accumulate(1 / (rank + flat) for rank in range(len(ranked)))
    return rng.choices(ranked, cum_weights=list(weights), k=slots)


def _hits(rng: Random, known: list[tuple], slots: int) -> Iterator[tuple]:
    """Yield plays of songs in the catalogue; some are padded, or differ a little in length."""
    for number, (title, artist, length) in enumerate(_popular(rng, known, slots, flat=3)):
        shown = f"{title} " if number % 30 == 0 else title
        yield _ready(shown, artist, length + 0.4 if number % 25 == 0 else length)


def _misses(rng: Random, known: list[tuple], slots: int) -> Iterator[tuple]:
    """Yield plays that match no song: its artist may be in the catalogue, or its title."""
    strangers = [_phrase(rng, "artist", "outside") for _ in range(slots // 8 + 1)]
    artists = strangers + list(dict.fromkeys(artist for _, artist, _ in known))
    artists.sort(key=lambda _: rng.random())
    songs: dict[tuple, tuple] = {}
    for artist in _popular(rng, artists, slots, flat=12):
        song = artist, int(12 * rng.random() * rng.random())
        if rng.random() < 0.04:
            artist = _garbled(rng, rng.choices(strangers)[0])
            yield _ready(rng.choices(known)[0][0], artist, _drawn(rng.random(), "seconds"))
            continue
        if song not in songs:
            title = _garbled(rng, _phrase(rng, "title", "outside"))
            songs[song] = _ready(title, _garbled(rng, artist), _drawn(rng.random(), "seconds"))
        yield songs[song]


def _garbled(rng: Random, text: str) -> str:
    """Return the text as the app logs it: UTF-8 encoded twice, a few apostrophes broken."""
    if rng.random() < 0.03:
        text = text.replace("'", "\x19")
    return text.encode().decode("latin-1").encode().decode("latin-1")


def _ready(title: str, artist: str, length: float) -> tuple[str, str, str, int]:
    return _quoted(artist), f"{round(length, 5)}", _quoted(title), int(length)


def _quoted(text: str) -> str:
    """Return the text as JSON with escaped slashes, as the real files have it."""
    return json.dumps(text).replace("/", "\\/")


class _User:
    """One user at the app, with a clock, a level and a session: each event becomes a line."""

    def __init__(self, rng: Random, number: int, days: list[tuple]) -> None:
        self.rng, self.days, self.frames, self.ends = rng, days, {}, 0
        self.level, self.changes = KINDS.get(number % 50, ("free", 0))
        self.fields = {name: _quoted(rng.choices(choice)[0]) for name, choice in USER.items()}
        self.fields["first"] = _quoted(*rng.choices(WORDS[self.fields["gender"].strip('"')]))
        registration = START - int(13 * DAY * rng.random())
        self.fields |= {"registration": f"{registration}796.0", "id": f'"{number + 2}"'}

    def live(self, agenda: list[tuple], played: list[tuple]) -> None:
        """Go through the month's sessions; the level, if it changes, does so in the first half."""
        turn = int(self.rng.random() * len(agenda) / 2)
        for index, (start, self.session) in enumerate(agenda):
            self.now = self.ends = max(start, self.ends + 600)
            self.item = 0
            changes = self.changes if index == turn else 0
            if index == turn or self.rng.random() > 0.025:
                self.listen(played, changes)
            else:  # seen, but never logged in
                self.visit(*self.rng.choices(("~Home", "~Home > ~About")))

    def listen(self, played: list[tuple], changes: int) -> None:
        """Fill a session in which the level changes so many times."""
        songs = int(_drawn(self.rng.random(), "paid" if changes else self.level)) + 8 * changes
        self.begin(songs)
        for number, song in enumerate(self.rng.choices(played, k=songs)):
            self.play(*song)
            if number in (1, 4)[:changes]:
                self.visit_meanwhile(DATA["changes"][self.level])
            elif self.rng.random() < DATA["visited"][self.level]:
                self.visit_meanwhile(VISITS[self.level])

    def begin(self, songs: int) -> None:
        """Open the app: at once with a song, on the home page, or logged out."""
        draw = self.rng.random()
        if draw < 0.05:
            self.visit(*self.rng.choices(("~Home > ~Login > Home", "~Login > Home")))
        elif draw < 0.36 or songs == 0:
            self.visit("Home")
        self.ends = self.now + int(500 * self.rng.random() * self.rng.random())

    def play(self, artist: str, length: str, title: str, seconds: int) -> None:
        self.now = max(self.now, self.ends)
        self.ends = self.now + seconds
        self.event("NextSong", artist, length, title)

    def visit_meanwhile(self, visits: dict[str, int]) -> None:
        self.now += int(self.rng.random() * (self.ends - self.now))
        self.visit(*self.rng.choices([*visits], [*visits.values()]))

    def visit(self, pages: str) -> None:
        """Go through pages: what is sent (PUT) follows at once, what is read after a while."""
        for number, page in enumerate(pages.split(" > ")):
            if number:
                sent = PAGES[page.removeprefix("~")][0] == "PUT"
                self.now += 1 if sent else 2 + int(150 * self.rng.random() * self.rng.random())
            self.event(page)
            if page.startswith("Submit"):
                self.level, self.frames = OTHER[self.level], {}

    def event(self, page: str, artist="null", length="null", title="null") -> None:
        """Add the line of what happens now, unless the month is over."""
        now = self.now
        if now < END:
            a, b, c, d, e, f, g = self.frames.get(page) or self.frame(page)
            line = f"{a}{artist}{b}{self.item}{c}{length}{d}{self.session}{e}{title}{f}{now}{g}"
            times, lines = self.days[(now - START) // DAY]
            times.append(now)
            lines.append(line)
            self.item += 1

    def frame(self, page: str) -> list[str]:
        """Return, and keep, what stands around the six variables in each event of `page`."""
        name = page.removeprefix("~")
        method, status = PAGES[name]
        fixed = {"page": name, "method": method, "status": status, "level": self.level}
        fields = {"auth": "Logged In"} | self.fields
        if name != page:
            fields = {"auth": "Logged Out"} | NOBODY
        self.frames[page] = EVENT.format(**fields, **fixed).split("\0")
        return self.frames[page]


def _agendas(rng: Random, users: Iterable[int], session: int) -> tuple[dict, int]:
    """Return when each user's sessions start, with their ids, and the next session id."""
    starts = sorted((start, user) for user in users for start in _starts(rng, user))
    agendas: dict[int, list[tuple]] = {user: [] for user in users}
    for rank, (start, user) in enumerate(starts):
        # As in the real logs, a few session ids belong to two users.
        shared = rank % 40 == 1 and starts[rank - 1][1] != user
        agendas[user].append((start, session + rank - shared))
    return agendas, session + len(starts)


def _starts(rng: Random, user: int) -> list[int]:
    sessions = int(_drawn(user * SPREAD % 1, "sessions"))
    hours = rng.choices(range(24 * DAYS), cum_weights=STARTS, k=sessions)
    return [START + hour * 3600 + int(3600 * rng.random()) for hour in hours]


def _write_days(folder: Path, shard: int, days: list[tuple]) -> dict:
    """Write the lines of each day, ordered by time, and return the counts of what was written."""
    counts = {"events": 0, "plays": 0, "files": 0}
    for day, (times, lines) in enumerate(days):
        if lines:
            order = sorted(range(len(times)), key=times.__getitem__)  # stable: sessions keep theirs
            text = "\n".join([lines[at] for at in order])
            suffix = f"-{shard:04}" if shard else ""
            name = f"2018-11-{day + 1:02}-events{suffix}.json"
            (folder / name).write_bytes(text.encode("ascii"))
            counts["files"] += 1
            counts["events"] += len(lines)
            counts["plays"] += text.count('"page":"NextSong"')
    return counts


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a sample from the command line; return the exit code."""
    parser = argparse.ArgumentParser("python -m lib.sample", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="where log_data/ and song_data/ go")
    parser.add_argument("--scale", type=float, default=1, help="1 (default): about 8,000 events")
    parser.add_argument("--seed", type=int, default=1, help="another seed, other data (1)")
    parser.add_argument("--songs", type=int, default=15_000, help="in the catalogue (15000)")
    parser.add_argument("--matched", type=float, default=0.05, help="share of plays in it (0.05)")
    began = time.perf_counter()
    try:
        counts = make(**vars(parser.parse_args(arguments)))
    except SampleError as error:
        print(error, file=sys.stderr)
        return 2
    seconds = time.perf_counter() - began
    print("{events:,} events ({plays:,} plays), {songs:,} songs, {files:,} files".format(**counts))
    speed = f"{seconds:.1f} s, {counts['events'] / seconds:,.0f} events/s"
    print(speed if counts["made"] else "It was there already.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
