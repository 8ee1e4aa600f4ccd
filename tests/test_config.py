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
        "IDENTIFIER",
        "NODE_TYPE",
        "NUM_NODES",
        "ACCESS",
        "CLIENT_CIDR",
        "MAX_HOURLY_USD",
        "EXPIRES_HOURS",
        "SNAPSHOT_DAYS",
        "FINAL_SNAPSHOT_DAYS",
        "AUDIT_LOGS",
        "VPC",
    },
    "DB": {"NAME", "USER", "PORT", "HOST"},
    "IAM_ROLE": {"NAME", "ARN"},
}
SECRET = "wJalrXUtnFEMI/K7MDENG"


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
        config.load(path, environ=environ or {}, **overrides)
    return str(caught.value)


def keys_of(settings) -> dict[str, set[str]]:
    return {
        section.name.upper(): {key.name.upper() for key in fields(getattr(settings, section.name))}
        for section in fields(settings)
        if section.name != "file"
    }


def test_every_key_of_the_design_is_a_setting():
    assert keys_of(config.Settings()) == DESIGN


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
    assert config.load(example, environ={}) == config.Settings()


def test_without_a_file_the_target_is_local_with_the_sample(monkeypatch, tmp_path):
    monkeypatch.setattr(config, "ROOT", tmp_path)
    settings = config.load(environ={})
    assert settings == config.Settings()
    assert (settings.dwh.target, settings.uses_sample) == ("local", True)
    assert settings.log_data == str(tmp_path / "data/sample/log_data")
    assert settings.song_data == str(tmp_path / "data/sample/song_data")
    assert settings.database == tmp_path / "data/sample.duckdb"


def test_dwh_cfg_of_the_project_is_read_when_no_file_is_named(monkeypatch, tmp_path, cfg):
    cfg("[LOCAL]\nTHREADS = 3\n")
    monkeypatch.setattr(config, "ROOT", tmp_path)
    assert config.load(environ={}).local.threads == 3


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
    assert config.load(cfg(text), environ, **overrides).local.threads == threads


def test_the_environment_of_the_process_is_read_unless_one_is_given(monkeypatch, cfg):
    monkeypatch.setenv("DWH_LOCAL_THREADS", "5")
    empty = cfg("")
    assert config.load(empty).local.threads == 5
    assert config.load(empty, environ={}).local.threads == 0


def test_values_have_the_type_of_their_default(cfg):
    text = "[LOCAL]\nTHREADS = 2\n[LOAD]\nMIN_COVERAGE = 0.02\n[AWS]\nACCOUNT = 0123\n"
    settings = config.load(cfg(text), environ={})
    assert (settings.local.threads, settings.load.min_coverage, settings.aws.account) == (
        2,
        0.02,
        "0123",
    )


def test_a_file_may_have_a_bom_windows_line_ends_comments_and_keys_in_lower_case(cfg):
    file = cfg("")
    file.write_bytes(b"\xef\xbb\xbf# mine\r\n[LOCAL]\r\n; two\r\nthreads = 2\r\n")
    assert config.load(file, environ={}).local.threads == 2


def test_a_value_may_hold_a_percent_sign_an_equals_sign_and_a_colon(cfg):
    file = cfg("[DATA]\nLOG_DATA = s3://a/100%=b\nSONG_DATA = s3://a/%(x)s\n")
    settings = config.load(file, environ={})
    assert (settings.log_data, settings.song_data) == ("s3://a/100%=b", "s3://a/%(x)s")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("# mine\n\n[LOKAL]\n", 3, "there is no section [LOKAL]; did you mean LOCAL?"),
        ("[local]\n", 1, "there is no section [local]; did you mean LOCAL?"),
        ("[DWH]\n[LOCAL]\nTHREDS = 2\n", 3, "[LOCAL] THREDS is no setting; did you mean THREADS?"),
        (
            "[DWH]\nHOST = x\n[DB]\nHOST = y\n",
            2,
            "[DWH] HOST is no setting; known are TARGET.",
        ),
        (
            "[LOCAL]\n# how many\nTHREADS = two\n",
            3,
            "[LOCAL] THREADS must be a whole number, not 'two'.",
        ),
        ("[LOCAL]\nTHREADS = 1.5\n", 2, "[LOCAL] THREADS must be a whole number, not '1.5'."),
        ("[LOCAL]\nTHREADS = -1\n", 2, "[LOCAL] THREADS must be at least 0, not '-1'."),
        ("[LOAD]\nMIN_COVERAGE = 2%\n", 2, "[LOAD] MIN_COVERAGE must be a number, not '2%'."),
        (
            "[DWH]\nTARGET = lokal\n",
            2,
            "[DWH] TARGET must be local or redshift, not 'lokal'; did you mean local?",
        ),
        ("[LOCAL]\nTHREADS\n", 2, "expected [SECTION] or KEY = value"),
        ("THREADS = 2\n", 1, "expected [SECTION] or KEY = value"),
        ("[LOCAL]\nTHREADS = 1\nTHREADS = 2\n", 3, "expected [SECTION] or KEY = value"),
        ("[LOCAL]\n[DWH]\n[LOCAL]\n", 3, "expected [SECTION] or KEY = value"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_line_section_key_and_what_was_expected(
    cfg, text, line, said
):
    file = cfg(text)
    sentence = refused(file)
    assert sentence.startswith((f"{file}, line {line}: ", f"{file}, line {line} can't be read"))
    assert said in sentence


@pytest.mark.parametrize("text", ["[DEFAULT]\nTARGET = local\n", "[DEFAULT]\n[DWH]\n"])
def test_a_section_default_is_unknown_as_any_other(cfg, text):
    file = cfg(text)
    assert f"{file}, line 1: there is no section [DEFAULT]" in refused(file)


@pytest.mark.parametrize("limit", ["nan", "-1"])
def test_a_price_limit_that_limits_nothing_is_refused(cfg, limit):
    assert "[CLUSTER] MAX_HOURLY_USD must be" in refused(
        cfg(f"[CLUSTER]\nMAX_HOURLY_USD = {limit}")
    )


@pytest.mark.parametrize("share", ["-0.1", "1.1", "nan", "inf"])
def test_a_coverage_floor_is_a_share(share):
    assert "min_coverage" in refused(min_coverage=share).lower()


@pytest.mark.parametrize(("threads", "bound"), [(-1, "least 0"), (1025, "most 1024")])
def test_threads_are_as_many_as_a_machine_can_have(threads, bound):
    assert refused(threads=threads) == f"The option threads must be at {bound}, not '{threads}'."


@pytest.mark.parametrize("limit", ["4", "50%", "four GB", "4GB; drop table songs"])
def test_a_memory_limit_that_duckdb_would_refuse_is_refused_with_an_example(limit):
    sentence = f"[LOCAL] MEMORY_LIMIT is a size such as 4GB, not {limit!r}."
    assert sentence in refused(memory_limit=limit)


@pytest.mark.parametrize("rejects", ["-1", "some", "5 %", "%", "0.5", "1e3"])
def test_rejects_are_a_count_or_a_share(rejects):
    assert refused(max_rejects=rejects) == (
        f"[LOAD] MAX_REJECTS is a count or a share such as 0.1%, not {rejects!r}."
    )


def test_a_database_in_s3_is_refused():
    sentence = "[LOCAL] DATABASE is a file of this machine, not 's3://bucket/x.duckdb'."
    with pytest.raises(config.ConfigError) as caught:
        config.load(environ={}, database="s3://bucket/x.duckdb")
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("day", "said"),
    [("soon", "a date such as 2018"), ("2018-13-01", "a date"), ("1969-12-31", "at least 1970")],
)
def test_the_earliest_day_is_a_date_that_a_log_can_have(day, said):
    assert refused(earliest=day).startswith(f"The option earliest must be {said}")


@pytest.mark.parametrize("levels", [",", "free,,paid", "x" * 17, "it's", "a\\b", "frée"])
def test_levels_are_names_that_their_column_can_hold(levels):
    assert refused(levels=levels).startswith("[LOAD] LEVELS are names of at most 16 ")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("DWH_LOCAL_THREDS", "2", "is no setting; did you mean DWH_LOCAL_THREADS?"),
        ("DWH_TARGET", "local", "is no setting; did you mean DWH_DWH_TARGET?"),
        ("DWH_LOCAL_THREADS", "two", "must be a whole number, not 'two'."),
    ],
)
def test_what_is_wrong_in_the_environment_is_named(variable, value, said):
    sentence = refused(environ={variable: value, "HOME": "/"})
    assert f"environment variable {variable} {said}" in sentence


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("taget", "taget is no setting; did you mean target?"),
        ("local__threds", "local__threds is no setting; did you mean local__threads?"),
    ],
)
def test_an_unknown_option_is_refused_with_a_suggestion(name, said):
    assert refused(**{name: "x"}) == said


def test_an_option_whose_name_two_sections_have_is_refused_with_both_full_names():
    sentence = refused(region="x")
    assert "data__region" in sentence
    assert "aws__region" in sentence


def test_a_wrong_option_is_named(cfg):
    assert refused(cfg(""), threads="two") == (
        "The option threads must be a whole number, not 'two'."
    )


def test_a_configuration_file_that_can_not_be_read_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "dwh.cfg").touch()
    monkeypatch.setattr("pathlib.Path.read_text", refuse)
    assert refused(tmp_path / "dwh.cfg").startswith(
        f"{tmp_path}/dwh.cfg can't be read: Permission denied; let yourself read it, or name"
    )


def test_a_configuration_file_that_is_named_must_exist(tmp_path):
    file = tmp_path / "none.cfg"
    assert refused(file) == f"There is no configuration file {file}; name one that exists."


def test_a_file_that_is_not_text_is_refused(cfg):
    file = cfg("")
    file.write_bytes("[DWH]\n# für\n".encode("latin-1"))
    assert refused(file) == f"{file} is not UTF-8 text; save it as such."


@pytest.mark.parametrize(("named", "other"), [("log_data", "SONG_DATA"), ("song_data", "LOG_DATA")])
def test_logs_and_songs_are_named_both_or_neither(named, other):
    sentence = refused(**{named: "somewhere"})
    assert sentence.startswith(
        f"{named.upper()} is named and {other} is not; name both, or neither"
    )


def test_relative_places_start_at_the_projects_folder_and_others_stay(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    settings = config.load(
        environ={}, log_data="mine/logs", song_data="s3://bucket/songs", database="mine/x.duckdb"
    )
    assert settings.log_data == str(ROOT.resolve() / "mine/logs")
    assert settings.song_data == "s3://bucket/songs"
    assert settings.database == ROOT.resolve() / "mine/x.duckdb"


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = config.load(environ={}, log_data="~/logs", song_data="~/songs")
    assert settings.log_data == str(tmp_path.resolve() / "logs")


def test_other_data_goes_into_another_database_than_the_sample():
    settings = config.load(environ={}, log_data="logs", song_data="songs")
    assert (settings.uses_sample, settings.database.name) == (False, "warehouse.duckdb")


def test_no_secret_is_in_what_settings_show(cfg):
    settings = config.load(cfg(f"[AWS]\nKEY = AKIA{SECRET}\nSECRET = {SECRET}\n"), environ={})
    assert (settings.aws.key, settings.aws.secret) == (f"AKIA{SECRET}", SECRET)
    for shown in (settings, settings.aws):
        assert SECRET not in f"{shown!r} {shown} {[shown]}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"SECRET = {SECRET}\n", id="no section"),
        pytest.param(f"[AWS]\nSECRET {SECRET}\n", id="no equals sign"),
        pytest.param(f"[AWS]\nSECRET: {SECRET}\n", id="colon"),
        pytest.param(f"[AWS]\nSECRET: {SECRET}=\n", id="colon, and a sign within"),
        pytest.param(f"[AWS]\nSECRET\n= {SECRET}\n", id="two lines"),
        pytest.param(f"[AWS]\nSECRET = {SECRET}\nSECRET = {SECRET}\n", id="twice"),
        pytest.param(f"[AWS]\nSECRT = {SECRET}\n", id="misspelt key"),
        pytest.param(f"[AWZ]\nSECRET = {SECRET}\n", id="misspelt section"),
        pytest.param(f"[LOCAL]\nTHREADS = x\n[AWS]\nSECRET = {SECRET}\n", id="other key wrong"),
        pytest.param(f"[LOCAL]\nTHREADS = 4\n  SECRET = {SECRET}\n", id="within another value"),
        pytest.param(f"[AWS]\nREGION = x\n  SECRET = {SECRET}\n", id="indented"),
    ],
)
def test_no_secret_is_in_what_a_faulty_file_is_refused_with(cfg, text):
    sentence = refused(cfg(text))
    assert SECRET.lower() not in sentence.lower()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_in_a_file_that_others_can_read_is_refused(cfg, mode):
    file = cfg(f"[AWS]\nPROFILE = x\nSECRET = {SECRET}\n")
    file.chmod(mode)
    assert refused(file) == (
        f"{file}, line 3: [AWS] SECRET is in a file that others can read; run: chmod 600 {file}"
    )


def test_a_file_that_others_can_read_may_leave_the_secrets_empty(cfg):
    file = cfg("[AWS]\nKEY =\nSECRET =\n")
    file.chmod(0o644)
    assert config.load(file, environ={}) == config.Settings()


def test_settings_cannot_be_changed_after_they_were_checked():
    with pytest.raises(AttributeError):
        config.Settings().local.threads = 2
