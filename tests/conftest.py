"""What the tests share: data in the real format, folders of it, and warehouses of their own."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from lib import ROOT, config, warehouse
from lib.load import load
from lib.warehouse import TABLES


@pytest.fixture(scope="session", autouse=True)
def no_settings_of_the_person_running():
    """Take DWH_* out of the environment, for the tests and for what they start."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("DWH_")]:
            patch.delenv(name)
        yield


def _event(**fields) -> dict:
    """Return a complete event, as the log has it: a play of a free user."""
    return {
        "artist": "Des'ree",
        "auth": "Logged In",
        "firstName": "Kaylee",
        "gender": "F",
        "itemInSession": 1,
        "lastName": "Summers",
        "length": 246.30812,
        "level": "free",
        "location": "Phoenix-Mesa-Scottsdale, AZ",
        "method": "PUT",
        "page": "NextSong",
        "registration": 1540344794796.0,
        "sessionId": 139,
        "song": "You Gotta Be",
        "status": 200,
        "ts": 1541106106796,
        "userAgent": '"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36"',
        "userId": "8",
    } | fields


def _song(**fields) -> dict:
    """Return a complete song, as the catalogue has it."""
    return {
        "artist_id": "ARRP7LB1187B99A343",
        "artist_latitude": 51.16418,
        "artist_location": "GERMANY",
        "artist_longitude": 10.45415,
        "artist_name": "Fiddler's Green",
        "duration": 202.86649,
        "num_songs": 1,
        "song_id": "SOIVLFT12AB017EEF8",
        "title": "Stay By My Side",
        "year": 1995,
    } | fields


def _lines(records: list[dict], end: str = "\n") -> bytes:
    return "".join(json.dumps(record) + end for record in records).encode()


def _shuffled(record: dict) -> dict:
    names = sorted(record)
    random.Random(repr(record)).shuffle(names)
    return {name: record[name] for name in names}


LAYOUTS = {
    "lines": _lines,
    "no last line break": lambda records: _lines(records).rstrip(b"\n"),
    "crlf": lambda records: _lines(records, "\r\n"),
    "blank lines": lambda records: b"\n \n" + _lines(records, "\n\n") + b"\n",
    "several on a line": lambda records: _lines(records, ""),
    "several, spaced": lambda records: _lines(records, "  "),
    "pretty": lambda records: b"\n".join(json.dumps(r, indent=2).encode() for r in records),
    "pretty, no break between": lambda records: b"".join(
        json.dumps(r, indent=2).encode() for r in records
    ),
    "gzip": lambda records: gzip.compress(_lines(records)),
    "gzip of pretty": lambda records: (
        gzip.compress(json.dumps(records[0], indent=1).encode())
        + gzip.compress(b"".join(json.dumps(r, indent=1).encode() for r in records[1:]))
    ),
    "bom": lambda records: b"\xef\xbb\xbf" + _lines(records),
    "keys in any order": lambda records: _lines([_shuffled(record) for record in records]),
    "not ascii": lambda records: b"".join(
        json.dumps(r, ensure_ascii=False).encode() + b"\n" for r in records
    ),
}


def _write(path: Path, records: Sequence[dict] | bytes, layout: str = "lines") -> Path:
    """Write records, or bytes as they are, to a file below folders that are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(records if isinstance(records, bytes) else LAYOUTS[layout](records))
    return path


def _bytes_or(records: tuple) -> Sequence[dict] | bytes:
    return records[0] if isinstance(records[0], bytes) else records


@cache
def _empty_database() -> bytes:
    """Return a database file with empty tables; copying it is faster than making it."""
    with TemporaryDirectory() as folder:
        own = Path(folder, "dwh.cfg")
        own.touch()
        file = Path(folder, "dwh.duckdb")
        made = warehouse.connect(config.load(own, environ={}, database=file), create=True)
        made.create_schema()
        made.close()
        return file.read_bytes()


class World:
    """Two folders of data, and a warehouse to load them into."""

    def __init__(self, folder: Path, **overrides):
        self.folder, self.logs, self.songs = folder, folder / "log_data", folder / "song_data"
        own = folder / "dwh.cfg"
        own.touch()  # not the one of the person running
        places = {"log_data": self.logs, "song_data": self.songs, "database": folder / "dwh.duckdb"}
        self.settings = config.load(own, environ={}, **(places | {"threads": 1} | overrides))
        if not self.settings.database.exists():
            self.settings.database.write_bytes(_empty_database())
        self.dwh = warehouse.connect(self.settings)

    def log(self, *records, file: str = "2018/11/events.json", layout: str = "lines") -> Path:
        """Write events, or bytes as they are, to a file of the log folder."""
        return _write(self.logs / file, _bytes_or(records), layout)

    def catalogue(self, *records, file: str = "A/A/A/song.json", layout: str = "lines") -> Path:
        """Write songs, or bytes as they are, to a file of the song folder."""
        return _write(self.songs / file, _bytes_or(records), layout)

    def load(self, progress=lambda step: None):
        """Load what is new in both folders."""
        return load(self.dwh, self.settings, progress)

    def rows(self, query: str) -> list[tuple]:
        """Return what a query gives on what is committed."""
        cursor = self.dwh.cursor()
        cursor.execute(query)
        rows = cursor.fetchall()
        cursor.close()
        return rows

    def tables(self) -> dict[str, list[tuple]]:
        """Return every row of every table, the ledger's too."""
        return {table: sorted(self.rows(f"select * from {table}"), key=repr) for table in TABLES}

    def close(self) -> None:
        """Close the warehouse."""
        self.dwh.close()


@pytest.fixture(scope="session")
def event():
    return _event


@pytest.fixture(scope="session")
def song():
    return _song


@pytest.fixture(scope="session")
def write():
    return _write


@pytest.fixture(params=LAYOUTS)
def layout(request) -> str:
    """Every way in which a file holds its records, one after the other."""
    return request.param


@pytest.fixture(scope="session")
def new_world():
    return World


@pytest.fixture
def world(tmp_path):
    """One empty warehouse and its empty folders."""
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def settings(tmp_path):
    """Make settings that nothing outside the test has a say in."""

    def make(**overrides):
        own = tmp_path / "dwh.cfg"
        own.touch()
        places = {
            "log_data": tmp_path / "log_data",
            "song_data": tmp_path / "song_data",
            "database": tmp_path / "dwh.duckdb",
        }
        return config.load(own, environ={}, **(places | overrides))

    return make


@pytest.fixture
def dwh(settings):
    """Make warehouses with empty tables, closed when the test ends."""
    opened = []

    def make(**overrides):
        made = warehouse.connect(settings(**overrides), create=True)
        opened.append(made)
        made.create_schema()
        return made

    yield make
    for made in opened:
        made.close()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data, where there is one."""
    folder = Path(os.environ.get("SPARKIFY_REAL_DATA") or ROOT.parent / "shared" / "data" / "real")
    if not folder.is_dir():
        pytest.skip(
            f"The real data is not part of the project and not at {folder}; "
            "name its folder in SPARKIFY_REAL_DATA."
        )
    return folder


@pytest.fixture(scope="session")
def browser():
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if not chromium:
        pytest.skip("no Chromium is installed here")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        with player.chromium.launch(executable_path=chromium, args=root) as browser:
            yield browser


@pytest.fixture
def opened_offline(browser):
    """Open a page from its file with the network off; it must load whole and without a fault."""

    @contextmanager
    def opened(file: Path, width: int = 1280, scheme: str = "light"):
        view = {"width": width, "height": 800}
        with browser.new_context(viewport=view, color_scheme=scheme, offline=True) as context:
            page, faults = context.new_page(), []
            page.on("console", lambda message: faults.append(message.text))
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("requestfailed", lambda request: faults.append(request.url))
            page.goto(file.resolve().as_uri())
            assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth)")
            assert page.evaluate("[...document.images].every(i => i.alt)")
            assert faults == []
            yield page

    return opened
