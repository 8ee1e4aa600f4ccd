"""Settings: dwh.cfg, environment and overrides, validated before anything else happens.

Precedence: override (notebook parameter, command-line option), then the environment
(`DWH_SECTION_KEY`), then dwh.cfg, then the default. Relative paths start at the project's folder.
"""

from __future__ import annotations

import configparser
import difflib
import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from pathlib import Path

from lib import ROOT, UserError

# By the kind of data: what to name as the source of a figure, and the DuckDB file, one for each, so
# that the sample never mixes with other data.
SOURCES = {"sample": "Sparkify sample (invented data)", "own": "Sparkify event logs"}
DATABASES = {"sample": "data/sample.duckdb", "own": "data/warehouse.duckdb"}
LEVEL = r"[A-Za-z0-9 ._+-]{1,16}"  # as many bytes as its column holds


class ConfigError(UserError):
    """A setting that is unknown or has a value that can't be used."""


def option(
    default, doc: str, *, choices: tuple = (), minimum=None, maximum=None, secret: bool = False
):
    """Declare one setting: its default, one line on what it does, and what it accepts."""
    about = {"doc": doc, "choices": choices, "least": minimum, "most": maximum, "secret": secret}
    return field(default=default, repr=not secret, metadata=about)


@dataclass(frozen=True)
class Dwh:
    """[DWH]: which warehouse."""

    target: str = option("local", "the warehouse: local or redshift", choices=("local", "redshift"))


@dataclass(frozen=True)
class Data:
    """[DATA]: where the JSON lies."""

    log_data: str = option("", "event logs: a folder or s3://…; empty: the sample")
    log_jsonpath: str = option("", "jsonpaths file of the event logs, for COPY on Redshift")
    song_data: str = option("", "song metadata: a folder or s3://…; empty: the sample")
    region: str = option("us-west-2", "region of the bucket that holds the data")


@dataclass(frozen=True)
class Local:
    """[LOCAL]: the embedded warehouse."""

    database: str = option("", "DuckDB file; empty: data/sample.duckdb or data/warehouse.duckdb")
    memory_limit: str = option("", "memory of DuckDB, such as 4GB; empty: what its threads need")
    threads: int = option(
        0, "threads that DuckDB may use; 0: one for each core", minimum=0, maximum=1024
    )


@dataclass(frozen=True)
class Load:
    """[LOAD]: what a load lets pass."""

    max_rejects: str = option("0", "bad records that a load may leave out: a count, or as 0.1%")
    min_coverage: float = option(
        0.0, "smallest share of matched plays, 0 to 1", minimum=0, maximum=1
    )
    earliest: date = option(  # noqa: RUF009 nobody can change a date
        date(2000, 1, 1), "first day that an event can be of (UTC)", minimum=date(1970, 1, 1)
    )
    levels: str = option("free, paid", "levels that an event can have, with commas between")

    @property
    def level_names(self) -> tuple[str, ...]:
        """The levels that an event can have."""
        return tuple(level.strip(" ") for level in self.levels.split(","))


@dataclass(frozen=True)
class Aws:
    """[AWS]: who asks, and where."""

    profile: str = option("", "profile of ~/.aws; empty: the default credential chain")
    region: str = option("us-west-2", "region of the cluster")
    account: str = option("", "the only account to work in; empty: any")
    key: str = option("", "access key; only in a private file (0600)", secret=True)
    secret: str = option("", "secret key; only in a private file (0600)", secret=True)


@dataclass(frozen=True)
class Cluster:
    """[CLUSTER]: the Redshift cluster."""

    identifier: str = option("sparkify-dwh", "name of the cluster")
    node_type: str = option("ra3.large", "node type")
    num_nodes: int = option(1, "number of nodes", minimum=1)
    access: str = option("my-ip", "who may connect: my-ip or vpc", choices=("my-ip", "vpc"))
    client_cidr: str = option(
        "", "address range for my-ip, such as 203.0.113.7/32; empty: looked up"
    )
    max_hourly_usd: float = option(
        1.0, "never create what costs more per hour, in US dollars", minimum=0
    )
    expires_hours: int = option(24, "hours after which AWS pauses the cluster", minimum=1)
    snapshot_days: int = option(7, "days that automatic snapshots are kept", minimum=1, maximum=35)
    final_snapshot_days: int = option(
        0, "days that a snapshot of a removed cluster is kept; 0: none is taken", minimum=0
    )
    audit_logs: bool = option(False, "write connections, users and statements to CloudWatch")
    vpc: str = option("", "VPC of the cluster; empty: the account's default, or its only one")


@dataclass(frozen=True)
class Db:
    """[DB]: the database on the cluster."""

    name: str = option("sparkify", "database")
    user: str = option("dwh_admin", "admin user")
    port: int = option(5439, "port", minimum=1)
    host: str = option("", "endpoint of a cluster made elsewhere, never changed or deleted")


@dataclass(frozen=True)
class IamRole:
    """[IAM_ROLE]: what COPY reads the bucket as."""

    name: str = option("sparkify-dwh-copy", "role that COPY reads the bucket with")
    arn: str = option("", "a role made elsewhere, used as it is")


@dataclass(frozen=True)
class Settings:
    """Every setting, one attribute a section: `settings.local.database`."""

    dwh: Dwh = Dwh()
    data: Data = Data()
    local: Local = Local()
    load: Load = Load()
    aws: Aws = Aws()
    cluster: Cluster = Cluster()
    db: Db = Db()
    iam_role: IamRole = IamRole()
    file: str = field(default="", compare=False)  # the one that was named, else ''

    @property
    def uses_sample(self) -> bool:
        """Whether the data is the project's own sample, named or not."""
        places = ("data/sample/log_data", "data/sample/song_data")
        return (self.log_data, self.song_data) == tuple(map(located, places))

    @property
    def data_kind(self) -> str:
        """The kind of the data: sample or own."""
        return "sample" if self.uses_sample else "own"

    @property
    def log_data(self) -> str:
        """The event logs' folder, absolute, or s3://…"""
        return located(self.data.log_data or "data/sample/log_data")

    @property
    def song_data(self) -> str:
        """The song metadata's folder, absolute, or s3://…"""
        return located(self.data.song_data or "data/sample/song_data")

    @property
    def database(self) -> Path:
        """The DuckDB file."""
        return Path(located(self.local.database or DATABASES[self.data_kind]))

    @property
    def is_default_database(self) -> bool:
        """Whether the DuckDB file is at a place of the project's own choice."""
        return str(self.database) in map(located, DATABASES.values())


SECTIONS = {s.name.upper(): type(s.default) for s in fields(Settings) if s.name != "file"}


def located(place: str) -> str:
    """Return `place` as it is when it is in S3, else as an absolute path."""
    return place if "://" in place else str((ROOT / Path(place).expanduser()).resolve())


def named(place: str) -> str:
    """Name a place of data to anyone: whole in S3 and in the project, else by its last name."""
    path = Path(place)
    if "://" in place:
        return place
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def load(path: str | Path = "", environ: Mapping | None = None, **overrides) -> Settings:
    """Read the settings from their four places.

    `path`: the configuration file; empty: the project's dwh.cfg when there is one.
    `environ`: the environment, `os.environ` unless given.
    `overrides`: setting names that are unique (`target`, `log_data`, `database`) or
    `section__key`; an empty string or None stands for "not given".
    Raises ConfigError with section, key, line and what was expected.
    """
    environ = os.environ if environ is None else environ
    values = dict([*_from_file(path), *_from_environment(environ), *_from_overrides(overrides)])
    built = {section: {} for section in SECTIONS}
    for (section, name), (raw, where) in values.items():
        built[section][name] = _converted(section, name, raw, where)
    sections = {s.lower(): cls(**built[s]) for s, cls in SECTIONS.items()}
    settings = Settings(**sections, file=located(str(path)) if path else "")
    return _checked(settings)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" for a near miss, else the list of what is known."""
    named = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), named, 1)
    return f"did you mean {named[near[0]]}?" if near else f"known are {', '.join(named.values())}."


def _names(section: str) -> list[str]:
    return [setting.name.upper() for setting in fields(SECTIONS[section])]


def _from_file(path: str | Path):
    file = Path(located(str(path))) if path else ROOT / "dwh.cfg"
    if not os.path.isfile(file):
        if path:
            raise ConfigError(f"There is no configuration file {file}; name one that exists.")
        return
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), default_section="")
    try:
        text = file.read_text(encoding="utf-8-sig")
        parser.read_string(text, source=str(file))
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text; save it as such.") from None
    except OSError as error:
        raise ConfigError(
            f"{file} can't be read: {error.strerror}; let yourself read it, or name another one "
            "with --config."
        ) from None
    except configparser.Error as error:  # its own words would show the line, maybe a secret
        line = getattr(error, "lineno", None) or error.errors[0][0]
        raise ConfigError(
            f"{file}, line {line} can't be read: expected [SECTION] or KEY = value, each once."
        ) from None
    for section in parser.sections():
        if section not in SECTIONS:
            line = _line(text, section)
            hint = suggestion(section, SECTIONS)
            raise ConfigError(f"{file}, line {line}: there is no section [{section}]; {hint}")
        for name, raw in parser[section].items():
            line = _line(text, section, name)
            if not name.isidentifier():  # not shown: it may be a value, and that a secret
                raise ConfigError(f"{file}: a line of [{section}] is not of the form KEY = value.")
            where = f"{file}, line {line}: [{section}] {name.upper()}"
            if name.upper() not in _names(section):
                raise ConfigError(f"{where} is no setting; {suggestion(name, _names(section))}")
            if "\n" in raw:
                raise ConfigError(f"{where} goes over several lines; do not indent the next one.")
            if (section, name) in (("AWS", "key"), ("AWS", "secret")) and raw:
                _refuse_if_shared(file, where)
            yield (section, name), (raw, where)


def _refuse_if_shared(file: Path, where: str) -> None:
    if os.name == "posix" and file.stat().st_mode & 0o077:
        raise ConfigError(f"{where} is in a file that others can read; run: chmod 600 {file}")


def _line(text: str, section: str, name: str = "") -> int:
    """Return the number of the line that opens `section`, or sets `name` within it."""
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        if heading := re.match(r"\[(.+?)\]", line):
            inside = heading[1] == section
            if inside and not name:
                return number
        elif inside and name and re.match(rf"\s*{re.escape(name)}\s*=", line, re.IGNORECASE):
            return number
    return 0


def _from_environment(environ: Mapping):
    known = {f"DWH_{s}_{name}": (s, name.lower()) for s in SECTIONS for name in _names(s)}
    for variable in environ:
        if variable in known:
            yield known[variable], (environ[variable], f"The environment variable {variable}")
        elif variable.startswith("DWH_"):
            hint = suggestion(variable, known)
            raise ConfigError(f"The environment variable {variable} is no setting; {hint}")


def _from_overrides(overrides: Mapping):
    places: dict[str, list] = {}
    for section in SECTIONS:
        for known in map(str.lower, _names(section)):
            places.setdefault(known, []).append((section, known))
            places[f"{section.lower()}__{known}"] = [(section, known)]
    for name, raw in overrides.items():
        if name not in places:
            raise ConfigError(f"{name} is no setting; {suggestion(name, places)}")
        if len(places[name]) > 1:
            full = " or ".join(f"{section.lower()}__{name}" for section, _ in places[name])
            raise ConfigError(f"{name} is in several sections; name {full}.")
        if raw is not None and raw != "":
            yield places[name][0], (str(raw), f"The option {name}")


def _converted(section: str, name: str, raw: str, where: str):
    """Return the text `raw` as the setting's type, or say what was expected."""
    setting = next(s for s in fields(SECTIONS[section]) if s.name == name)
    about, kind = setting.metadata, type(setting.default)
    if kind is bool:
        if raw.lower() not in ("true", "false"):
            raise ConfigError(f"{where} must be true or false, not {raw!r}.")
        return raw.lower() == "true"
    if kind is str and not about["choices"]:
        return raw
    shown = "a hidden value" if about["secret"] else repr(raw)
    try:
        value = date.fromisoformat(raw) if kind is date else kind(raw)
    except ValueError:
        kinds = {int: "a whole number", float: "a number", date: "a date such as 2018-11-30"}
        expected = kinds[kind]
        raise ConfigError(f"{where} must be {expected}, not {shown}.") from None
    if about["choices"] and value not in about["choices"]:
        choices = " or ".join(about["choices"])
        hint = difflib.get_close_matches(raw, about["choices"], 1)
        meant = f"; did you mean {hint[0]}?" if hint else "."
        raise ConfigError(f"{where} must be {choices}, not {shown}{meant}")
    if about["least"] is not None and not value >= about["least"]:
        raise ConfigError(f"{where} must be at least {about['least']}, not {shown}.")
    if about["most"] is not None and not value <= about["most"]:
        raise ConfigError(f"{where} must be at most {about['most']}, not {shown}.")
    return value


def _checked(settings: Settings) -> Settings:
    """Refuse what is right key by key and wrong together."""
    logs, songs = settings.data.log_data, settings.data.song_data
    if bool(logs) != bool(songs):
        known, other = ("LOG_DATA", "SONG_DATA") if logs else ("SONG_DATA", "LOG_DATA")
        raise ConfigError(
            f"{known} is named and {other} is not; name both, or neither for the sample "
            "(real events must not be matched against invented songs)."
        )
    if "://" in settings.local.database:
        raise ConfigError(
            f"[LOCAL] DATABASE is a file of this machine, not {settings.local.database!r}."
        )
    if not re.fullmatch(r"\d+|\d+(\.\d+)?%", settings.load.max_rejects):
        rejects = settings.load.max_rejects
        raise ConfigError(
            f"[LOAD] MAX_REJECTS is a count or a share such as 0.1%, not {rejects!r}."
        )
    if not all(re.fullmatch(LEVEL, name) for name in settings.load.level_names):
        raise ConfigError(
            "[LOAD] LEVELS are names of at most 16 letters or digits with commas between, not "
            f"{settings.load.levels!r}."
        )
    memory = settings.local.memory_limit
    if memory and not re.fullmatch(r"(?i)\d+(\.\d+)?\s*[KMGT]i?B", memory):
        raise ConfigError(f"[LOCAL] MEMORY_LIMIT is a size such as 4GB, not {memory!r}.")
    if settings.dwh.target == "redshift":
        _check_addresses(settings.cluster)
        if not settings.db.host:  # a cluster made elsewhere follows its own rules
            _check_cluster(settings)
    return settings


def _check_addresses(cluster: Cluster) -> None:
    """Refuse a range of addresses that opens the cluster to strangers."""
    where = "[CLUSTER] CLIENT_CIDR"
    if not cluster.client_cidr:
        return
    try:
        network = ipaddress.ip_network(cluster.client_cidr)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}; such as 203.0.113.7/32.") from None
    if network.prefixlen < 8:
        raise ConfigError(
            f"{where} {cluster.client_cidr} would let the whole world try the database's door; "
            "name your own address, such as 203.0.113.7/32, or leave it empty to look it up."
        )
    if network.version != 4:
        raise ConfigError(f"{where} must be an IPv4 range; the cluster has no IPv6 address.")


def _check_cluster(settings: Settings) -> None:
    """Refuse what Redshift would refuse, or what AWS advises against."""
    cluster, db = settings.cluster, settings.db
    if not re.fullmatch(r"(?!.*--)(?!sg-)[a-z][a-z0-9-]{0,34}(?<!-)", cluster.identifier):
        raise ConfigError(
            "[CLUSTER] IDENTIFIER must be small letters, digits and single hyphens, from a letter "
            f"on, at most 35, not {cluster.identifier!r}."
        )
    if cluster.node_type.startswith("dc2"):
        raise ConfigError(
            f"[CLUSTER] NODE_TYPE {cluster.node_type} can't be created any more; use ra3.large."
        )
    if not (5431 <= db.port <= 5455 or 8191 <= db.port <= 8215):
        raise ConfigError(f"[DB] PORT must be 5431 to 5455 or 8191 to 8215, not {db.port}.")
    if db.user in ("admin", "awsuser"):
        raise ConfigError(f"[DB] USER {db.user} is what attackers try; use another, as dwh_admin.")
    if db.name == "dev":
        raise ConfigError("[DB] NAME dev is what attackers try; use another, such as sparkify.")
