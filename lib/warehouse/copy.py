"""COPY, how Redshift reads files: from S3, exactly those that a manifest lists.

Manifests, and files that lie in a folder, are put into the project's own bucket for that, below
loads/, and taken out again after the load.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cached_property
from io import BufferedReader

from lib import SourceError, aws
from lib.aws import access
from lib.aws.access import BOUNDARY, LOADS
from lib.warehouse.base import Conflict, ConnectionLost, CopyError, Warehouse
from lib.warehouse.templates import WarehouseError, name_columns, render

MAXERROR = 100_000  # bad records that one COPY names, the most that Redshift lets it
FILE_NAME = 256  # characters of a file's name that the system views keep
REMEDIES = {  # by COPY's error code; the codes are in AWS's page "Load error reference"
    1204: "the text is longer than the column; shorten it, or widen the column in lib/sql/schema",
    1207: "the value is not a number of this column's kind; mend it",
    1213: "the record lacks a field that all have; mend it",
    1220: "the text is not UTF-8, or holds NUL; convert the file",
    1222: "the number is out of the column's range; mend it",
    1224: "the record is not valid JSON; mend it",
}


class Copying(Warehouse):
    """What a warehouse can do that reads files with COPY."""

    @cached_property
    def role(self) -> str:
        """The ARN of the role that COPY reads with."""
        return access.find_role_arn(self.settings)

    @cached_property
    def bucket(self) -> dict[str, str]:
        """The project's own bucket and the account that it must belong to."""
        return access.get_bucket(self.settings)

    def stage(self, kind: str, fields: Mapping, parts: list[str], batch_id: int) -> dict[str, int]:
        """Copy files of a folder or of S3 into a kind's staging table; return each one's records.

        `fields`: each JSON key, and the sort of its number or the most bytes of its text.
        Raises CopyError when a record or a file can't be read.
        """
        counts = {}
        self.run("copy/land", {"kind": kind})
        columns = ["start_time" if c == "ts" else c for c in name_columns(fields)]
        with self._open_scratch() as scratch:
            json_paths = self._put_json_paths(list(fields), scratch)
            for gzip in (False, True):
                some = [part for part in parts if part.lower().endswith(".gz") is gzip]
                if copied := {scratch.put_file(part): part for part in some}:
                    how = {"gzip": gzip, "maxerror": MAXERROR}
                    self._copy(f"landed_{kind}", columns, scratch, copied, json_paths, **how)
                    found = dict(self.rows("copy/files"))
                    counts |= {part: found.get(uri[:FILE_NAME], 0) for uri, part in copied.items()}
        self.run(f"load/stage_{kind}", {"fields": fields}, batch_id=batch_id)
        return counts

    def append(self, table: str, frame) -> None:
        """Add a DataFrame's rows to a table, its columns by their names."""
        with self._open_scratch() as scratch:
            body = frame.to_json(orient="records", lines=True, date_format="iso", date_unit="us")
            rows = {scratch.put("rows.json", body.encode()): table}
            self._copy(table, list(frame.columns), scratch, rows, "auto", timeformat="auto")

    def _copy(self, table, columns, scratch, uris: dict, json_paths: str, **how) -> None:
        """Run COPY on exactly the files `uris`, a mapping to the part that each one holds.

        Raises CopyError that says which record it can't read, and which parts hold some.
        """
        entries = [{"url": uri, "mandatory": True} for uri in uris]
        manifest = scratch.put("manifest", json.dumps({"entries": entries}).encode())
        options = {"table": table, "columns": columns, "manifest": manifest, "json": json_paths}
        options |= {"role": self.role, "region": self.settings.data.region}
        options |= {"gzip": False, "timeformat": "epochmillisecs", "maxerror": 0} | how
        (statement,) = render("copy/copy", self.dialect, **options)
        try:
            self._execute(statement)
        except (Conflict, ConnectionLost):
            raise
        except WarehouseError as error:
            self._execute("rollback")  # after an error nothing can be asked in the transaction
            raise self._explain_failed_copy(str(error), uris) from error
        if options["maxerror"] and self.rows("copy/bad_files", session_id=self.session_id):
            raise self._explain_failed_copy("load_error", uris)

    def _explain_failed_copy(self, message: str, uris: dict) -> CopyError:
        """Return which record COPY could not read, or the likely cause, and what to do."""
        found = self.rows("copy/errors", session_id=self.session_id)
        if "load_error" not in message or not found:
            return CopyError(explain_copy(message, self.role))
        file, line, column, kind, code, reason = found[0]
        remedy = REMEDIES.get(int(code), "mend or take out that record")
        column = f", column {column} ({kind})" if column else ""
        said = f"{file}, line {line}{column}: {reason}; {remedy}, then load again."
        bad = {name for (name,) in self.rows("copy/bad_files", session_id=self.session_id)}
        bad |= {name for name, *_ in found}
        return CopyError(said, True, (uris[uri] for uri in uris if uri[:FILE_NAME] in bad))

    def _put_json_paths(self, fields: list[str], scratch: _Scratch) -> str:
        """Return where the jsonpaths file of these fields is in S3: [DATA] LOG_JSONPATH, or ours;
        or auto, where fields and columns have the same names."""
        if name_columns(fields) == fields:
            return "auto"
        if place := self.settings.data.log_jsonpath:
            return place
        body = json.dumps({"jsonpaths": [f"$['{name}']" for name in fields]}).encode()
        return scratch.put("jsonpaths.json", body)

    def _open_scratch(self) -> closing[_Scratch]:
        client = aws.make_client(self.settings, "s3", self.settings.data.region)
        return closing(_Scratch(client, self.bucket))


class _Scratch:
    """A folder of one COPY in the project's bucket.

    `bucket`: its name and the account that it must belong to, as of `access.get_bucket`.
    """

    def __init__(self, client, bucket: dict[str, str]):
        self.client, self.bucket, self.folder = client, bucket, f"{LOADS}{uuid.uuid4().hex}"
        self.keys: list[str] = []

    def put(self, name: str, body: bytes | BufferedReader) -> str:
        """Put an object into the folder, of bytes or of a file, and return its URI."""
        key = f"{self.folder}/{len(self.keys)}-{name}"
        uri = f"s3://{self.bucket['Bucket']}/{key}"
        self.keys.append(key)
        with aws.explain_errors(f"write {uri}"):
            if isinstance(body, bytes):
                self.client.put_object(**self.bucket, Key=key, Body=body)
            else:
                owner = {"ExpectedBucketOwner": self.bucket["ExpectedBucketOwner"]}
                self.client.upload_fileobj(body, self.bucket["Bucket"], key, ExtraArgs=owner)
        return uri

    def put_file(self, part: str) -> str:
        """Return the URI of a part; a file of this machine is put into the folder first."""
        if "://" in part:
            return part
        try:
            with open(part, "rb") as file:
                return self.put("part.json", file)
        except OSError as error:
            reason = f"{part} can't be read: {error.strerror}"
            raise SourceError(f"{reason}. Nothing was loaded.") from None

    def close(self) -> None:
        """Take the objects out again; what is left by a failure expires by the bucket's rule."""
        from botocore.exceptions import BotoCoreError, ClientError

        with suppress(BotoCoreError, ClientError):
            for first in range(0, len(self.keys), 1000):
                keys = [{"Key": key} for key in self.keys[first : first + 1000]]
                self.client.delete_objects(**self.bucket, Delete={"Objects": keys})


def explain_copy(message: str, role: str) -> str:
    """Return Redshift's words for a failed COPY as what happened and what to do."""
    if "Access Denied" in message or "AccessDenied" in message:
        cause = (
            f"COPY may not read the files as {role}: the bucket or the policy {BOUNDARY} does not "
            "let it, or LOG_DATA or SONG_DATA has changed since 01_provision; run 01_provision "
            "again, or ask an administrator or the bucket's owner."
        )
    elif "NoSuchKey" in message or "does not exist" in message:
        cause = "A file vanished between listing and reading; load again."
    elif "PermanentRedirect" in message or "different region" in message:
        cause = "The data's bucket is in another region; set [DATA] REGION to it."
    elif "jsonpath" in message.lower():
        cause = "The file named in [DATA] LOG_JSONPATH doesn't fit; mend it, or name none."
    else:
        return f"COPY failed: {message}"
    first_line, *_ = message.strip().split("\n")
    return f"{cause} Redshift said: {first_line}"
