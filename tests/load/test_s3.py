"""What lies in S3 is read as if it lay in a folder, and no more of it than is needed."""

import gzip
import itertools
import json
import logging
import os
from pathlib import Path

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.httpsession import URLLib3Session
from moto.core.botocore_stubber import MockRawResponse
from moto.server import ThreadedMotoServer

from lib import SourceError
from lib.load import files, s3
from lib.load.records import EVENTS, SONGS

REGION = "us-west-2"
OF_AWS = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_CA_BUNDLE")


@pytest.fixture(scope="module")
def endpoint():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(autouse=True)
def surroundings(endpoint, tmp_path, monkeypatch):
    """Only the stand-in for AWS, credentials for it, and a cache of the test's own."""
    for name in OF_AWS:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "tester")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(s3, "CACHE", tmp_path / "cache")


@pytest.fixture
def no_credentials(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")


@pytest.fixture
def client(settings):
    return s3.connect(settings())


class Bucket:
    """A bucket of the stand-in."""

    numbers = itertools.count()

    def __init__(self, client):
        self.client = client
        self.name = f"sparkify-{next(self.numbers)}"
        where = {"LocationConstraint": REGION}
        self.client.create_bucket(Bucket=self.name, CreateBucketConfiguration=where)

    def put(self, *keys: str, body: bytes = b"{}") -> None:
        """Put objects of one content."""
        for key in keys:
            self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def at(self, key: str) -> str:
        """Return the URI of a key or prefix."""
        return f"s3://{self.name}/{key}"

    def copy_of(self, folder: Path, prefix: str) -> str:
        """Put every file of a folder; return where."""
        for file in sorted(folder.rglob("*.*")):
            self.put(f"{prefix}/{file.relative_to(folder)}", body=file.read_bytes())
        return self.at(prefix)


@pytest.fixture(scope="module")
def owner(endpoint):
    own = {"aws_access_key_id": "owner", "aws_secret_access_key": "secret"}
    return boto3.client("s3", REGION, endpoint_url=endpoint, **own)


@pytest.fixture
def bucket(owner):
    return Bucket(owner)


class Sent(list):
    """The requests that were sent; `answers` come in place of the server's."""

    def __init__(self):
        self.answers = []

    @property
    def gets(self) -> list[str]:
        """The keys whose content was asked for, sorted."""
        return sorted(r.url.split("/", 4)[4] for r in self if "list-type=2" not in r.url)


@pytest.fixture
def sent(monkeypatch, bucket):
    requests, send = Sent(), URLLib3Session.send

    def spy(self, request):
        requests.append(request)
        given = (answer for asked, answer in requests.answers if asked in request.url)
        return next((answer(request) for answer in given), None) or send(self, request)

    monkeypatch.setattr(URLLib3Session, "send", spy)
    return requests


def refusal(status: int, code: str, message: str = "", headers=None, **more):
    """Return how S3 refuses: status, code and message."""
    more = "".join(f"<{name}>{text}</{name}>" for name, text in more.items())
    xml = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode()
    return lambda request: AWSResponse(request.url, status, headers or {}, MockRawResponse(xml))


def said(do, *arguments) -> str:
    """Return the sentence with which something is refused."""
    with pytest.raises(SourceError) as caught:
        do(*arguments)
    return str(caught.value)


@pytest.fixture
def gathered(tmp_path, settings):
    """Gather a place, and return the batch with the bytes of its parts."""

    def gather(kind, place, known=None, strict=False, in_place=False):
        scratch = tmp_path / f"scratch{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        listed = files.list_files(str(place), settings()) if strict else []
        batch = files.Batch(kind, str(place), settings(), {file.key for file in listed})
        files.gather_files(batch, scratch, known or {}, {}, in_place)
        here = [Path(part) for part in batch.parts if "://" not in part]
        return batch, [part.read_bytes() for part in here]

    return gather


def ledger(batch) -> dict[str, str]:
    return {file.key: file.content_hash for file in batch.files}


def cached(tmp_path) -> list[Path]:
    return [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


# The listing


def test_objects_are_listed_by_uri_with_their_size_and_etag(client, bucket):
    bucket.put("log/b.json", body=b"{}")
    bucket.put("log/A/B/C/TRABC.json", body=b"{} ")
    bucket.put("log/Z.json", body=b"")
    assert s3.list_objects(client, bucket.at("log")) == [
        files.File(bucket.at("log/A/B/C/TRABC.json"), 3, "270f893744616d8bb7eb5f57e3ef26f7"),
        files.File(bucket.at("log/Z.json"), 0, "d41d8cd98f00b204e9800998ecf8427e"),
        files.File(bucket.at("log/b.json"), 2, "99914b932bd37a50b983c5e7c90ae93b"),
    ]


def names(client, bucket, place) -> list[str]:
    return [
        item.key.removeprefix(bucket.at("")) for item in s3.list_objects(client, bucket.at(place))
    ]


def test_the_endings_count_that_count_in_a_folder(client, bucket):
    found = ["G.JSON", "a.json", "b.jsonl", "c.ndjson", "d.json.gz", "e.jsonl.gz", "f.ndjson.gz"]
    bucket.put(*found, "README.md", "json", "x.json.bak", "y.gz", "folder.json/", "log/")
    assert names(client, bucket, "") == found


def test_names_that_start_with_a_dot_are_passed_over_below_the_place_only(client, bucket):
    hidden = [".a.json", "._b.json", ".git/c.json", "d/.e.json", "d/../f.json", "d/./g.json"]
    bucket.put(*(f".data/{name}" for name in [*hidden, "d/h.json", "i..j.json"]))
    assert names(client, bucket, ".data") == [".data/d/h.json", ".data/i..j.json"]


def test_a_place_is_a_folder_and_not_the_beginning_of_a_name(client, bucket):
    bucket.put("log_data/a.json", "log_data_old/b.json", "log_data.json", "log_dat/c.json")
    for place in ("log_data", "log_data/"):
        assert names(client, bucket, place) == ["log_data/a.json"]


def test_a_place_may_be_one_object_whatever_its_name(client, bucket, sent):
    bucket.put("log/events.txt", "log/events.txt.json", "log/empty.json", body=b"")
    bucket.put("log/events.txt")
    assert names(client, bucket, "log/events.txt") == ["log/events.txt"]
    assert names(client, bucket, "log/empty.json") == ["log/empty.json"]
    assert len(sent) == 4 + 2  # one to list each


def test_a_marker_named_as_the_folder_does_not_hide_it(client, bucket):
    bucket.put("log", "log/", body=b"")
    bucket.put("log/a.json")
    assert names(client, bucket, "log") == ["log/a.json"]


def test_more_objects_than_one_answer_holds_are_all_listed(client, bucket, monkeypatch):
    keys = [f"log/{number}.json" for number in range(7)]
    bucket.put(*keys)
    monkeypatch.setattr(s3._list_all, "__defaults__", (3,))
    assert names(client, bucket, "log") == keys


@pytest.mark.parametrize("place", ["s3://", "s3:///log", "s3://-b/x", "S3://bucket/x", "s3:/b/x"])
def test_a_malformed_place_is_named(client, place):
    assert said(s3.list_objects, client, place) == (
        f"{place} is no place in S3; write s3://bucket/folder."
    )


def test_nothing_to_load_is_named(client, bucket):
    bucket.put("log/README.md")
    for place in (bucket.at("log"), bucket.at("lgo")):
        assert said(s3.list_objects, client, place) == (
            f"{place} holds no JSON file (.json, .jsonl, .ndjson …); check how it is spelled."
        )


# What S3 refuses


def test_a_missing_bucket_is_named(client):
    assert said(s3.list_objects, client, "s3://no-such-bucket/log") == (
        "There is no bucket no-such-bucket; check the name in s3://no-such-bucket/log."
    )


DENIED = refusal(403, "AccessDenied", "Access Denied")


def test_without_credentials_requests_are_unsigned(no_credentials, bucket, sent, gathered):
    bucket.put("log/a.json", body=b'{"song": "x"}')
    public = {"Bucket": bucket.name, "Key": "log/a.json", "ACL": "public-read"}
    bucket.client.put_object_acl(**public)
    sent.clear()
    assert gathered(EVENTS, bucket.at("log"))[1] == [b'{"song": "x"}\n']
    assert len(sent) == 3
    assert not any("authorization" in map(str.lower, request.headers) for request in sent)


@pytest.mark.parametrize("action", ["ListBucket", "GetObject"])
def test_denied_without_credentials_says_that_only_public_buckets_can_be_read(
    no_credentials, gathered, bucket, sent, action
):
    bucket.put("log/a.json")
    sent.answers = [("list-type", DENIED)] if action == "ListBucket" else []
    place = bucket.at("log" if action == "ListBucket" else "log/a.json")
    assert said(gathered, EVENTS, bucket.at("log")) == (
        f"{place} can't be read: without AWS credentials, s3:{action} is allowed on public "
        "buckets only; run aws configure or aws sso login, or name a profile in [AWS] PROFILE."
    )


def test_a_denied_get_names_action_and_object(client, bucket, sent, gathered):
    bucket.put("log/a.json")
    sent.answers = [("a.json", DENIED)]
    assert said(gathered, EVENTS, bucket.at("log")).startswith(
        f"{bucket.at('log/a.json')} can't be read: your user or role lacks the action "
        f"s3:GetObject on arn:aws:s3:::{bucket.name}/log/a.json; "
    )


def test_a_denial_that_says_more_is_passed_on(client, bucket, sent):
    more = "User: arn:x is not authorized to perform: kms:Decrypt on resource: arn:key"
    sent.answers = [(bucket.name, refusal(403, "AccessDenied", more))]
    assert "lacks the action kms:Decrypt on arn:key" in said(
        s3.list_objects, client, bucket.at("log")
    )


@pytest.mark.parametrize(
    "answer",
    [
        refusal(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"}),
        refusal(400, "AuthorizationHeaderMalformed", Region="eu-west-1"),
    ],
)
def test_another_region_is_named(client, bucket, sent, answer):
    sent.answers = [(bucket.name, answer)]
    assert said(s3.list_objects, client, bucket.at("log")) == (
        f"The bucket {bucket.name} lives in eu-west-1, not in us-west-2; "
        "set [DATA] REGION = eu-west-1."
    )


def test_another_region_is_named_also_when_boto3_has_followed_there(client, bucket, sent):
    xml = MockRawResponse(b"<ListBucketResult></ListBucketResult>")
    headers = {"x-amz-bucket-region": "eu-west-1"}
    sent.answers = [(bucket.name, lambda request: AWSResponse(request.url, 200, headers, xml))]
    assert "lives in eu-west-1, not in us-west-2" in said(s3.list_objects, client, bucket.at("log"))


def test_what_else_goes_wrong_is_said_with_the_place(client, bucket, sent):
    sent.answers = [(bucket.name, refusal(403, "ExpiredToken"))]
    assert said(s3.list_objects, client, bucket.at("log")).startswith(
        f"Your AWS session has expired (trying to read {bucket.at('log')}); log in again"
    )


# Gathering


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("layout", ["lines", "pretty", "gzip"])
def test_every_layout_gives_what_it_gives_from_a_folder(
    tmp_path, write, event, gathered, bucket, layout, strict
):
    write(tmp_path / "log/2018/a.json", [event(itemInSession=i) for i in range(3)], layout)
    write(tmp_path / "log/b.json", [event(song="中")])
    place = bucket.copy_of(tmp_path / "log", "log")
    batch, parts = gathered(EVENTS, place, strict=strict)
    expected, its_parts = gathered(EVENTS, tmp_path / "log", strict=strict)
    assert parts == its_parts
    assert [(file.size, file.records) for file in batch.files] == [
        (file.size, file.records) for file in expected.files
    ]
    assert [file.key for file in batch.files] == [f"{place}/2018/a.json", f"{place}/b.json"]


@pytest.mark.parametrize("layout", ["lines", "pretty", "gzip"])
@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "st*r?.json"])
def test_large_objects_are_parsed_where_they_lie_in_the_cache_or_rewritten(
    tmp_path, write, event, gathered, bucket, monkeypatch, layout, name
):
    monkeypatch.setattr(files, "LARGE", 1 << 12)
    file = write(tmp_path / "log" / name, [event(itemInSession=i) for i in range(50)], layout)
    batch, (part,) = gathered(EVENTS, bucket.copy_of(tmp_path / "log", "log"))
    assert batch.records == 50
    assert len([json.loads(line) for line in part.splitlines() if line]) == 50
    stays = layout == "lines"
    assert (part == file.read_bytes()) is stays
    assert batch.parts[0].startswith(str(tmp_path / "cache")) is stays


def test_only_what_is_new_is_fetched_and_only_once(gathered, bucket, sent):
    bucket.put(*(f"song/{number}.json" for number in range(5)))
    sent.clear()
    first, _ = gathered(SONGS, bucket.at("song"))
    assert sent.gets == [f"song/{number}.json" for number in range(5)]
    assert set(ledger(first).values()) == {"99914b932bd37a50b983c5e7c90ae93b"}

    sent.clear()  # not loaded, but in the cache
    assert gathered(SONGS, bucket.at("song"))[0].files == first.files
    assert sent.gets == []

    for file in s3.CACHE.rglob("*/*"):  # loaded: the cache is not needed
        file.unlink()
    bucket.put("song/new.json", body=b'{"title": "new"}')
    sent.clear()
    batch, parts = gathered(SONGS, bucket.at("song"), ledger(first))
    assert (batch.known, parts) == (5, [b'{"title": "new"}\n'])
    assert sent.gets == ["song/new.json"]

    sent.clear()
    batch, parts = gathered(SONGS, bucket.at("song"), ledger(first) | ledger(batch))
    assert (batch.known, batch.files, parts, sent.gets) == (6, [], [], [])


@pytest.mark.parametrize("in_place", [False, True])
def test_an_object_that_has_changed_since_it_was_loaded_is_refused(
    gathered, bucket, sent, in_place
):
    bucket.put("song/a.json", "song/b.json")
    known = ledger(gathered(SONGS, bucket.at("song"))[0])
    bucket.put("song/b.json", body=b"{ }")
    sent.clear()
    assert said(gathered, SONGS, bucket.at("song"), known, False, in_place).startswith(
        f"{bucket.at('song/b.json')} has changed since it was loaded; give the new"
    )
    assert sent.gets == []


def test_an_engine_that_reads_s3_itself_is_given_what_is_new_and_a_first_record_is_looked_at(
    gathered, bucket, sent
):
    bucket.put("song/a.json", "song/b.json")
    known = ledger(gathered(SONGS, bucket.at("song/a.json"))[0])
    sent.clear()
    batch, read = gathered(SONGS, bucket.at("song"), known, in_place=True)
    new = bucket.at("song/b.json")
    assert (batch.parts, batch.known, batch.remote, read) == ([new], 1, True, [])
    assert (sent.gets, batch.first_keys) == (["song/b.json"], {})
    assert batch.files == [files.File(new, 2, "99914b932bd37a50b983c5e7c90ae93b")]


def test_a_bad_value_is_named_by_its_uri_and_line(gathered, bucket, event):
    body = "\n".join(json.dumps(record) for record in (event(), event(ts="soon"))).encode()
    bucket.put("log/a.json.gz", body=gzip.compress(body, mtime=0))
    batch, _ = gathered(EVENTS, bucket.at("log"), strict=True)
    wrong = batch.rejects[0]
    assert (wrong.file_key, wrong.line) == (bucket.at("log/a.json.gz"), 2)
    assert wrong.reason.startswith("ts must be a whole")


@pytest.mark.parametrize("large", [1, 1 << 20])
def test_a_damaged_object_is_named_by_its_uri(gathered, bucket, monkeypatch, large):
    monkeypatch.setattr(files, "LARGE", large)
    bucket.put("log/a.json.gz", body=gzip.compress(b"{}", mtime=0)[:-9])
    assert said(gathered, EVENTS, bucket.at("log")).startswith(
        f"{bucket.at('log/a.json.gz')} can't be unpacked: "
    )


# The cache


HOSTILE = [
    "../../../up.json",
    "/absolute.json",
    "a//b.json",
    "a.json",
    "a.json/b.json",
    "A.json",
    "tab\t\x7f\x01.json",
    "C:\\windows\\nul.json",
    "percent%2F%00.json",
    "plus + space.json",
    "question?x=1&y=#z.json",
    "quotes\"'<>&.json",
    "中\U0001f600e\u0301.json",
    "x" * 1019 + ".json",
]


def test_no_key_leads_out_of_the_cache_or_to_another_ones_file(client, bucket, tmp_path, sent):
    for number, key in enumerate(HOSTILE):
        bucket.put(key, body=b"%d" % number)
    found = [item for key in HOSTILE for item in s3.list_objects(client, bucket.at(key))]
    s3.fetch_files(client, found, tmp_path / "cache")
    paths = {item.key: Path(item.path) for item in found}
    assert {uri: path.read_bytes() for uri, path in paths.items()} == {
        bucket.at(key): b"%d" % number for number, key in enumerate(HOSTILE)
    }
    assert {str(path.parent) for path in paths.values()} == {str(tmp_path / "cache" / bucket.name)}
    assert len({str(path).lower() for path in paths.values()}) == len(HOSTILE)


def test_a_line_break_in_a_key_is_as_good_as_any_letter(client, bucket, tmp_path, sent):
    found = MockRawResponse(b"found")
    headers = {"content-length": "5"}
    sent.answers = [("/a%0Ab.json", lambda r: AWSResponse(r.url, 200, headers, found))]
    item = files.File(bucket.at("a\nb.json"), 5, "etag")
    s3.fetch_files(client, [item], s3.CACHE)
    assert Path(item.path).read_bytes() == b"found"


def test_an_object_that_changes_between_listing_and_reading_is_noticed(client, bucket, tmp_path):
    bucket.put("log/a.json", "log/b.json")
    listed = s3.list_objects(client, bucket.at("log"))
    bucket.put("log/b.json", body=b"{ }")
    assert said(s3.fetch_files, client, listed, s3.CACHE) == (
        f"{bucket.at('log/b.json')} changed while it was read; load again. Nothing was loaded."
    )
    assert b"{ }" not in [file.read_bytes() for file in cached(tmp_path)]


def test_an_object_that_vanishes_between_listing_and_reading_is_noticed(client, bucket, tmp_path):
    bucket.put("log/a.json")
    listed = s3.list_objects(client, bucket.at("log"))
    bucket.client.delete_object(Bucket=bucket.name, Key="log/a.json")
    assert said(s3.fetch_files, client, listed, s3.CACHE) == (
        f"{bucket.at('log/a.json')} is not there, or no longer; check, and load again. "
        "Nothing was loaded."
    )
    assert cached(tmp_path) == []


class Breaking(MockRawResponse):
    """A body whose connection breaks, or whose reader is stopped, after its first bytes."""

    def __init__(self, how: BaseException | None = None):
        super().__init__(b'{"ti')
        self.how = how

    def read(self, *size):
        if not (got := super().read(*size)) and self.how:
            raise self.how
        return got


def breaking(how=None, times=1):
    """Return an answer that breaks off `times` times."""
    left = itertools.count(times, -1)

    def answer(request):
        headers = {"content-length": "14"}
        return AWSResponse(request.url, 200, headers, Breaking(how)) if next(left) > 0 else None

    return answer


def test_a_download_that_breaks_off_is_tried_again(gathered, bucket, sent):
    bucket.put("song/a.json", body=b'{"title": "a"}')
    sent.clear()
    sent.answers = [("a.json", breaking(times=2))]
    assert gathered(SONGS, bucket.at("song"))[1] == [b'{"title": "a"}\n']
    assert sent.gets == ["song/a.json"] * 3


@pytest.mark.parametrize("how", [None, KeyboardInterrupt(), MemoryError()])
def test_no_half_file_is_left_however_a_download_ends(gathered, bucket, sent, tmp_path, how):
    bucket.put("song/a.json", body=b'{"title": "a"}')
    sent.answers = [("a.json", breaking(how, times=9))]
    with pytest.raises(type(how) if how else SourceError):
        gathered(SONGS, bucket.at("song"))
    assert cached(tmp_path) == []
    sent.answers = []
    assert gathered(SONGS, bucket.at("song"))[1] == [b'{"title": "a"}\n']


def test_a_file_that_a_kill_leaves_is_not_taken_for_the_object(gathered, bucket, monkeypatch):
    bucket.put("song/a.json", body=b'{"title": "a"}')
    with monkeypatch.context() as killed:
        killed.setattr(os, "replace", lambda *names: None)
        killed.setattr(os, "unlink", lambda name: None)
        with pytest.raises(SourceError):  # nothing has the object's name
            gathered(SONGS, bucket.at("song"))
    assert len(list(s3.CACHE.rglob("*/*"))) == 1
    assert gathered(SONGS, bucket.at("song"))[1] == [b'{"title": "a"}\n']


def test_a_cached_file_that_is_not_whole_is_fetched_again(gathered, bucket, tmp_path):
    bucket.put("song/a.json", body=b'{"title": "a"}')
    gathered(SONGS, bucket.at("song"))
    cached(tmp_path)[0].write_bytes(b"")
    assert gathered(SONGS, bucket.at("song"))[1] == [b'{"title": "a"}\n']


def test_the_first_error_stops_the_other_downloads(gathered, bucket, sent):
    bucket.put(*(f"song/{number:03}.json" for number in range(120)))
    sent.clear()
    sent.answers = [("000.json", DENIED)]
    assert "000.json can't be read" in said(gathered, SONGS, bucket.at("song"))
    assert len(sent.gets) < 100


def test_a_cache_that_cannot_be_written_is_named(gathered, bucket):
    bucket.put("song/a.json")
    s3.CACHE.write_bytes(b"a file")
    assert said(gathered, SONGS, bucket.at("song")) == (
        f"{s3.CACHE} can't be written: Not a directory; fetched files are kept there. "
        "Nothing was loaded."
    )
