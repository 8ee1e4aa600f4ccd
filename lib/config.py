"""Settings: dwh.cfg, environment and options, validated before anything else happens.

Precedence: option (notebook parameter, command line), environment (`DWH_SECTION_KEY`), dwh.cfg,
default. dwh.cfg.example says what each key does. Relative paths start at the project's folder.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import Field, dataclass, field, fields, make_dataclass, replace
from datetime import date
from ipaddress import IPv4Network
from pathlib import Path

from lib import ROOT, UserError

# By the kind of data: the source that charts name, and the DuckDB file: the sample has its own.
SOURCES = {"sample": "Sparkify sample (invented data)", "own": "Sparkify event logs"}
DATABASES = {"sample": "data/sample.duckdb", "own": "data/warehouse.duckdb"}
TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
TYPES = {bool: "true or false", int: "a whole number", float: "a number"}
TYPES |= {date: "a date such as 2018-11-30"}


class ConfigError(UserError):
    """A setting that is unknown or has a value that can't be used."""


def declare_key(default, *, secret: bool = False, **accepted) -> Field:
    """Declare a key and what it accepts: values from `least` to `most`, or strings that match the
    regular expression `pattern` or that the function `parse` takes without a ValueError, which
    `expected` describes."""
    return field(default=default, repr=not secret, metadata=accepted)


def _read_range(addresses: str) -> str:
    """Return an IPv4 range as it is; raise ValueError for what is none, or too wide to be safe."""
    if addresses and IPv4Network(addresses).prefixlen < 8:
        raise ValueError
    return addresses


LEVEL = r" *[A-Za-z0-9._+-]([A-Za-z0-9 ._+-]{0,14}[A-Za-z0-9._+-])? *"  # its column holds 16 bytes
LEVELS = "names of at most 16 letters or digits with commas between"
NAME = r"(?!.*--)(?!sg-)[a-z][a-z0-9-]{0,34}(?<!-)"
NAMED = "small letters, digits and single hyphens, from a letter on, at most 35"
NODES = "a type other than dc2, which can't be created any more, such as ra3.large"
RANGE = "your own IPv4 address, such as 203.0.113.7/32, or a range that is not the whole internet"
SIZE, SHARE = r"((?i:\d+(\.\d+)?\s*[KMGT]i?B))?", r"\d+(\.\d+%|%)?"
# Every key with its default, whose type its values have.
SECTIONS = {
    "DWH": {"TARGET": declare_key("local", pattern="local|redshift", expected="local or redshift")},
    "DATA": {"LOG_DATA": "", "LOG_JSONPATH": "", "SONG_DATA": "", "REGION": "us-west-2"},
    "LOCAL": {
        "DATABASE": declare_key("", pattern="(?!.*://).*", expected="a file of this machine"),
        "MEMORY_LIMIT": declare_key("", pattern=SIZE, expected="a size such as 4GB"),
        "THREADS": declare_key(0, least=0, most=1024),
    },
    "LOAD": {
        "MAX_REJECTS": declare_key("0", pattern=SHARE, expected="a count or a share such as 0.1%"),
        "MIN_COVERAGE": declare_key(0.0, least=0, most=1),
        "EARLIEST": declare_key(date(2000, 1, 1), least=date(1970, 1, 1)),
        "LEVELS": declare_key("free, paid", pattern=f"{LEVEL}(,{LEVEL})*", expected=LEVELS),
    },
    "AWS": {"PROFILE": "", "REGION": "us-west-2", "ACCOUNT": ""}
    | {"KEY": declare_key("", secret=True), "SECRET": declare_key("", secret=True)},
    "CLUSTER": {
        "IDENTIFIER": declare_key("sparkify-dwh", pattern=NAME, expected=NAMED),
        "NODE_TYPE": declare_key("ra3.large", pattern="(?!dc2).*", expected=NODES),
        "NUM_NODES": declare_key(1, least=1),
        "ACCESS": declare_key("my-ip", pattern="my-ip|vpc", expected="my-ip or vpc"),
        "CLIENT_CIDR": declare_key("", parse=_read_range, expected=RANGE),
        "MAX_HOURLY_USD": declare_key(1.0, least=0),
        "EXPIRES_HOURS": declare_key(24, least=1),
        "SNAPSHOT_DAYS": declare_key(7, least=1, most=35),
        "FINAL_SNAPSHOT_DAYS": declare_key(0, least=0),
        "AUDIT_LOGS": False,
        "VPC": "",
    },
    "DB": {"NAME": "sparkify", "USER": "dwh_admin", "PORT": declare_key(5439, least=1), "HOST": ""},
    "IAM_ROLE": {"NAME": "sparkify-dwh-copy", "ARN": ""},
}


def _make_class(name: str, /, **values) -> type:
    """Make a class with these attributes and defaults, which can't be changed."""
    typed = [(key, type(getattr(of, "default", of)), of) for key, of in values.items()]
    return make_dataclass(name, typed, frozen=True)


PARTS = {
    section.lower(): _make_class(section, **{key.lower(): of for key, of in keys.items()})()
    for section, keys in SECTIONS.items()
}
KEYS = {(name.upper(), key.name.upper()): key for name in PARTS for key in fields(PARTS[name])}
Load, Aws = type(PARTS["load"]), type(PARTS["aws"])
Load.level_names = property(lambda load: tuple(name.strip() for name in load.levels.split(",")))


@dataclass(frozen=True)
class Settings(_make_class("Sections", **PARTS)):
    """Every setting, one attribute a section: `settings.local.database`."""

    file: str = field(default="", compare=False)  # the one that was named, else ''

    @property
    def uses_sample(self) -> bool:
        """Whether the data is the project's own sample, named or not."""
        places = ("data/sample/log_data", "data/sample/song_data")
        return (self.log_data, self.song_data) == tuple(map(resolve_place, places))

    @property
    def data_kind(self) -> str:
        """The kind of the data: sample or own."""
        return "sample" if self.uses_sample else "own"

    @property
    def log_data(self) -> str:
        """The event logs' folder, absolute, or s3://…"""
        return resolve_place(self.data.log_data or "data/sample/log_data")

    @property
    def song_data(self) -> str:
        """The song metadata's folder, absolute, or s3://…"""
        return resolve_place(self.data.song_data or "data/sample/song_data")

    @property
    def database(self) -> Path:
        """The DuckDB file."""
        return Path(resolve_place(self.local.database or DATABASES[self.data_kind]))

    @property
    def is_default_database(self) -> bool:
        """Whether the DuckDB file is at a place of the project's own choice."""
        return str(self.database) in map(resolve_place, DATABASES.values())


def resolve_place(place: str) -> str:
    """Return `place` as it is when it is in S3, else as an absolute path."""
    return place if "://" in place else str((ROOT / Path(place).expanduser()).resolve())


def shorten_place(place: str) -> str:
    """Return the name of a data location for a shared page, without this machine's folders."""
    path = Path(place)
    short = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return place if "://" in place else short


def read_settings(path: str | Path = "", environ: Mapping = os.environ, **overrides) -> Settings:
    """Read and check the settings.

    `path`: the configuration file; empty: the project's dwh.cfg when there is one.
    `environ`: environment variables.
    `overrides`: by name (`target`) or, where two sections have that name, by `section__name`; an
    empty string or None stands for "not given".
    Raises ConfigError with section, key, line and what was expected.
    """
    found = [*_read_file(path), *_read_environment(environ), *_read_overrides(overrides)]
    settings = Settings(file=resolve_place(str(path)) if path else "")
    for place, (raw, where) in dict(found).items():
        section, key = map(str.lower, place)
        changed = {key: convert_value(KEYS[place], raw, where)}
        settings = replace(settings, **{section: replace(getattr(settings, section), **changed)})
    _check_together(settings)
    return settings


def suggest_name(word: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" for a near miss, else the list of what is known."""
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), names, 1)
    return f"did you mean {names[near[0]]}?" if near else f"known are {', '.join(names.values())}."


def _read_file(path: str | Path) -> Iterator[tuple]:
    """Yield (section, key) and (value, where it is) of each key. No error shows a line of the file,
    which may hold a secret."""
    file = Path(resolve_place(str(path))) if path else ROOT / "dwh.cfg"
    if not path and not file.is_file():
        return
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(f"{file} can't be read: {reason}; fix that or name another.") from None
    section, seen = "", set()
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line[0] in "#;":
            continue
        where = f"{file}, line {number}"
        heading = re.match(r"\[(.+?)\]", line)
        entry = section and re.fullmatch(r"(?ai)([a-z]\w*)\s*=\s*(.*)", line)
        section, key = heading[1] if heading else section, entry[1].upper() if entry else ""
        if not (heading or entry) or (section, key) in seen:
            raise ConfigError(f"{where} can't be read: write [SECTION] or KEY = value, each once.")
        seen.add((section, key))
        if section not in SECTIONS:
            hint = suggest_name(section, SECTIONS)
            raise ConfigError(f"{where}: there is no section [{section}]; {hint}")
        if entry:
            _check_key(file, where := f"{where}: [{section}] {key}", section, key, entry[2])
            yield (section, key), (entry[2], where)


def _check_key(file: Path, where: str, section: str, key: str, value: str) -> None:
    """Refuse an unknown key, and a secret in a file that other users can read."""
    if (section, key) not in KEYS:
        raise ConfigError(f"{where} is not a setting; {suggest_name(key, SECTIONS[section])}")
    if value and not KEYS[section, key].repr and os.name == "posix" and file.stat().st_mode & 0o077:
        raise ConfigError(f"{where} is in a file that others can read; run: chmod 600 {file}")


def _read_environment(environ: Mapping) -> Iterator[tuple]:
    """Yield the same for each environment variable DWH_SECTION_KEY."""
    known = {f"DWH_{section}_{key}": (section, key) for section, key in KEYS}
    for variable in environ:
        if variable in known:
            yield known[variable], (environ[variable], f"The environment variable {variable}")
        elif variable.startswith("DWH_"):
            hint = suggest_name(variable, known)
            raise ConfigError(f"The environment variable {variable} is not a setting; {hint}")


def _read_overrides(overrides: Mapping) -> Iterator[tuple]:
    """Yield the same for each option that is given."""
    for name, raw in overrides.items():
        section, _, key = name.upper().rpartition("__")
        (place,) = (place for place in KEYS if place[1] == key and section in ("", place[0]))
        if raw is not None and raw != "":
            yield place, (str(raw), f"The option {name}")


def convert_value(key: Field, raw: str, where: str):
    """Return the string `raw` as the type of the key's default, or say what was expected."""
    about, kind = key.metadata, type(key.default)
    parsers = {bool: lambda word: TRUTH[word.lower()], date: date.fromisoformat}
    with suppress(KeyError, ValueError):
        value = about.get("parse", parsers.get(kind, kind))(raw)
        is_within = about.get("least", value) <= value <= about.get("most", value)
        if is_within and re.fullmatch(about.get("pattern", "(?s).*"), raw):
            return value
    bounds = [f", at {end} {about[end]}" for end in ("least", "most") if end in about]
    expected = "".join([about.get("expected") or TYPES[kind], *bounds])
    raise ConfigError(f"{where} must be {expected}, not {raw!r}.")


def _check_together(settings: Settings) -> None:
    """Refuse keys that are valid one by one, but not together."""
    logs, songs = settings.data.log_data, settings.data.song_data
    if bool(logs) != bool(songs):
        known, other = ("LOG_DATA", "SONG_DATA") if logs else ("SONG_DATA", "LOG_DATA")
        raise ConfigError(
            f"{known} is named and {other} is not; name both, or neither for the sample "
            "(real events must not be matched against invented songs)."
        )
    db = settings.db
    if settings.dwh.target == "local" or db.host:  # somebody else's cluster follows its own rules
        return
    if not (5431 <= db.port <= 5455 or 8191 <= db.port <= 8215):
        raise ConfigError(f"[DB] PORT must be 5431 to 5455 or 8191 to 8215, not {db.port}.")
    if db.user in ("admin", "awsuser"):
        raise ConfigError(f"[DB] USER {db.user} is what attackers try; use another, as dwh_admin.")
    if db.name == "dev":
        raise ConfigError("[DB] NAME dev is what attackers try; use another, such as sparkify.")
