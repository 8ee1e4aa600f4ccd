"""The target redshift against its doubles: equal to local to the last digit; what goes wrong."""

import json
import re
from io import BytesIO
from pathlib import Path

import pytest

from lib import UserError, run, sample, warehouse
from lib.aws import access
from lib.load import BadRecords, LoadError
from lib.load.records import EVENTS
from lib.warehouse.base import TABLES
from lib.warehouse.templates import WarehouseError
from tests import live
from tests.differential import differences
from tests.runner import runner
from tests.standin import policy
from tests.standin.aws import is_write, permissions


@pytest.fixture
def both(new_world, tmp_path_factory):
    """Make a world on each engine, both with their data in S3."""
    made = []

    def make(**overrides):
        for engine in ("local", "redshift"):
            folder = tmp_path_factory.mktemp(engine)
            made.append(new_world(folder, engine, s3=True, **overrides))
        return made

    yield make
    for world in made:
        world.close()


@pytest.fixture
def in_s3(new_world, tmp_path):
    """A warehouse on the target redshift with its data in S3."""
    world = new_world(tmp_path, "redshift", s3=True)
    yield world
    world.close()


# Equal on both engines


def put(double, folder: Path, prefix: str) -> dict[str, str]:
    """Put a folder's files into the bucket, past HTTP, and return the settings that name them."""
    from moto.s3.models import s3_backends

    bucket = s3_backends["123456789012"]["aws"]
    for file in folder.rglob("*.json*"):
        if file.parent != folder:
            bucket.put_object("music", f"{prefix}/{file.relative_to(folder)}", file.read_bytes())
    return {
        "log_data": f"s3://music/{prefix}/log_data",
        "song_data": f"s3://music/{prefix}/song_data",
    }


def test_every_table_and_analysis_of_the_sample_is_equal_on_both_engines(both, double, tmp_path):
    sample.make(tmp_path / "sample", scale=0.12, songs=400)
    one, other = both(**put(double, tmp_path / "sample", "sample"))
    said = [str(world.load()) for world in (one, other)]
    assert said[0] == said[1]
    assert differences(one.dwh, other.dwh) == []
    assert one.dwh.coverage()[0] > 500


def test_loads_in_parts_with_late_events_are_equal_on_both_engines(both, song, event):
    T = 1541062800000  # noqa: N806
    worlds = both()
    for world in worlds:
        world.catalogue(song())
        world.log(event(ts=T + 10), event(ts=T + 30, level="paid"))
        world.load()
        world.catalogue(song(song_id="SO2", title="You Gotta Be", artist_name="Des'ree"))
        world.catalogue(song(song_id="SO3", year=None, artist_location=""), file="B.json")
        world.log(event(ts=T + 20, level="paid"), event(ts=T, userId=""), file="late.json")
        world.load()
    left, right = (world.tables() for world in worlds)
    for table in TABLES[:-2]:
        assert left[table] == right[table], table


# COPY


def test_copy_reads_what_a_manifest_lists_and_its_objects_are_taken_out_again(
    in_s3, double, song, event
):
    def lying() -> set[str]:
        listed = double.aws.client("s3").list_objects_v2(**in_s3.dwh.bucket)
        return {item["Key"] for item in listed.get("Contents", [])}

    in_s3.catalogue(song())
    in_s3.log(event())
    before = lying()  # of killed loads, which the bucket's own rule removes after a day
    in_s3.load()
    assert lying() == before
    copies = [text for text in double.redshift.statements if "copy landed_events" in text]
    assert re.search(
        r"from 's3://\S+manifest'\niam_role 'arn:aws:iam::\d+:role/\S+'\nregion 'us-west-2'\n"
        r"manifest\nformat as json 's3://\S+'\s+timeformat 'epochmillisecs'",
        copies[-1],
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sessionId": "abc"}, r"line 2, column session_id \(\S+\): Invalid digit.*; the value is"),
        ({"status": 3_000_000_000}, r"line 2, column status \(\S+\): .*out of the column's range"),
        ({"ts": "yesterday"}, r"line 2, column start_time \(\S+\): Invalid timestamp"),
        ({"location": "x" * 2000}, r"line 2, column location .*: String length exceeds DDL length"),
    ],
)
def test_a_value_that_copy_cant_read_is_shown_with_file_line_column_reason_and_remedy(
    in_s3, song, event, fields, said
):
    in_s3.catalogue(song())
    in_s3.log(event(), event(**fields))
    before, steps = in_s3.tables(), []
    with pytest.raises(BadRecords) as caught:
        in_s3.load(steps.append)
    file = f"s3://music/{in_s3.prefix}/log_data/2018/11/events.json"
    (shown,) = [step for step in steps if step.startswith(f"{file}, line 2, column")]
    assert re.search(said, shown)
    assert str(caught.value).startswith(f"{file}, line 2: {next(iter(fields))} must be ")
    assert "Nothing was loaded; mend or take out that record" in str(caught.value)
    assert in_s3.tables() == before


@pytest.mark.parametrize(
    ("record", "said"), [({"page": None}, "the record has no page"), (b"{oops}", "not valid JSON")]
)
def test_a_record_that_copy_cant_read_is_found_in_its_file(in_s3, song, event, record, said):
    in_s3.catalogue(song())
    bad = record if isinstance(record, bytes) else json.dumps(event(**record)).encode()
    in_s3.log(json.dumps(event()).encode() + b"\n" + bad + b"\n")
    with pytest.raises(BadRecords, match=rf"^s3://\S+events\.json, line 2: {said}"):
        in_s3.load()


@pytest.mark.parametrize("layout", ["bom", "gzip", "gzip of pretty", "several, spaced"])
def test_a_file_that_copy_cant_read_and_we_can_is_loaded(in_s3, song, event, layout):
    in_s3.catalogue(song())
    in_s3.log(event(ts=1541062800000), event(ts=1541062800001), layout=layout)
    in_s3.log(event(ts=1541062800002), file="packed.json.gz", layout="gzip")
    in_s3.load()
    assert in_s3.dwh.count_rows()["songplays"] == 3
    counted = "select kind, row_count from load_files order by kind, row_count"
    assert in_s3.rows(counted) == [("events", 1), ("events", 2), ("songs", 1)]


def test_names_of_files_and_texts_are_data_whatever_they_look_like(in_s3, song, event):
    text = "x'; drop table songs; -- \\ \u2028 %s :batch_id $1 <script>"
    in_s3.catalogue(song(title=text, artist_name=text), file="it's; -- {{7}}.json")
    played = event(song=text, artist=text, location=text, userAgent=text, userId=text)
    in_s3.log(played, file="a'b/$1 :x %s.json")
    in_s3.load()
    found = in_s3.rows("select song_title, location, song_id from songplays")
    assert found == [(text, text, song()["song_id"])]
    assert in_s3.rows("select count(*) from load_files") == [(2,)]


def test_a_file_that_vanishes_between_listing_and_reading_stops_the_load(in_s3, song, event):
    in_s3.catalogue(song())
    in_s3.log(event())
    key = f"{in_s3.prefix}/log_data/2018/11/events.json"

    def vanish(step):
        if step.startswith("staging"):
            in_s3.s3.delete_object(Bucket="music", Key=key)

    with pytest.raises(LoadError, match=r"^A file vanished between listing and reading; load"):
        in_s3.load(vanish)
    assert in_s3.dwh.count_rows()["staging_events"] == 0


def test_a_bucket_that_the_role_cant_read_says_so_and_what_to_do(in_s3, double, song, event):
    in_s3.catalogue(song())
    in_s3.log(event())
    with pytest.MonkeyPatch.context() as patch:
        reason = "User: x is not authorized to perform: s3:GetObject"
        patch.setattr(double.redshift, "readable", lambda *_: reason)
        with pytest.raises(LoadError, match="COPY may not read the files as arn:aws:iam::"):
            in_s3.load()


# Its jsonpaths file


def paths(*fields) -> bytes:
    return json.dumps({"jsonpaths": [f"$['{field}']" for field in fields]}).encode()


def test_a_jsonpaths_file_of_ones_own_is_used(new_world, tmp_path, song, event, double):
    double.aws.client("s3").put_object(Bucket="music", Key="paths.json", Body=paths(*EVENTS.fields))
    world = new_world(tmp_path, "redshift", s3=True, log_jsonpath="s3://music/paths.json")
    world.catalogue(song())
    world.log(event())
    world.load()
    assert world.dwh.count_rows()["songplays"] == 1
    world.close()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{}", "LOG_JSONPATH doesn't fit; .* said: Invalid JSONPath format: .*"),
        (
            paths(*list(EVENTS.fields)[:-1]),
            "LOG_JSONPATH doesn't fit; .* said: .* JSONPath size: 17, Number of columns .*: 18",
        ),
        (paths(*reversed(EVENTS.fields)), "column item_in_session .integer.: Invalid digit.*"),
    ],
)
def test_what_copy_says_of_a_jsonpaths_file_is_told(
    new_world, tmp_path, song, event, double, body, said
):
    double.aws.client("s3").put_object(Bucket="music", Key="paths.json", Body=body)
    world = new_world(tmp_path, "redshift", s3=True, log_jsonpath="s3://music/paths.json")
    world.catalogue(song())
    world.log(event())
    with pytest.raises(UserError, match=f"{said} Nothing was loaded"):
        world.load()
    assert world.dwh.count_rows()["songplays"] == 0
    world.close()


# Faults


@pytest.mark.parametrize("conflicts", [1, 5])
def test_a_conflict_is_tried_again_and_in_the_end_given_up_with_nothing_loaded(
    in_s3, double, song, event, monkeypatch, conflicts
):
    monkeypatch.setattr("lib.load.transaction.PAUSE", 0.01)
    in_s3.catalogue(song())
    in_s3.log(event())
    for _ in range(conflicts):
        double.redshift.faults.before("insert into songplays", "serializable")
    steps = []
    if conflicts == 1:
        in_s3.load(steps.append)
    else:
        with pytest.raises(
            LoadError, match=r"(?s)Another session changed.*Tried 5 times\. Nothing"
        ):
            in_s3.load(steps.append)
    assert "another session changed the same tables; try 2 of 5" in steps
    assert in_s3.dwh.count_rows()["songplays"] == (conflicts == 1)


@pytest.mark.parametrize(
    ("moment", "when", "loaded"),
    [
        ("insert into users", "drop before", False),
        ("^commit", "drop before", False),
        ("^commit", "drop after", True),
    ],
)
def test_a_connection_lost_around_the_commit_is_decided_by_the_ledger(
    in_s3, double, song, event, moment, when, loaded
):
    in_s3.catalogue(song())
    in_s3.log(event())
    double.redshift.faults.before(moment, when)
    if loaded:
        assert in_s3.load().rows["songplays"] == 1
    else:
        with pytest.raises(LoadError, match="Nothing was loaded; load again"):
            in_s3.load()
        in_s3.dwh.close()
        in_s3.open()
        in_s3.load()
    assert in_s3.rows("select count(*) from songplays") == [(1,)]
    assert in_s3.rows("select count(*) from load_files") == [(2,)]


def test_a_connection_that_stays_lost_leaves_no_doubt_about_what_to_do(
    in_s3, double, song, event, monkeypatch
):
    in_s3.catalogue(song())
    in_s3.log(event())
    double.redshift.faults.before("^commit", "drop after")
    monkeypatch.setattr(in_s3.dwh, "port", 1)
    with pytest.raises(LoadError, match=r"(?s)can't be asked now .* not loaded twice\.$"):
        in_s3.load()
    in_s3.open()
    assert "Nothing new" in str(in_s3.load())
    assert in_s3.rows("select count(*) from songplays") == [(1,)]


def test_an_unreachable_port_names_the_likely_causes(in_s3, double, monkeypatch):
    host, _ = double.aws.endpoint
    monkeypatch.setattr(double.aws, "endpoint", (host, 1))
    with pytest.raises(
        WarehouseError, match=r"^localhost:1 can't be reached .*address has changed"
    ):
        warehouse.connect(in_s3.settings)


def test_a_server_that_cant_prove_who_it_is_gets_no_password(in_s3, monkeypatch, tmp_path):
    import trustme

    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    with pytest.raises(WarehouseError, match="could not prove its identity"):
        warehouse.connect(in_s3.settings)


@pytest.mark.parametrize("name", ["load", "analyse"])
def test_the_policy_of_loading_or_analysing_allows_every_call_that_is_made(
    in_s3, double, song, event, name
):
    allowed = {a for one in policy.statements(name) for a in policy.as_list(one["Action"])}
    in_s3.catalogue(song())
    in_s3.log(event())
    before = len(double.aws.calls)
    if name == "load":
        in_s3.load()
    else:
        in_s3.dwh.close()
        in_s3.open()
        in_s3.dwh.analysis("coverage")
    made = {one for call in double.aws.calls[before:] for one in permissions(call)}
    assert made - {"s3:DeleteObjectVersion"} <= allowed  # a load deletes no version by its number


@pytest.mark.only_on("redshift")
def test_a_load_writes_to_no_bucket_but_its_own_accounts(world, double, event, song):
    world.log(event(), layout="gzip", file="events.json.gz")
    world.catalogue(song())
    double.aws.unguarded.clear()
    world.load()
    with world.dwh._open_scratch() as scratch:
        scratch.put("large", BytesIO(bytes(9_000_000)))  # in several parts
    bucket = "sparkify-dwh-123456789012-us-west-2"
    written = [call for call, name in double.aws.unguarded if name == bucket and is_write(call)]
    assert written == []


# The notebooks


@pytest.fixture
def own_cluster(double, tmp_path):
    """Make the options of a run on a cluster of its own, with a small sample in S3."""

    def make(name: str) -> list[str]:
        sample.make(tmp_path / "small", scale=0.05, songs=40)
        places = put(double, tmp_path / "small", name)
        own = tmp_path / "dwh.cfg"
        own.write_text(
            f"[CLUSTER]\nIDENTIFIER = {name}\nCLIENT_CIDR = 203.0.113.7/32\n"
            f"[IAM_ROLE]\nNAME = {name}-copy\n[DB]\nNAME = {name}\n"
        )
        double.redshift.create_database(name)
        data = ["--log-data", places["log_data"], "--song-data", places["song_data"]]
        return ["--config", str(own), "--runs", str(tmp_path / "runs"), *data]

    return make


def nothing_is_left(double, name: str) -> bool:
    """Tell whether no cluster and no role of that name is there, and the other one still is."""
    left = double.aws.client("redshift").describe_clusters()["Clusters"]
    roles = [role["RoleName"] for role in double.aws.client("iam").list_roles()["Roles"]]
    named = [cluster["ClusterIdentifier"] for cluster in left]
    return named == ["sparkify-dwh"] and f"{name}-copy" not in roles


def test_a_run_shows_the_price_and_does_nothing_until_it_is_confirmed(
    double, own_cluster, tmp_path, capsys
):
    before = len(double.aws.calls)
    assert run.main(["--target", "redshift", *own_cluster("unconfirmed")]) == 2
    said = capsys.readouterr()
    assert "$0.54 an hour" in said.out
    assert "--yes" in said.err
    assert not (tmp_path / "runs").exists()
    assert [call for call in double.aws.calls[before:] if is_write(call)] == []


def test_the_live_test_runs_all_five_notebooks_compares_both_engines_and_leaves_nothing(
    double, own_cluster, tmp_path, monkeypatch, capsys
):
    asked = []
    monkeypatch.setattr("builtins.input", lambda words: asked.append(words) or "yes")
    assert live.main(own_cluster("live")) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert asked == ["Type yes to go on: "]
    assert said.out.index("$0.54 an hour") < said.out.index("01_provision")
    assert "Every table and every analysis is equal on both engines." in said.out
    assert nothing_is_left(double, "live")
    written = [file.read_bytes() for file in (tmp_path / "runs").rglob("*") if file.is_file()]
    assert len(written) > 20
    for secret in double.aws.secrets:
        assert not [text for text in [*written, said.out.encode()] if secret.encode() in text]


def test_a_run_removes_what_it_created_and_keeps_and_names_what_another_run_created(
    double, own_cluster, tmp_path, capsys
):
    words = ["--target", "redshift", *own_cluster("shared")]
    assert run.main([*words, "--only", "01", "--yes", "--name", "monday"]) == 0
    capsys.readouterr()
    assert run.main([*words, "--only", "05", "--yes", "--name", "tuesday"]) == 0
    assert "The cluster shared (of run monday by user/analyst) is av" in capsys.readouterr().out
    assert not nothing_is_left(double, "shared")
    elsewhere = ["--runs", str(tmp_path / "elsewhere")]
    assert run.main([*words, *elsewhere, "--only", "05", "--yes", "--name", "monday"]) == 0
    assert nothing_is_left(double, "shared")


def test_the_live_test_does_nothing_without_your_word(double, own_cluster, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: "")
    before = len(double.aws.calls)
    assert live.main(own_cluster("silent")) == 2
    written = [call for call in double.aws.calls[before:] if is_write(call)]
    assert written == []


def test_a_failed_run_says_what_is_still_running_and_what_it_costs(double, tmp_path):
    words = ["--target", "redshift", "--log-data", "s3://music/none", "--song-data", "s3://music/n"]
    done = runner(*words, "--only", "03", "--runs", str(tmp_path))
    assert done.returncode == 1
    assert "03_load failed at" in done.stderr
    by = "(of run interactive by user/analyst)"
    said = f"The cluster sparkify-dwh {by} is available in us-west-2 and costs $0.54"
    assert said in done.stderr
    assert done.stderr.rstrip().endswith(access.REMOVE)
    journal = json.loads((tmp_path / "latest" / "journal.json").read_text())
    assert journal["still_running"] in done.stderr


def test_a_run_whose_login_expires_says_what_may_still_be_running(double, tmp_path, monkeypatch):
    words = ["--target", "redshift", "--log-data", "s3://music/none", "--song-data", "s3://music/n"]
    monkeypatch.setattr(double.aws, "expired_from", 1)
    done = runner(*words, "--only", "03", "--runs", str(tmp_path))
    assert done.returncode == 1
    assert "Your AWS session has expired" in done.stderr
    assert "AWS could not be asked what is still running: Your AWS session has" in done.stderr
    possible = "The cluster sparkify-dwh may still be running in us-west-2 at $0.54 an hour until"
    assert possible in done.stderr
    assert done.stderr.rstrip().endswith(access.REMOVE)
    journal = json.loads((tmp_path / "latest" / "journal.json").read_text())
    assert possible in journal["still_running"]
