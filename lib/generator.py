"""Generate the sample: the users of a month, what they play, and the catalogue of songs.

People, artists, songs and ids are made from the word lists in sample.toml; only the names of US
metro areas, cities and browsers are real, and public. Equal parameters give equal bytes on every
platform: nothing draws from more than `random.random`, and no arithmetic goes beyond what IEEE 754
rounds exactly.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, product
from operator import itemgetter
from pathlib import Path
from random import Random

DATA = tomllib.loads(Path(__file__).with_name("sample.toml").read_text(encoding="utf-8"))
PAGES, VISITS, SONGS = DATA["pages"], DATA["visits"], DATA["songs"]
WORDS = {name: words.split() for name, words in DATA["words"].items()}
WORDS["first"] = WORDS["F"] + WORDS["M"]
USER = {"gender": "FFFFMMM", "last": WORDS["last"]} | DATA["users"]
NOBODY = dict.fromkeys((*USER, "first", "registration"), "null")
NOBODY |= {"id": '""', "auth": "Logged Out"}
DIRT = {number: (field, change) for number, field, change in SONGS["dirt"]}
TWICE, PRETTY, GLUED = 24, 26, {28: "", 30: "\n", 31: "\n"}  # further dirt, numbered as DIRT is
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

START, DAYS, DAY = 1_541_030_400, 30, 86_400  # 2018-11-01 00:00 UTC, a month of days, in seconds
END = START + DAYS * DAY
WEIGHTS = product((DATA["rhythm"]["weekdays"] * 5)[:DAYS], DATA["rhythm"]["hours"])
STARTS = [*accumulate(day * hour for day, hour in WEIGHTS)]  # of the sessions in the month's hours
USERS = 100  # for each unit of scale; they leave about 8,000 events
SHARD = 2_000  # users simulated, sorted and written at a time: it bounds the memory
SLOTS = 40_000  # songs to draw plays from, at scale 1 and above; a popular one is there often
KNOWN = 3_000  # of the catalogue's songs: those that people play
# Of 50 users in a row: the level they start with, and how often it changes; the others stay free.
KINDS = dict.fromkeys((0, 7, 15, 23, 31, 39, 47), ("paid", 0)) | {1: ("free", 2), 2: ("paid", 1)}
KINDS |= dict.fromkeys((4, 14, 24, 34), ("free", 1))
SPREAD = 0.7320508  # its multiples are spread evenly: how many are busy is not left to chance
OTHER = {"free": "paid", "paid": "free"}


def write(folder: Path, scale: float, seed: int, songs: int, matched: float) -> dict:
    """Write songs and events below `folder` and return their counts; parameters as in sample."""
    files, known = _write_songs(folder, Random(f"{seed} songs"), songs)  # noqa: S311
    rng = Random(f"{seed} events")  # noqa: S311
    played = _draw_played(rng, known, matched, min(SLOTS, 1000 + int(SLOTS * scale)))
    users, session = max(4, round(USERS * scale)), 3
    counts = Counter({"events": 0, "plays": 0, "songs": songs, "users": users, "files": files})
    logs = folder / "log_data/2018/11"
    logs.mkdir(parents=True)
    for shard, first in enumerate(range(0, users, SHARD)):
        agendas, session = _draw_agendas(rng, range(first, min(first + SHARD, users)), session)
        days = [[] for _ in range(DAYS)]  # the events of each: when, and the line
        for user, agenda in agendas.items():
            _User(rng, user, days).live(agenda, played)
        counts.update(_write_days(logs, shard, days))
    return dict(counts)


def _draw(rng: Random, name: str, chance: float | None = None) -> float:
    """Return a random value with the quantiles of `name`; `chance`: the quantile, 0 to below 1."""
    quantiles = DATA["quantiles"][name]
    at = (rng.random() if chance is None else chance) * (len(quantiles) - 1)
    low = quantiles[int(at)]
    return low + (at - int(at)) * (quantiles[int(at) + 1] - low)


def _draw_phrase(rng: Random, pattern: str, nouns: str) -> str:
    """Return a random title or artist name, with nouns from `inside` or `outside` the catalogue."""
    words = {name: rng.choices(WORDS[name])[0] for name in ("first", "adj", "verb", "end")}
    noun, other = rng.choices(WORDS[nouns], k=2)
    return rng.choices(DATA["patterns"][pattern])[0].format(noun=noun, other=other, **words)


def _draw_id(rng: Random, kind: str, family: str, number: int) -> str:
    """Return a random id in the real format, unique for `number`."""
    letters = "".join(rng.choices(LETTERS, k=7 - len(kind)))
    return f"{kind}{letters}{family}{(number + 1) * 0x9E3779B1 % 16**7:07X}"


def _draw_songs(rng: Random, songs: int) -> Iterator[dict]:
    """Yield the song records, artist by artist; some are dirty, or repeat another's title."""
    artist, record, left = {}, {}, 0
    for number in range(songs):
        if left < 1:
            location, latitude, longitude, *_ = (*rng.choices(SONGS["places"])[0], None, None)
            artist = {"artist_id": _draw_id(rng, "AR", "1187", number), "artist_latitude": latitude}
            artist |= {"artist_location": location, "artist_longitude": longitude}
            artist["artist_name"] = _draw_phrase(rng, "artist", "inside")
            left = _draw(rng, "songs_of_artist")
        left, previous = left - 1, record
        record = artist | {
            "duration": round(_draw(rng, "seconds"), 5),
            "num_songs": 1,
            "song_id": _draw_id(rng, "SO", "12A8", number),
            "title": _draw_phrase(rng, "title", "inside"),
            "year": 0 if rng.random() < 0.4 else 2010 - int(40 * rng.random() * rng.random()),
        }
        if rng.random() < 0.06:
            record["artist_name"] += " feat. " + _draw_phrase(rng, "artist", "inside")
        if number % 1000 == TWICE:  # there, what is known of the artist's place differs as well
            new = {"artist_latitude": None, "artist_longitude": None}
            record = previous | new | {key: record[key] for key in ("duration", "song_id")}
        elif number % 1000 in DIRT:
            field, change = DIRT[number % 1000]
            record[field] = change.format(record[field]) if isinstance(change, str) else change
        yield record


def _write_songs(folder: Path, rng: Random, songs: int) -> tuple[int, list]:
    """Write the song files; return their number, and title, artist and length of known songs."""
    files, text, known = 0, "", []
    for number, record in enumerate(_draw_songs(rng, songs)):
        if number < KNOWN:
            title, artist = (str(record[key]).strip() for key in ("title", "artist_name"))
            known.append((title, artist, record["duration"]))
        if number % 1000 == PRETTY:
            text += json.dumps(record, indent=4)
        elif rng.random() < 0.5:
            text += json.dumps({key: record[key] for key in SONGS["loose"]})
        else:
            text += json.dumps(record, separators=(",", ":")).replace("/", "\\/")
        if number % 1000 in GLUED and number + 1 < songs:
            text += GLUED[number % 1000]  # the next song goes to the same file
            continue
        letters = [LETTERS[files // 23 // step % 26] for step in (676, 26, 1)]
        directory = f"{folder}/song_data/{'/'.join(letters)}"
        if files % 23 == 0:  # as many files a folder as the real set has
            os.makedirs(directory, exist_ok=True)
        name = _draw_id(rng, "TR" + "".join(letters), "128F", files)
        with open(f"{directory}/{name}.json", "wb", buffering=0) as file:
            file.write(text.encode("ascii"))
        files, text = files + 1, ""
    return files, known


def _draw_played(rng: Random, known: list[tuple], matched: float, slots: int) -> list[tuple]:
    """Return the songs to draw plays from, formatted for an event, popular ones more often."""
    known.sort(key=lambda _: rng.random())
    played, hits = [], round(slots * matched)
    for number, (title, artist, length) in enumerate(_draw_popular(rng, known, hits, 3)):
        title += " " * (number % 30 == 0)  # some are padded, or differ a little in length
        played.append(_format_song(title, artist, length + 0.4 * (number % 25 == 0)))
    return [*played, *_draw_misses(rng, known, slots - hits)]


def _draw_popular(rng: Random, ranked: Sequence, slots: int, flat: int) -> list:
    """Draw `slots` items from `ranked`, the first most often; a higher `flat` evens that out."""
    weights = accumulate(1 / (rank + flat) for rank in range(len(ranked)))
    return rng.choices(ranked, cum_weights=list(weights), k=slots)


def _draw_misses(rng: Random, known: list[tuple], slots: int) -> Iterator[tuple]:
    """Yield songs that are not in the catalogue, though their artist or their title may be."""
    strangers = [_draw_phrase(rng, "artist", "outside") for _ in range(slots // 8 + 1)]
    artists = strangers + list(dict.fromkeys(artist for _, artist, _ in known))
    artists.sort(key=lambda _: rng.random())
    songs: dict[tuple, tuple] = {}
    for artist in _draw_popular(rng, artists, slots, 12):
        song = artist, int(12 * rng.random() * rng.random())
        if rng.random() < 0.04:
            artist = _garble(rng, rng.choices(strangers)[0])
            yield _format_song(rng.choices(known)[0][0], artist, _draw(rng, "seconds"))
            continue
        if song not in songs:
            title = _garble(rng, _draw_phrase(rng, "title", "outside"))
            songs[song] = _format_song(title, _garble(rng, artist), _draw(rng, "seconds"))
        yield songs[song]


def _garble(rng: Random, text: str) -> str:
    """Return a string as the app logs it: UTF-8 encoded twice, a few apostrophes broken."""
    if rng.random() < 0.03:
        text = text.replace("'", "\x19")
    return text.encode().decode("latin-1").encode().decode("latin-1")


def _format_song(title: str, artist: str, length: float) -> tuple[str, str, str, int]:
    return _quote(artist), f"{round(length, 5)}", _quote(title), int(length)


def _quote(text: str) -> str:
    """Return a JSON string with escaped slashes, as the real files have it."""
    return json.dumps(text).replace("/", "\\/")


class _User:
    """One simulated user, with a clock, a level and a session; each event becomes a line."""

    def __init__(self, rng: Random, number: int, days: list[list]) -> None:
        self.rng, self.days, self.ends = rng, days, 0
        self.level, self.changes = KINDS.get(number % 50, ("free", 0))
        self.fields = {name: _quote(rng.choices(choice)[0]) for name, choice in USER.items()}
        self.fields["first"] = _quote(*rng.choices(WORDS[self.fields["gender"].strip('"')]))
        registration = START - int(13 * DAY * rng.random())
        self.fields |= {"registration": f"{registration}796.0", "id": f'"{number + 2}"'}
        self.fields["auth"] = "Logged In"

    def live(self, agenda: list[tuple], played: list[tuple]) -> None:
        """Simulate the month's sessions; a change of level comes in the first half of them."""
        turn = int(self.rng.random() * len(agenda) / 2)
        for index, (start, self.session) in enumerate(agenda):
            self.now = self.ends = max(start, self.ends + 600)
            self.item = 0
            if index == turn or self.rng.random() > 0.025:
                self.listen(played, self.changes if index == turn else 0)
            else:
                self.visit(VISITS["stranger"])

    def listen(self, played: list[tuple], changes: int) -> None:
        """Simulate a session: open the app, play songs, and change the level `changes` times."""
        songs = int(_draw(self.rng, "paid" if changes else self.level)) + 8 * changes
        chance = self.rng.random()
        if chance < 0.05:
            self.visit(VISITS["logged_out"])
        elif chance < 0.36 or songs == 0:
            self.add_event("Home")
        self.ends = self.now + int(500 * self.rng.random() * self.rng.random())
        for number, (*song, seconds) in enumerate(self.rng.choices(played, k=songs)):
            self.now = max(self.now, self.ends)
            self.ends = self.now + seconds
            self.add_event("NextSong", *song)
            is_turn = number in (1, 4)[:changes]
            if is_turn or self.rng.random() < DATA["visited"][self.level]:
                self.now += int(self.rng.random() * (self.ends - self.now))
                self.visit((DATA["changes"] if is_turn else VISITS)[self.level])

    def visit(self, ways: dict[str, int]) -> None:
        """Visit the pages of one of the ways, drawn by weight: a PUT follows at once, a GET after a
        while."""
        (way,) = self.rng.choices([*ways], [*ways.values()])
        for number, page in enumerate(way.split(" > ")):
            if number:
                is_sent = PAGES[page.removeprefix("~")][0] == "PUT"
                self.now += 1 if is_sent else 2 + int(150 * self.rng.random() * self.rng.random())
            self.add_event(page)
            if page.startswith("Submit"):
                self.level = OTHER[self.level]

    def add_event(self, page: str, artist="null", length="null", title="null") -> None:
        """Add the line of what happens now, unless the month is over."""
        if self.now >= END:
            return
        name = page.removeprefix("~")
        method, status = PAGES[name]
        fields = (self.fields if name == page else NOBODY) | {"page": name, "method": method}
        fields |= {"status": status, "level": self.level, "ts": self.now, "session": self.session}
        fields |= {"artist": artist, "length": length, "title": title, "item": self.item}
        self.days[(self.now - START) // DAY].append((self.now, DATA["event"] % fields))
        self.item += 1


def _draw_agendas(rng: Random, users: Iterable[int], session: int) -> tuple[dict, int]:
    """Return the start and id of each user's sessions, and the next free session id."""
    starts = []
    for user in users:
        sessions = int(_draw(rng, "sessions", user * SPREAD % 1))
        hours = rng.choices(range(24 * DAYS), cum_weights=STARTS, k=sessions)
        starts += [(START + hour * 3600 + int(3600 * rng.random()), user) for hour in hours]
    starts.sort()
    agendas: dict[int, list[tuple]] = {user: [] for user in users}
    for rank, (start, user) in enumerate(starts):
        # As in the real logs, a few session ids belong to two users.
        shared = rank % 40 == 1 and starts[rank - 1][1] != user
        agendas[user].append((start, session + rank - shared))
    return agendas, session + len(starts)


def _write_days(folder: Path, shard: int, days: list[list]) -> Counter:
    """Write a file for each day, its lines ordered by time, and return what was written."""
    counts = Counter()
    for day, events in enumerate(days, start=1):
        if events:
            events.sort(key=itemgetter(0))  # stable: those of a session keep their order
            text = "\n".join(line for _, line in events)
            name = f"2018-11-{day:02}-events{f'-{shard:04}' if shard else ''}.json"
            (folder / name).write_bytes(text.encode("ascii"))
            plays = text.count('"page":"NextSong"')
            counts.update({"events": len(events), "plays": plays, "files": 1})
    return counts
