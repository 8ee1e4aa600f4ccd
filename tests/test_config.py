"""Settings come from four places in a stated order, and what is wrong is named."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from lib import ROOT, config
from lib.config import ConfigError

DESIGN = {
    "DWH": {"TARGET"},
    "DATA": {"LOG_DATA", "LOG_JSONPATH", "SONG_DATA", "REGION"},
    "LOCAL": {"DATABASE", "MEMORY_LIMIT", "THREADS"},
    "LOAD": {"MAX_REJECTS", "MIN_COVERAGE", "EARLIEST", "LEVELS"},
    "AWS": {"PROFILE", "REGION", "ACCOUNT", "KEY", "SECRET"},
    "CLUSTER": {
        *("IDENTIFIER", "NODE_TYPE", "NUM_NODES", "ACCESS", "CLIENT_CIDR", "MAX_HOURLY_USD"),
        *("EXPIRES_HOURS", "SNAPSHOT_DAYS", "FINAL_SNAPSHOT_DAYS", "AUDIT_LOGS", "VPC"),
    },
    "DB": {"NAME", "USER", "PORT", "HOST"},
    "IAM_ROLE": {"NAME", "ARN"},
}
SECRET = "wJalrXUtnFEMI/K7MDENG"
CLUSTER = {"client_cidr": "203.0.113.7/32", "log_data": "s3://a/logs", "song_data": "s3://a/songs"}


@pytest.fixture
def cfg(tmp_path):
    """Write a configuration file that only its owner can read."""

    def write(text: str) -> Path:
        file = tmp_path / "dwh.cfg"
        file.write_text(text)
        file.chmod(0o600)
        return file

    return write


def refused(path="", environ=None, **overrides) -> str:
    """Return the sentence that these settings are refused with."""
    with pytest.raises(ConfigError) as caught:
        config.read_settings(path, environ=environ or {}, **overrides)
    return str(caught.value)


def test_every_key_of_the_design_is_a_setting():
    parts = {one.name: getattr(config.Settings(), one.name) for one in fields(config.Settings)[:-1]}
    keys = {name: {key.name.upper() for key in fields(part)} for name, part in parts.items()}
    assert keys == {name.lower(): keys for name, keys in DESIGN.items()}


def test_the_example_documents_every_key_with_its_default_and_loads_as_it_is():
    example = ROOT / "dwh.cfg.example"
    documented: dict[str, set[str]] = {}
    previous = ""
    for line in example.read_text().splitlines():
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            keys = documented.setdefault(heading[1], set())
        elif key := re.match(r"(\w+) =", line):
            assert previous.startswith("# "), f"{key[1]} has no line that says what it does"
            keys.add(key[1])
        previous = line
    assert documented == DESIGN
    assert config.read_settings(example, environ={}) == config.Settings()


def test_without_a_file_the_target_is_local_with_the_sample(monkeypatch, tmp_path):
    monkeypatch.setattr(config, "ROOT", tmp_path)
    settings = config.read_settings(environ={})
    assert settings == config.Settings()
    assert (settings.dwh.target, settings.uses_sample) == ("local", True)
    assert settings.log_data == str(tmp_path / "data/sample/log_data")
    assert settings.song_data == str(tmp_path / "data/sample/song_data")
    assert settings.database == tmp_path / "data/sample.duckdb"


def test_dwh_cfg_of_the_project_and_the_environment_are_read_when_none_is_given(monkeypatch, cfg):
    monkeypatch.setattr(config, "ROOT", cfg("[LOCAL]\nTHREADS = 3\n").parent)
    assert config.read_settings(environ={}).local.threads == 3
    monkeypatch.setenv("DWH_LOCAL_THREADS", "5")
    assert config.read_settings().local.threads == 5
    assert config.read_settings(environ={}).local.threads == 3


@pytest.mark.parametrize(
    ("text", "environ", "overrides", "threads"),
    [
        ("", {}, {}, 0),
        ("[LOCAL]\nTHREADS = 1\n", {}, {}, 1),
        ("[LOCAL]\nTHREADS = 1\n", {"DWH_LOCAL_THREADS": "2"}, {}, 2),
        ("[LOCAL]\nTHREADS = 1\n", {"DWH_LOCAL_THREADS": "2"}, {"threads": 3}, 3),
        ("[LOCAL]\nTHREADS = 1\n", {}, {"local__threads": "3"}, 3),
        ("[LOCAL]\nTHREADS = 1\n", {}, {"threads": ""}, 1),
        ("[LOCAL]\nTHREADS = 1\n", {}, {"threads": None}, 1),
    ],
)
def test_an_override_precedes_the_environment_the_file_and_the_default(
    cfg, text, environ, overrides, threads
):
    assert config.read_settings(cfg(text), environ, **overrides).local.threads == threads


def test_a_file_may_have_a_bom_windows_line_ends_comments_and_any_sign_in_a_value(cfg):
    file = cfg("")
    text = "\ufeff# mine\r\n[DATA] # here\r\n; two\r\n  log_data=s3://a/100%=b#c ;d\r\n"
    file.write_bytes(f"{text}SONG_DATA = s3://a/%(x)s".encode())
    settings = config.read_settings(file, environ={})
    assert (settings.log_data, settings.song_data) == ("s3://a/100%=b#c ;d", "s3://a/%(x)s")


BROKEN = " can't be read: write [SECTION] or KEY = value, each once."


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("# mine\n\n[LOKAL]\n", 3, ": there is no section [LOKAL]; did you mean LOCAL?"),
        ("[local]\n", 1, ": there is no section [local]; did you mean LOCAL?"),
        ("[DEFAULT]\n[DWH]\n", 1, ": there is no section [DEFAULT]; known are DWH, DATA, LOCAL"),
        ("[LOCAL]\nTHREDS = 2\n", 2, ": [LOCAL] THREDS is not a setting; did you mean THREADS?"),
        ("[DWH]\nHOST = x\n[DB]\n", 2, ": [DWH] HOST is not a setting; known are TARGET."),
        ("[LOCAL]\n#\nTHREADS = 2.5\n", 3, ": [LOCAL] THREADS must be a whole number"),
        ("[LOCAL]\nTHREADS =\n", 2, ": [LOCAL] THREADS must be a whole number"),
        ("[LOCAL]\nTHREADS\n", 2, BROKEN),
        ("THREADS = 2\n", 1, BROKEN),
        ("[LOCAL]\nTHREADS = 1\nTHREADS = 2\n", 3, BROKEN),
        ("[LOCAL]\n[DWH]\n[LOCAL]\n", 3, BROKEN),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_line_section_key_and_what_was_expected(
    cfg, text, line, said
):
    file = cfg(text)
    assert refused(file).startswith(f"{file}, line {line}{said}")


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("target", ["lokal"], "local or redshift, not 'lokal'."),
        ("threads", ["two", "1.5"], "a whole number"),
        ("threads", ["-1", "1025"], "a whole number, at least 0, at most 1024"),
        ("min_coverage", ["2%", "-0.1", "nan", "1.1", "inf"], "a number, at least 0, at most 1"),
        ("max_hourly_usd", ["-1", "nan"], "a number, at least 0"),
        ("memory_limit", ["4", "50%", "four GB", "4GB; drop table songs"], "a size such as 4GB"),
        ("max_rejects", ["-1", "5 %", "%", "0.5", "1e3"], "a count or a share such as 0.1%"),
        ("database", ["s3://bucket/x.duckdb"], "a file of this machine"),
        ("earliest", ["soon", "2018-13-01", "1969-12-31"], "a date such as 2018-11-30"),
        ("levels", [",", "free,,paid", "x" * 17, "it's", "a\\b", "frée"], "names of at most 16"),
    ],
)
def test_a_value_that_can_not_be_used_is_named_with_what_was_expected(name, values, expected):
    for value in values:
        sentence = refused(**{name: value})
        assert sentence.startswith(f"The option {name} must be {expected}")
        assert f", not {value!r}" in sentence


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"node_type": "dc2.large"}, "dc2, which can't be created any more, such as ra3.large"),
        ({"port": 5430}, "PORT must be 5431 to 5455 or 8191 to 8215, not 5430"),
        *(
            ({"client_cidr": wrong}, "or a range that is not the whole internet, not '")
            for wrong in ("0.0.0.0/0", "::/0", "8.0.0.0/7", "2001:db8::1/128", "1.2.3.7/24", "home")
        ),
        ({"db__user": "admin"}, "USER admin is what attackers try"),
        ({"db__name": "dev"}, "NAME dev is what attackers try"),
        ({"identifier": "Sparkify"}, "identifier must be small letters"),
        ({"identifier": "a--b"}, "identifier must be small letters"),
        ({"snapshot_days": 36}, "snapshot_days must be a whole number, at least 1, at most 35"),
        ({"audit_logs": "maybe"}, "must be true or false, not 'maybe'"),
    ],
)
def test_a_cluster_that_can_not_be_or_is_not_safe_is_refused(wrong, words):
    assert words in refused(target="redshift", **CLUSTER | wrong)


def test_a_value_of_every_accepted_form_has_the_type_of_its_default():
    given = {"memory_limit": "2.5 gib", "max_rejects": "0.1%", "levels": "free, paid plus ,x"}
    given |= {"threads": "2", "min_coverage": "0.02", "account": "0123", "audit_logs": "yes"}
    own = config.read_settings(environ={}, **given)
    assert (own.local.memory_limit, own.local.threads) == ("2.5 gib", 2)
    assert (own.load.max_rejects, own.load.min_coverage) == ("0.1%", 0.02)
    assert (own.aws.account, own.cluster.audit_logs) == ("0123", True)
    assert own.load.level_names == ("free", "paid plus", "x")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DWH_LOCAL_THREDS", "2", "is not a setting; did you mean DWH_LOCAL_THREADS?"),
        ("DWH_TARGET", "local", "is not a setting; did you mean DWH_DWH_TARGET?"),
        ("DWH_LOCAL_THREADS", "two", "must be a whole number"),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(variable, value, said):
    sentence = refused(environ={variable: value, "HOME": "/"})
    assert f"environment variable {variable} {said}" in sentence


def test_a_configuration_file_that_is_missing_or_can_not_be_read_is_one_sentence(cfg, monkeypatch):
    missing, file = ROOT / "none.cfg", cfg("")
    assert refused(missing).startswith(f"{missing} can't be read: No such file or directory; fix")
    file.write_bytes("[DWH]\n# für\n".encode("latin-1"))
    said = f"{file} can't be read: it is not UTF-8 text; fix that or name another."
    assert refused(file) == said

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    assert refused(file).startswith(f"{file} can't be read: Permission denied; fix that")


def test_logs_and_songs_are_named_both_or_neither():
    assert refused(log_data="x").startswith("LOG_DATA is named and SONG_DATA is not; name both, or")
    assert refused(song_data="x").startswith("SONG_DATA is named and LOG_DATA is not; name both")


def test_relative_places_start_at_the_projects_folder_a_tilde_at_home_and_others_stay(
    monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    places = {"log_data": "mine/logs", "song_data": "s3://bucket/songs", "database": "~/x.duckdb"}
    settings = config.read_settings(environ={}, **places)
    assert settings.log_data == str(ROOT.resolve() / "mine/logs")
    assert settings.song_data == "s3://bucket/songs"
    assert settings.database == tmp_path.resolve() / "x.duckdb"


def test_other_data_goes_into_another_database_than_the_sample():
    settings = config.read_settings(environ={}, log_data="logs", song_data="songs")
    assert (settings.uses_sample, settings.database.name) == (False, "warehouse.duckdb")


def test_no_secret_is_in_what_settings_show(cfg):
    settings = config.read_settings(
        cfg(f"[AWS]\nKEY = AKIA{SECRET}\nSECRET = {SECRET}\n"), environ={}
    )
    assert (settings.aws.key, settings.aws.secret) == (f"AKIA{SECRET}", SECRET)
    for shown in (settings, settings.aws):
        assert SECRET not in f"{shown!r} {shown} {[shown]}"


@pytest.mark.parametrize(
    "text",
    [
        f"SECRET = {SECRET}\n",
        f"[AWS]\nSECRET: {SECRET}=\n",
        f"[AWS]\nSECRET\n= {SECRET}\n",
        f"[AWS]\nSECRET = {SECRET}\nSECRET = {SECRET}\n",
        f"[AWS]\nSECRT = {SECRET}\n",
        f"[AWZ]\nSECRET = {SECRET}\n",
        f"[LOCAL]\nTHREADS = 4\n  SECRET = {SECRET}\n",
        f"[AWS]\nSECRET = x\n  {SECRET}\n",
    ],
)
def test_no_secret_is_in_what_a_faulty_file_is_refused_with(cfg, text):
    sentence = refused(cfg(text))
    assert SECRET.lower() not in sentence.lower()


def test_a_secret_in_a_file_that_others_can_read_is_refused_and_an_empty_one_is_not(cfg):
    file = cfg(f"[AWS]\nKEY =\nSECRET = {SECRET}\n")
    said = f"{file}, line 3: [AWS] SECRET is in a file that others can read; run: chmod 600 {file}"
    for mode in (0o640, 0o604):
        file.chmod(mode)
        assert refused(file) == said
    file.write_text("[AWS]\nKEY =\nSECRET =\n")
    assert config.read_settings(file, environ={}) == config.Settings()
