"""The double of Redshift does what Redshift does, to the driver that users have."""

from __future__ import annotations

import json
from contextlib import contextmanager
from itertools import count

import pytest
import redshift_connector

from lib.warehouse.templates import render
from tests.conftest import BUCKET
from tests.standin.dialect import rewrite
from tests.standin.redshift import Redshift

ROLE = "arn:aws:iam::123456789012:role/sparkify-dwh/sparkify-dwh-copy"
NAMES = count(1)
COLUMNS = ["id", "title", "length", "at", "n"]
TABLE = """create table t (
    id bigint not null,
    title varchar(8),
    length double precision,
    at timestamp,
    n integer
) diststyle auto sortkey(id)"""


@pytest.fixture
def connect(double, monkeypatch):
    """Connects to a database of this test's own, in which there is a table."""
    name = f"db{next(NAMES)}"
    double.redshift.create_database(name)
    monkeypatch.setattr(double.redshift, "authorise", lambda *log_in: log_in[2] == "right")

    def connect(**options):
        usual = {"host": double.redshift.host, "port": double.redshift.port, "database": name}
        usual |= {"user": "IAM:dwh_admin", "password": "right", "sslmode": "verify-full"}
        return redshift_connector.connect(**usual | options)

    yield connect
    double.redshift.drop_database(name)


@pytest.fixture
def connection(connect):
    connection = connect()
    run(connection, TABLE)
    connection.commit()
    return connection


@pytest.fixture
def copy(connection, double):
    """Copies a text, or objects that are named, into the table."""
    s3, folder = double.aws.client("s3"), f"standin/{next(NAMES)}"

    def copy(content: bytes = b"", url: str = "", region: str = "us-west-2", maxerror: int = 0):
        url = url or f"s3://{BUCKET}/{folder}/a"
        s3.put_object(Bucket=BUCKET, Key=f"{folder}/a", Body=content)
        manifest = json.dumps({"entries": [{"url": url, "mandatory": True}]}).encode()
        s3.put_object(Bucket=BUCKET, Key=f"{folder}/manifest", Body=manifest)
        options = {"table": "t", "columns": COLUMNS, "json": "auto", "region": region}
        options |= {"manifest": f"s3://{BUCKET}/{folder}/manifest", "role": ROLE, "gzip": False}
        options |= {"timeformat": "epochmillisecs", "maxerror": maxerror}
        run(connection, *render("copy/copy", "redshift", **options))

    return copy


def run(connection, sql):
    cursor = connection.cursor()
    cursor.execute(sql)
    return [tuple(row) for row in cursor.fetchall()] if cursor.description else None


@contextmanager
def refused(code, said="", error=redshift_connector.ProgrammingError):
    with pytest.raises(error) as raised:
        yield
    fields = raised.value.args[0]
    assert (fields["C"], said) == (code, said if said in str(fields) else str(fields))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"password": "wrong"}, 'password authentication failed for user "IAM:dwh_admin"'),
        ({"ssl": False}, "SSL off"),
        ({"host": "127.0.0.1"}, "IP address mismatch"),
    ],
)
def test_only_over_tls_to_the_host_of_the_certificate_with_a_password_one_is_in(
    connect, wrong, said
):
    with pytest.raises(redshift_connector.InterfaceError, match=said):
        connect(**wrong)


def test_strings_and_comments_stay_as_they_are():
    sql = "select 'datediff(day, a', $$ (values $$ /* unnest( */ from t -- diststyle auto"
    assert rewrite(sql) == sql


@pytest.mark.parametrize(
    "sql",
    [
        "select count(*) filter (where n = 1) from t",
        "insert into t (id) select 1 on conflict do nothing",
        "select * from (values (1), (2)) as t",
        "select distinct on (id) * from t",
        "copy t from 's3://music/a' iam_role 'x' json 'auto'",
    ],
)
def test_what_only_postgresql_knows_and_another_copy_than_ours_is_an_error(connection, sql):
    with refused("42601", "syntax error"):
        run(connection, sql)


def test_text_is_measured_in_bytes(connection):
    with refused("22001", "value too long for type character varying(8)"):
        run(connection, "insert into t (id, title) values (1, 'ééééé')")


def test_a_failed_transaction_takes_nothing_but_its_end(connection, copy):
    with refused("42P01"):
        run(connection, "select * from nowhere")
    for ask in (lambda: run(connection, "select 1"), copy):
        with refused("25P02"):
            ask()
    connection.rollback()
    assert run(connection, "select 1") == [(1,)]


def test_copy_reads_values_as_redshift_reads_them_within_its_transaction(connection, copy):
    copy(
        b'{"id": "1", "title": 4.60, "length": "2.5", "at": 1541106106796, "n": 7}'
        b'{"id": 2,\n "title": [1.0, {}]} {"id": 3, "title": "", "X": 1}'
    )
    assert run(connection, "select id, title, length, at::text, n from t order by 1") == [
        (1, "4.60", 2.5, "2018-11-01 21:01:46.796", 7),
        (2, "[1.0,{}]", None, None, None),
        (3, "", None, None, None),
    ]
    connection.rollback()
    assert run(connection, "select count(*) from t") == [(0,)]


def test_every_kind_of_bad_record_has_its_code_and_fails_all_when_there_are_too_many(
    connection, copy
):
    bad = {
        b'{"id": null}': 1213,
        b'{"ID": 1}': 1213,
        b'{"id": ""}': 1207,
        b'{"id": 9223372036854775808}': 1222,
        b'{"id": 1, "n": 1.0}': 1207,
        b'{"id": 1, "title": "123456789"}': 1204,
        b'{"id": 1, "title": "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"}': 1204,
        b'{"id": 1, "title": "\xff"}': 1220,
        b'{"id": 1, "title": "a\\u0000"}': 1220,
        b'{"id": 1, "title": "\\ud800"}': 1220,
        b'{"id": 1, "length": "x"}': 1208,
        b'{"id": 1, "at": "today"}': 1206,
        b'{"id": 1,}': 1224,
        b'{"id": NaN}': 1224,
        b'[{"id": 1}]': 1224,
        b'{"id": 1': 1224,
    }
    content = b"\n".join([b'{"id": 1}', *bad])
    copy(content, maxerror=16)
    errors = "select line_number, error_code from sys_load_error_detail order by line_number"
    assert run(connection, errors) == [*enumerate(bad.values(), 2)]
    assert run(connection, "select id from t") == [(1,)]
    connection.rollback()
    with refused("XX000", "Load into table 't' failed.  Check 'sys_load_error_detail'"):
        copy(content, maxerror=15)
    connection.rollback()
    assert len(run(connection, errors)) == 32, "they outlast the transaction"
    assert run(connection, "select id from t") == []


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"url": f"s3://{BUCKET}/nothing"}, "Status 404,Error NoSuchKey"),
        ({"url": "s3://nowhere/a"}, "NoSuchBucket"),
        ({"region": "us-east-1"}, "Status 301,Error PermanentRedirect"),
    ],
)
def test_an_object_that_copy_can_not_read_is_an_error(connection, copy, how, said):
    with refused("XX000", said):
        copy(b'{"id": 1}', **how)


def test_a_conflict_of_two_transactions_is_said_as_redshift_says_it(connection, connect):
    run(connection, "insert into t (id) values (1)")
    connection.commit()
    other = connect()
    for one in (connection, other):
        run(one, "select * from t")
    run(connection, "update t set n = 2")
    connection.commit()
    with refused("XX000", "1023"):
        run(other, "update t set n = 3")


def test_nothing_is_left_when_it_closes(tmp_path):
    with Redshift(tmp_path, None, None) as server:
        folder = server.server.folder
        assert folder.exists()
    assert not folder.exists()
