"""The double of Redshift does what Redshift does, to the driver that users have."""

from __future__ import annotations

import gzip
import json
import logging
from contextlib import contextmanager, suppress
from itertools import count

import boto3
import pytest
import redshift_connector
from moto.server import ThreadedMotoServer
from trustme import CA

from tests.standin.copy import MotoS3, parse
from tests.standin.dialect import SqlError, rewrite, tokenize
from tests.standin.redshift import Redshift

ROLE = "arn:aws:iam::123456789012:role/reader"
NAMES = count(1)


@pytest.fixture(scope="module")
def s3():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    url = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=url, region_name="us-west-2", **keys)
    west = {"LocationConstraint": "us-west-2"}
    with suppress(client.exceptions.BucketAlreadyOwnedByYou):  # these tests may run in two parts
        client.create_bucket(Bucket="data", CreateBucketConfiguration=west)
    yield client
    server.stop()


def _readable(role, bucket, key, action):
    return "no statement allows it" if key.startswith("secret/") else ""


@pytest.fixture(scope="module")
def redshift(tmp_path_factory, s3):
    with Redshift(
        tmp_path_factory.mktemp("redshift"),
        s3=lambda: s3,
        authorise=lambda user, database, password: password == "right",
        readable=_readable,
        region="us-west-2",
    ) as server:
        yield server


@pytest.fixture
def connect(redshift, monkeypatch):
    """Connects to a database of this test's own."""
    name = f"db{next(NAMES)}"
    redshift.create_database(name)
    monkeypatch.setenv("SSL_CERT_FILE", str(redshift.ca_file))
    opened = []

    def connect(**options):
        options = {
            "host": redshift.host,
            "port": redshift.port,
            "database": name,
            "user": "IAM:dwh_admin",
            "password": "right",
            "sslmode": "verify-full",
        } | options
        opened.append(redshift_connector.connect(**options))
        return opened[-1]

    connect.database = name
    yield connect
    redshift.drop_database(name)


@pytest.fixture
def connection(connect):
    return connect()


@pytest.fixture
def put(s3):
    """Puts objects below a prefix of this test's own, and returns the prefix's URL."""
    prefix = f"p{next(NAMES)}"

    def put(**objects):
        for name, content in objects.items():
            content = content if isinstance(content, bytes) else content.encode()
            s3.put_object(Bucket="data", Key=f"{prefix}/{name}", Body=content)
        return f"s3://data/{prefix}/"

    return put


def run(connection, sql, *values):
    cursor = connection.cursor()
    cursor.execute(sql, values or None)
    return [tuple(row) for row in cursor.fetchall()] if cursor.description else None


def copy(connection, source, options="json 'auto'", table="t"):
    return run(connection, f"copy {table} from '{source}' iam_role '{ROLE}' {options}")


@contextmanager
def refused(code, said="", error=redshift_connector.ProgrammingError):
    with pytest.raises(error) as raised:
        yield
    fields = raised.value.args[0]
    assert (fields["C"], said) == (code, said if said in str(fields) else str(fields))


class TestLogIn:
    def test_whose_password_is_right_is_in_as_the_database_user(self, connect):
        found = run(connect(user="IAMA:Dwh_Admin"), "select current_user, current_database()")
        assert found == [("dwh_admin", connect.database)]

    def test_whose_password_is_wrong_is_refused(self, connect):
        said = 'password authentication failed for user "IAM:dwh_admin"'
        with refused("28000", said, redshift_connector.InterfaceError):
            connect(password="wrong")

    def test_a_database_that_is_not_there_is_an_error(self, connect):
        with refused("3D000", "does not exist"):
            connect(database="nowhere")

    def test_a_certificate_of_another_authority_is_refused(self, connect, monkeypatch, tmp_path):
        CA().cert_pem.write_to_path(tmp_path / "other.pem")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
        with pytest.raises(redshift_connector.InterfaceError, match="CERTIFICATE_VERIFY_FAILED"):
            connect()

    def test_a_host_that_the_certificate_does_not_name_is_refused(self, connect):
        with pytest.raises(redshift_connector.InterfaceError, match="IP address mismatch"):
            connect(host="127.0.0.1")

    def test_nobody_comes_in_without_tls(self, connect):
        with refused("28000", "SSL off", redshift_connector.InterfaceError):
            connect(ssl=False)


class TestSql:
    @pytest.mark.parametrize(
        "sql",
        [
            'select \'distkey\', e\'it\\\'s "A"\', $$ nvl("A") $$, $q$ $$ $q$ -- nvl(1) "A"',
            'select 1 /* "A" /* nested */ nvl(a) */, 1.5e3, a::text, $1',
            "insert into t values ('create table x (a int encode lzo)', 'it''s')",
            "select encode, distkey from t where a = ':x'",
        ],
    )
    def test_strings_and_comments_stay_as_they_are(self, sql):
        assert "".join(token.text for token in tokenize(sql)) == sql
        assert rewrite(sql) == sql

    def test_words_of_redshift_go_and_what_they_imply_stays(self):
        sql = """
            create table if not exists "S".t (  -- distkey(a)
                a bigint encode az64 distkey,
                b varchar(max) default 'sortkey' sortkey,
                c text references x.y (c) unique,
                d numeric(5, 2),
                primary key (d), constraint u unique (b), foreign key (a) references z (a)
            ) diststyle key backup no compound sortkey (a, b)"""
        assert rewrite(sql).split(" (", 1)[1].strip() == (
            "a bigint, b varchar(65535) default 'sortkey' "
            'constraint "bytes_65535_b" check (octet_length(b) <= 65535), '
            'c varchar(256) constraint "bytes_256_c" check (octet_length(c) <= 256), '
            "d numeric ( 5 , 2 ) not null)"
        ).removeprefix("(")

    def test_a_table_as_a_query_keeps_its_query(self):
        sql = "create table t distkey(a) sortkey(b) as select encode, 'x' as \"B\" from y"
        assert rewrite(sql) == "create table t as select encode, 'x' as \"b\" from y"

    @pytest.mark.parametrize(
        ("sql", "value"),
        [
            ("datediff(millisecond, '2018-11-01 00:00:00.9', '2018-11-01 00:00:01.1')", 200),
            ("5 / 2", 2),
        ],
    )
    def test_functions_of_redshift(self, connection, sql, value):
        assert run(connection, f"select {sql}") == [(value,)]

    @pytest.mark.parametrize(
        "sql",
        [
            "select count(*) filter (where a = 1) from t",
            "insert into t values (1) on conflict do nothing",
            "select * from (values (1), (2)) as t",
            "select distinct on (a) * from t",
        ],
    )
    def test_what_only_postgresql_knows_is_an_error(self, connection, redshift, sql):
        with refused("42601", "syntax error"):
            run(connection, sql)
        assert redshift.statements[-1] == sql

    def test_keys_are_not_enforced(self, connection):
        run(connection, "create table t (a int primary key, b int unique)")
        run(connection, "insert into t values (1, 1), (1, 1)")
        assert run(connection, "select * from t") == [(1, 1), (1, 1)]

    def test_text_is_measured_in_bytes(self, connection):
        run(connection, "create table t (a varchar(3))")
        with refused("22001", "value too long for type character varying(3)"):
            run(connection, "insert into t values ('éé')")

    def test_truncate_commits(self, connection, redshift, connect):
        run(connection, "create table t (a int)")
        run(connection, "insert into t values (1)")
        connection.commit()
        run(connection, "insert into t values (2)")
        run(connection, "truncate t")
        connection.rollback()
        assert redshift.rows(connect.database, "select * from t") == []

    def test_a_failed_transaction_takes_nothing_but_its_end(self, connection):
        with refused("42P01"):
            run(connection, "select * from nowhere")
        for sql in ("select 1", "truncate t", f"copy t from 's3://a/b' iam_role '{ROLE}' json"):
            with refused("25P02"):
                run(connection, sql)
        connection.rollback()
        assert run(connection, "select 1") == [(1,)]

    def test_settings_and_upkeep_of_redshift_are_taken(self, connection):
        run(connection, "set query_group to 'load'")
        run(connection, "analyze t predicate columns")
        with refused("25001"):
            run(connection, "vacuum t")

    def test_statements_and_round_trips_are_counted(self, connection, redshift):
        before, trips = len(redshift.statements), redshift.round_trips
        run(connection, 'select 1 as "A"')
        assert redshift.statements[before:] == ["begin transaction", 'select 1 as "A"']
        assert redshift.round_trips == trips + 4


TABLE = """
    create table t (
        id bigint not null, title varchar(8), length double precision, at timestamp, ok boolean,
        n integer
    )
"""


@pytest.fixture
def table(connection):
    run(connection, TABLE)
    connection.commit()
    return connection


def errors(connection):
    connection.rollback()
    return run(
        connection,
        "select line_number, trim(column_name), error_code, trim(error_message)"
        " from sys_load_error_detail order by line_number",
    )


class TestCopyStatement:
    def test_options_come_in_any_order_and_case(self):
        found = parse(
            f"COPY \"S\".t (a, B) FROM 's3://b/k' REGION AS 'us-west-2' GZIP maxerror as 5"
            f" FORMAT AS JSON 'auto' IAM_ROLE '{ROLE}' manifest compupdate off;"
        )
        assert (found.table, found.columns, found.json) == (
            '"s"."t"',
            ["a", "b"],
            "auto",
        )
        assert found.options == {
            "region": "us-west-2",
            "gzip": "on",
            "maxerror": "5",
            "iam_role": ROLE,
            "manifest": "on",
            "compupdate": "off",
        }

    @pytest.mark.parametrize(
        "rest",
        ["json 'auto' gzipped", "json 'auto' json 'auto'", "json 'auto' maxerror", "region x"],
    )
    def test_what_it_does_not_know_is_a_syntax_error(self, rest):
        with pytest.raises(SqlError) as raised:
            parse(
                f"copy t from 's3://b/k' iam_role '{ROLE}' {rest}"
                if rest != "region x"
                else "copy t"
            )
        assert raised.value.code == "42601"


class TestCopy:
    def test_values_are_read_as_redshift_reads_them(self, table, put):
        source = put(
            a='{"id": "1", "title": 4.60, "length": "2.5", "at": 1541106106796, "ok": true, "n": 7}'
            '{"id": 2,\n "title": [1.0, {}]} {"id": 3, "title": "", "X": 1}'
        )
        copy(table, source, "json 'auto' timeformat 'epochmillisecs'")
        found = run(table, "select id, title, length, at::text, ok, n from t order by 1")
        assert found == [
            (1, "4.60", 2.5, "2018-11-01 21:01:46.796", True, 7),
            (2, "[1.0,{}]", None, None, None, None),
            (3, "", None, None, None, None),
        ]

    def test_a_rollback_takes_it_back(self, table, put, redshift, connect):
        copy(table, put(a='{"id": 1}'))
        assert run(table, "select count(*) from t") == [(1,)]
        assert redshift.rows(connect.database, "select count(*) from t") == [(0,)]
        table.rollback()
        assert run(table, "select count(*) from t") == [(0,)]
        assert "completed, 1 record(s) loaded" in str(table.notices)

    def test_a_bad_record_fails_all_and_is_told_after_the_rollback(self, table, put):
        source = put(a='{"id": 1}\n{"id": 1.5}\n')
        with refused("XX000", "Load into table 't' failed.  Check 'sys_load_error_detail'"):
            copy(table, source)
        assert errors(table) == [(2, "id", 1207, "Invalid digit, Value '.', Pos 1, Type: Long")]
        assert run(table, "select count(*) from t") == [(0,)]

    def test_every_kind_of_bad_record_has_its_code(self, table, put):
        bad = {
            b'{"id": null}': 1213,
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
            b'{"id": 1, "ok": "maybe"}': 1210,
            b'{"id": 1,}': 1224,
            b'{"id": NaN}': 1224,
            b'[{"id": 1}]': 1224,
            b'{"id": 1': 1224,
        }
        copy(table, put(a=b"\n".join(bad)), "json 'auto' maxerror 16")
        seen = run(table, "select error_code from sys_load_error_detail order by line_number")
        assert [code for (code,) in seen] == list(bad.values())
        assert run(table, "select count(*) from t") == [(0,)]

    def test_more_bad_records_than_maxerror_fail_it(self, table, put):
        source = put(a='{"id": 1}\n{}\n{}')
        copy(table, source, "json 'auto' maxerror 2")
        assert run(table, "select id from t") == [(1,)]
        with refused("XX000", "failed"):
            copy(table, source, "json 'auto' maxerror 1")

    def test_gzip_must_be_said_and_be_true(self, table, put):
        source = put(a=gzip.compress(b'{"id": 1}', mtime=0))
        copy(table, source, "gzip json 'auto'")
        with refused("XX000", "failed"):
            copy(table, source)
        table.rollback()
        with refused("XX000", "not in gzip format"):
            copy(table, put(a='{"id": 1}'), "json 'auto' gzip")

    def test_a_manifest_names_the_objects(self, table, put):
        source = put(a='{"id": 1}', b='{"id": 2}')
        entries = [{"url": f"{source}b", "mandatory": True}, {"url": f"{source}c"}]
        put(manifest=json.dumps({"entries": entries}))
        copy(table, f"{source}manifest", "json 'auto' manifest")
        assert run(table, "select id from t") == [(2,)]
        assert run(table, "select trim(file_name), lines_scanned from sys_load_detail") == [
            (f"{source}b", 1)
        ]

    def test_a_mandatory_object_that_is_missing_is_an_error(self, table, put):
        source = put(a='{"id": 1}')
        put(manifest=json.dumps({"entries": [{"url": f"{source}x", "mandatory": True}]}))
        with refused("XX000", "The specified key does not exist.,Status 404,Error NoSuchKey"):
            copy(table, f"{source}manifest", "json 'auto' manifest")
        table.rollback()
        with refused("XX000", "Problem reading manifest file - S3ServiceException"):
            copy(table, f"{source}other", "json 'auto' manifest")

    def test_what_the_role_may_not_read_is_denied(self, table, s3):
        s3.put_object(Bucket="data", Key="secret/a", Body=b'{"id": 1}')
        with refused("XX000", "S3ServiceException:Access Denied,Status 403,Error AccessDenied"):
            copy(table, "s3://data/secret/a")

    def test_a_bucket_in_another_region_is_an_error(self, table, put):
        with refused("XX000", "Status 301,Error PermanentRedirect"):
            copy(table, put(a="{}"), "json 'auto' region 'us-east-1'")

    def test_an_empty_prefix_or_a_missing_bucket_is_an_error(self, table):
        with refused("XX000", "The specified S3 prefix 'nothing/' does not exist"):
            copy(table, "s3://data/nothing/")
        table.rollback()
        with refused("XX000", "NoSuchBucket"):
            copy(table, "s3://nowhere/nothing/")

    def test_jsonpaths_reach_into_records(self, table, put):
        paths = ["$['userId']", "$.song.title", "$['list'][1]"]
        put(paths=json.dumps({"jsonpaths": paths}))
        source = put(x='{"userId": 1, "song": {"title": "a"}, "list": [0, 2.5]}{"userId": 2}')
        options = f"json '{source}paths'"
        copy(table, f"{source}x", options, "t (id, title, length)")
        assert run(table, "select id, title, length from t order by 1") == [
            (1, "a", 2.5),
            (2, None, None),
        ]
        with refused("XX000", "JSONPath size: 3, Number of columns in table or column list: 6"):
            copy(table, f"{source}x", options)

    def test_names_are_matched_exactly(self, table, put):
        source = put(a='{"ID": 1}')
        with refused("XX000", "failed"):
            copy(table, source)
        assert errors(table) == [(1, "id", 1213, "Missing data for not-null field")]

    def test_a_table_that_is_not_there_is_an_error(self, connection):
        with refused("42P01", "Cannot COPY into nonexistent table s.nowhere"):
            copy(connection, "s3://data/x", table="s.nowhere")

    def test_autocommit_keeps_it_and_its_number(self, table, put):
        table.autocommit = True
        with refused("XX000", "failed"):
            copy(table, put(a="{}"))
        found = run(
            table, "select error_count from sys_load_history where query_id = pg_last_copy_id()"
        )
        assert found == [(1,)]

    def test_moto_in_this_process_is_read_without_http(self, table, put, redshift, monkeypatch):
        monkeypatch.setattr(redshift, "s3", MotoS3)
        source = put(a='{"id": 1}')
        copy(table, source)
        assert run(table, "select id from t") == [(1,)]
        with refused("XX000", "does not exist"):
            copy(table, f"{source}b")


class TestFaults:
    def insert(self, connection, redshift, action):
        run(connection, "create table t (a int)")
        connection.commit()
        run(connection, "insert into t values (1)")
        redshift.faults.before("^commit", action)
        connection.commit()

    def count(self, redshift, connect):
        return redshift.rows(connect.database, "select count(*) from t")[0][0]

    def test_a_connection_cut_before_the_commit_leaves_nothing(self, redshift, connect):
        with pytest.raises(redshift_connector.InterfaceError):
            self.insert(connect(), redshift, "drop before")
        assert self.count(redshift, connect) == 0

    def test_a_connection_cut_after_the_commit_leaves_all(self, redshift, connect):
        with pytest.raises(redshift_connector.InterfaceError):
            self.insert(connect(), redshift, "drop after")
        assert self.count(redshift, connect) == 1

    def test_a_conflict_is_said_as_redshift_says_it(self, redshift, connect):
        connection = connect()
        with refused("XX000", "Serializable isolation violation on table"):
            self.insert(connection, redshift, "serializable")
        connection.rollback()
        assert self.count(redshift, connect) == 0

    def test_a_real_conflict_is_said_the_same_way(self, connect):
        first, second = connect(), connect()
        run(first, "create table t as select 1 as a")
        first.commit()
        for connection in (first, second):
            run(connection, "select * from t")
        run(first, "update t set a = 2")
        first.commit()
        with refused("XX000", "1023"):
            run(second, "update t set a = 3")

    def test_an_error_or_a_call_of_ones_own(self, redshift, connection):
        redshift.faults.before("^select 2", SqlError("cancelled on user's request", "57014"))
        redshift.faults.before("^select 3", lambda: seen.append(3))
        seen = []
        with refused("57014"):
            run(connection, "select 2")
        with refused("25P02"):
            run(connection, "select 1")
        connection.rollback()
        assert run(connection, "select 3") == [(3,)]
        assert seen == [3]


def test_nothing_is_left_when_it_closes(tmp_path):
    with Redshift(tmp_path) as server:
        folder = server.server.folder
        assert folder.exists()
    assert not folder.exists()
