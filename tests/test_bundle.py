"""A bundle holds the records of many small files, each once, and loads like them."""

import gzip
import json
import random
from collections import Counter
from itertools import count

import pytest

from lib import ROOT, bundle, config, source
from lib.aws import Account, AwsError
from lib.warehouse import TABLES
from tests.standin.aws import is_write, permissions

NAMES = count(1)


@pytest.fixture
def bundled(tmp_path, capsys):
    """Bundle a place by the command; return the exit code and what was said."""

    def run(place, target, *options) -> tuple[int, str]:
        (tmp_path / "own.cfg").touch()
        words = [place, target, "--config", tmp_path / "own.cfg", *options]
        return bundle.main([str(word) for word in words]), "".join(capsys.readouterr())

    return run


def lines(folder) -> list[list[dict]]:
    """Return the records of each file of a bundle."""
    files = [gzip.decompress(file.read_bytes()) for file in sorted(folder.glob("*.gz"))]
    return [[json.loads(line) for line in file.splitlines()] for file in files]


def texts(records) -> Counter:
    return Counter(json.dumps(record, sort_keys=True) for record in records)


def test_every_record_is_there_once_one_a_line_whatever_the_layout(
    bundled, tmp_path, write, event, layout
):
    there = [event(itemInSession=item, song="Ä\u2028\\n", more={"a": [True, None]})
             for item in range(7)]  # fmt: skip
    write(tmp_path / "logs/2018/a.json", there[:4], layout)
    write(tmp_path / "logs/b.json", there[4:])
    write(tmp_path / "logs/.c.json", there)
    code, said = bundled(tmp_path / "logs", tmp_path / "out", "--slices", 2)
    assert (code, said.splitlines()[-1]) == (0, "7 records in 2 files")
    files = lines(tmp_path / "out")
    assert [len(file) for file in files] == [4, 3]
    assert texts(files[0] + files[1]) == texts(there)


def test_the_manifest_lists_the_files_and_a_load_passes_over_it(bundled, tmp_path, write, event):
    write(tmp_path / "logs/a.json", [event()])
    bundled(tmp_path / "logs", tmp_path / "out", "--slices", 3)
    listed = [path for path, _ in source.listing(str(tmp_path / "out"))]
    assert listed == [str(tmp_path / f"out/part-0000{n}.json.gz") for n in (1, 2, 3)]
    entries = json.loads((tmp_path / "out/manifest").read_text())["entries"]
    assert entries == [{"url": path, "mandatory": True} for path in listed]


@pytest.mark.parametrize("wrong", [1, 20])
def test_files_are_a_multiple_of_the_slices_equal_and_never_over_the_most(
    bundled, tmp_path, write, event, monkeypatch, wrong
):
    monkeypatch.setattr(bundle, "SIZE", 30_000 * wrong)
    monkeypatch.setattr(bundle, "MOST", 60_000)
    for file in range(60):
        some = (event(ts=file * 100 + item, song=random.randbytes(40).hex()) for item in range(100))
        write(tmp_path / f"logs/{file}.json", list(some))
    code, said = bundled(tmp_path / "logs", tmp_path / "out", "--slices", 4)
    assert code == 0
    sizes = [file.stat().st_size for file in sorted((tmp_path / "out").glob("*.gz"))]
    assert len(sizes) >= 8
    assert len(sizes) % 4 == 0
    assert wrong > 1 or f"bundle {len(sizes)} files, about" in said
    assert max(sizes) < 80_000  # what zlib holds back comes on top
    for first in range(0, len(sizes), 4):
        assert max(sizes[first : first + 4]) < 1.1 * min(sizes[first : first + 4])
    assert sum(map(len, lines(tmp_path / "out"))) == 6000


def test_what_is_no_record_stops_it_with_file_and_line(bundled, tmp_path, write, event):
    write(tmp_path / "logs/a.json", [event()])
    bad = write(tmp_path / "logs/b.json", json.dumps(event()).encode() + b"\n{oops}\n")
    code, said = bundled(tmp_path / "logs", tmp_path / "out")
    assert code == 2
    assert said.splitlines()[-1] == (
        f"{bad}, line 2: not valid JSON (Expecting property name enclosed in double quotes). "
        "Nothing was written; mend or take out that record, then bundle again."
    )
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["logs"]


def test_nothing_is_written_over_nor_into_what_is_read(bundled, tmp_path, write, event):
    write(tmp_path / "logs/a.json", [event()])
    write(tmp_path / "there/manifest", b"")
    words = "is there, and nothing is overwritten; name a new place.\n"
    assert bundled(tmp_path / "logs", tmp_path / "there") == (2, f"{tmp_path}/there {words}")
    code, said = bundled(tmp_path / "logs", tmp_path / "logs/out")
    assert code == 2
    assert said == (
        f"{tmp_path}/logs/out lies in {tmp_path}/logs, which would then hold each record twice.\n"
    )
    code, said = bundled(tmp_path / "logs", tmp_path / "out", "--slices", 0)
    assert (code, said) == (2, "A cluster has 1 slice or more, not 0.\n")
    write(tmp_path / "empty/a.json", b" \n")
    code, said = bundled(tmp_path / "empty", tmp_path / "out")
    assert (code, said.splitlines()[-1]) == (
        2,
        "There is no record in 1 files.",
    )
    assert not (tmp_path / "out").exists()


# In S3


@pytest.fixture
def place(double):
    """Make the name of a place in the bucket that nothing lies at."""
    return lambda: f"s3://music/bundle-{next(NAMES)}"


def uploads(double) -> list:
    return double.aws.client("s3").list_multipart_uploads(Bucket="music").get("Uploads", [])


def below(double, place: str) -> list[str]:
    prefix = place.removeprefix("s3://music/")
    listed = double.aws.client("s3").list_objects_v2(Bucket="music", Prefix=f"{prefix}/")
    return [item["Key"].removeprefix(f"{prefix}/") for item in listed.get("Contents", [])]


@pytest.fixture
def filled(new_world, tmp_path, engine, event, song):
    """A warehouse with its small files in S3."""
    for name in ("small", "large"):
        (tmp_path / name).mkdir()
    world = new_world(tmp_path / "small", engine, s3=True)
    world.catalogue(song(), file="A/a.json", layout="pretty")
    world.catalogue(song(song_id="SO2", title="You Gotta Be", artist_name="Des'ree"), file="b.json")
    for day in range(5):
        played = [event(ts=1541062800000 + day * 10**7 + item) for item in range(6)]
        world.log(*played, event(userId="", page="Home"), file=f"{day}.json")
    world.log(event(level="paid"), file="packed.json.gz", layout="gzip")
    world._put()
    yield world
    world.close()


def test_the_star_of_a_bundle_is_that_of_its_files(filled, bundled, place, new_world, tmp_path):
    about, target = filled.settings, place()
    for name, of in (("log_data", about.log_data), ("song_data", about.song_data)):
        code, said = bundled(of, f"{target}/{name}", "--slices", 2, "--yes")
        assert code == 0, said
    engine = about.dwh.target
    places = {name: f"{target}/{name}" for name in ("log_data", "song_data")}
    world = new_world(tmp_path / "large", engine, s3=True, **places)
    filled.load()
    world.load()
    left, right = filled.tables(), world.tables()
    assert len(left["songplays"]) == 31
    for table in TABLES[:-2]:
        assert left[table] == right[table], table
    counted = "select kind, count(*), sum(row_count) from load_files group by kind order by kind"
    assert world.rows(counted) == [("events", 2, 36), ("songs", 2, 2)]
    world.close()


def test_a_bucket_is_written_to_when_that_is_confirmed_with_the_rights_of_the_policy(
    double, bundled, place, tmp_path, write, event
):
    write(tmp_path / "logs/a.json", [event()])
    target, before = place(), len(double.aws.calls)
    code, said = bundled(tmp_path / "logs", target)
    assert code == 2
    assert "1 files, about 0.0 MB, and a manifest" in said
    assert "4 PUT requests" in said
    assert said.endswith("Nothing was written; to write it, add --yes.\n")
    assert not [call for call in double.aws.calls[before:] if is_write(call)]
    assert bundled(tmp_path / "logs", target, "--yes")[0] == 0
    assert below(double, target) == ["manifest", "part-00001.json.gz"]
    again = place()
    assert bundled(target, again, "--yes")[0] == 0  # from a bucket, too
    assert bundled(target, again, "--yes") == (
        2,
        f"{again} is there, and nothing is overwritten; name a new place.\n",
    )
    document = json.loads((ROOT / "docs/iam/bundle.json").read_text())
    allowed = {
        action
        for statement in document["Statement"]
        for action in ([statement["Action"]] if isinstance(statement["Action"], str)
                       else statement["Action"])
    }  # fmt: skip
    made = {one for call in double.aws.calls[before:] for one in permissions(call)}
    assert made | {"s3:AbortMultipartUpload"} == allowed


@pytest.mark.parametrize(
    ("call", "times", "seen"),
    [
        ("upload_part", 2, []),
        ("complete_multipart_upload", 2, ["part-00001.json.gz"]),
        ("put_object", 1, ["part-00001.json.gz", "part-00002.json.gz"]),
    ],
)
def test_a_bundle_that_fails_does_not_look_done(
    double, bundled, place, tmp_path, write, event, monkeypatch, call, times, seen
):
    made, write_to_aws = [], Account.write

    def failing(account, service, operation, *rest, **arguments):
        made.append(operation)
        if operation == call and made.count(call) == times:
            raise AwsError(f"AWS refused to {call}.")
        return write_to_aws(account, service, operation, *rest, **arguments)

    monkeypatch.setattr(Account, "write", failing)
    write(tmp_path / "logs/a.json", [event()])
    target = place()
    code, said = bundled(tmp_path / "logs", target, "--slices", 2, "--yes")
    assert code == 2
    assert f"AWS refused to {call}." in said
    assert ("without a manifest; remove it first." in said) == bool(seen)
    assert below(double, target) == seen
    assert uploads(double) == []


def test_a_bad_record_leaves_nothing_in_the_bucket(
    double, bundled, place, tmp_path, write, event, monkeypatch
):
    monkeypatch.setattr(bundle, "MOST", 1)
    target = place()
    write(tmp_path / "logs/a.json", json.dumps(event()).encode() + b"\n[]")
    code, said = bundled(tmp_path / "logs", target, "--yes")
    assert code == 2
    assert "a.json, line 2: expected an object" in said
    assert below(double, target) == uploads(double) == []


def test_who_may_not_write_is_told_the_right_that_is_lacking(
    double, bundled, place, tmp_path, write, event
):
    write(tmp_path / "logs/a.json", [event()])
    double.aws.denied = {"s3:PutObject"}
    code, said = bundled(tmp_path / "logs", place(), "--yes")
    double.aws.denied = set()
    assert code == 2
    assert "WriteBundle of docs/iam/bundle.json" in said


def test_another_account_than_the_only_one_is_not_written_to(double, tmp_path, write, event, place):
    write(tmp_path / "logs/a.json", [event()])
    settings = config.load(environ={}, aws__account="999999999999")
    with pytest.raises(AwsError, match="These credentials are of account"):
        bundle.planned(str(tmp_path / "logs"), place(), settings)
