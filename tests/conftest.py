"""What the tests share: data in the real format, folders of it, and warehouses of their own."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import random
import signal
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
import pytest
import redshift_connector

from lib import ROOT, config, warehouse
from lib.load import load
from lib.provision.redshift import plan_creation
from lib.warehouse.base import TABLES
from tests.browser import chromium
from tests.standin.aws import Aws
from tests.standin.redshift import Redshift

BUCKET = "music"
EMPTY = "empty"  # the database that a world's is copied from
NUMBERS = itertools.count(1)


ENGINES = ("local", "redshift")
# A shell starts what it puts in the background deaf to Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# So does nohup with the end of a terminal.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser):
    choices = [*ENGINES, "both"]
    words = "run the tests of the load and the analyses on this engine (default: both)"
    parser.addoption("--engine", choices=choices, default="both", help=words)


def pytest_generate_tests(metafunc):
    """Run a test that names an engine on each of those that were asked for."""
    if "engine" in metafunc.fixturenames:
        asked = metafunc.config.getoption("engine")
        engines = ENGINES if asked == "both" else (asked,)
        if only := metafunc.definition.get_closest_marker("only_on"):
            engines = [name for name in engines if name == only.args[0]]
        metafunc.parametrize("engine", engines, scope="session")


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
    "gzip": lambda records: gzip.compress(_lines(records), mtime=0),
    "gzip of pretty": lambda records: (
        gzip.compress(json.dumps(records[0], indent=1).encode(), mtime=0)
        + gzip.compress(b"".join(json.dumps(r, indent=1).encode() for r in records[1:]), mtime=0)
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
        made = warehouse.connect(config.read_settings(own, environ={}, database=file), create=True)
        made.create_schema()
        made.close()
        return file.read_bytes()


class World:
    """Two folders of data, and a warehouse of one engine to load them into.

    `s3`: a client; with it the folders' files are put into a bucket and loaded from there.
    """

    def __init__(self, folder: Path, s3=None, **overrides):
        self.folder, self.logs, self.songs = folder, folder / "log_data", folder / "song_data"
        own = folder / "dwh.cfg"
        own.touch()  # not the one of the person running
        self.s3, self.put, self.prefix = s3, set(), f"{folder.name}-{next(NUMBERS)}"
        above = f"s3://{BUCKET}/{self.prefix}" if s3 else folder
        places = {"log_data": f"{above}/log_data", "song_data": f"{above}/song_data"}
        places |= {"database": folder / "dwh.duckdb", "threads": 1}
        self.overrides = places | overrides
        self.settings = config.read_settings(own, environ={}, **self.overrides)
        self._make()
        self.open()

    def open(self) -> None:
        """Open the warehouse."""
        self.dwh, self._asking = warehouse.connect(self.settings), None

    def _make(self) -> None:
        """Make an empty warehouse."""
        if not self.settings.database.exists():
            self.settings.database.write_bytes(_empty_database())

    def log(self, *records, file: str = "2018/11/events.json", layout: str = "lines") -> Path:
        """Write events, or bytes as they are, to a file of the log folder."""
        return _write(self.logs / file, _bytes_or(records), layout)

    def catalogue(self, *records, file: str = "A/A/A/song.json", layout: str = "lines") -> Path:
        """Write songs, or bytes as they are, to a file of the song folder."""
        return _write(self.songs / file, _bytes_or(records), layout)

    def load(self, progress=lambda step: None, **how):
        """Load what is new in both folders."""
        if self.s3:
            self._put()
        return load(self.dwh, self.settings, progress, **how)

    def _put(self) -> None:
        """Put the folders' new files into the bucket."""
        for file in [*self.logs.rglob("*"), *self.songs.rglob("*")]:
            if file.is_file() and file not in self.put:
                key = f"{self.prefix}/{file.relative_to(self.folder)}"
                self.s3.put_object(Bucket=BUCKET, Key=key, Body=file.read_bytes())
                self.put.add(file)

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


class RedshiftWorld(World):
    """The same on the target redshift: a database of its own on the double's cluster."""

    def __init__(self, folder: Path, double: Double, s3=None, **overrides):
        self.double, self.name = double, f"world{next(NUMBERS)}"
        cluster = {"target": "redshift", "db__name": self.name, "client_cidr": "203.0.113.7/32"}
        super().__init__(folder, s3, **(cluster | overrides))

    def _make(self) -> None:
        self.double.redshift.create_database(self.name, EMPTY)
        patience = f"alter database \"{self.name}\" set lock_timeout = '15s'"  # a test never hangs
        self.double.redshift.rows("postgres", patience)

    def rows(self, query: str) -> list[tuple]:
        """Return what a query gives on what is committed."""
        self._asking = self._asking or self.dwh.cursor()
        cursor = self._asking.cursor()
        cursor.execute(query)
        return [tuple(row) for row in cursor.fetchall()]

    def close(self) -> None:
        """Close the warehouse and drop the database."""
        super().close()
        self.double.redshift.drop_database(self.name)


@dataclass
class Double:
    """The doubles of AWS and Redshift, running and provisioned."""

    aws: Aws
    redshift: Redshift


@pytest.fixture(scope="session")
def aws():
    """The double of AWS."""
    with Aws() as aws:
        yield aws


@pytest.fixture(scope="session")
def double(aws, tmp_path_factory):
    """The doubles, with a cluster that the project itself has provisioned, and two buckets."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("redshift")
        with Redshift(folder, aws.authorise, aws.readable) as redshift:
            aws.endpoint, aws.creating = (redshift.host, redshift.port), 0
            for name, value in (aws.environment | {"SSL_CERT_FILE": redshift.ca_file}).items():
                patch.setenv(name, str(value))
            patch.setattr("lib.load.s3.CACHE", folder / "cache")
            patch.setattr("lib.aws.POLL", 0.01)
            driver = redshift_connector.core  # looks at a statement letter by letter
            patch.setattr(driver, "convert_paramstyle", lru_cache(driver.convert_paramstyle))
            where = {"LocationConstraint": "us-west-2"}
            aws.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
            _provision(folder, redshift)
            yield Double(aws, redshift)


def _provision(folder: Path, redshift: Redshift) -> None:
    own = folder / "dwh.cfg"
    own.touch()
    places = {"log_data": f"s3://{BUCKET}/", "song_data": f"s3://{BUCKET}/"}
    about = {"target": "redshift", "client_cidr": "203.0.113.7/32", "db__name": EMPTY}
    settings = config.read_settings(own, environ={}, **about, **places)
    plan_creation(settings, lambda line: None).apply(confirm=True)
    redshift.create_database(EMPTY)
    made = warehouse.connect(settings)
    made.create_schema()
    made.close()


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
def new_world(request):
    """Make worlds of an engine, `s3=True` with their data in S3."""

    def make(folder: Path, engine: str = "local", s3: bool = False, **overrides) -> World:
        double = request.getfixturevalue("double") if s3 or engine == "redshift" else None
        client = double.aws.client("s3") if s3 else None
        if engine == "redshift":
            return RedshiftWorld(folder, double, client, **overrides)
        return World(folder, client, **overrides)

    return make


@pytest.fixture
def world(tmp_path, new_world, engine):
    """One empty warehouse and its empty folders."""
    world = new_world(tmp_path, engine)
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
        return config.read_settings(own, environ={}, **(places | overrides))

    return make


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Give settings of a project in a folder of its own, whose places are the default ones."""
    monkeypatch.setattr(config, "ROOT", tmp_path)
    (tmp_path / "dwh.cfg").touch()

    def make(**overrides) -> config.Settings:
        return config.read_settings(tmp_path / "dwh.cfg", environ={}, **overrides)

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


@pytest.fixture
def own_notebook(tmp_path, monkeypatch):
    """Let the runner run one notebook of the test's own."""

    def write(*sources: str) -> list[str]:
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        notebook = nbformat.v4.new_notebook(cells=cells)
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook.metadata.kernelspec = kernel
        nbformat.write(notebook, tmp_path / "01_provision.ipynb")
        monkeypatch.setattr("lib.run.FOLDER", tmp_path)
        return ["--only", "01", "--runs", str(tmp_path / "runs")]

    return write


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
    """A headless Chromium, where one is installed."""
    with chromium() as browser:
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
