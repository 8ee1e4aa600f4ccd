"""COPY, how Redshift reads files: from S3, exactly those that a manifest lists.

Manifests, and files that lie in a folder, are put into the project's own bucket for that, below
loads/, and taken out again after the load.
"""

from __future__ import annotations

import json
import uuid
from contextlib import closing, suppress
from functools import cached_property
from io import BufferedReader

from lib import aws
from lib.load import s3
from lib.load.records import Kind, opened
from lib.load.source import Batch
from lib.provision import cluster
from lib.provision.resources import BOUNDARY, LOADS
from lib.warehouse.base import Conflict, ConnectionLost, CopyError, Warehouse
from lib.warehouse.templates import WarehouseError, columns_of, render

FILE_NAME = 256  # characters of a file's name that the system views keep
MAXERROR = 100_000  # records that a COPY may pass over, the most that Redshift lets it
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
        return cluster.role_arn(self.settings)

    @cached_property
    def bucket(self) -> dict[str, str]:
        """The project's own bucket and the account that it must belong to."""
        return cluster.bucket(self.settings)

    def stage(self, batch: Batch, batch_id: int) -> dict[str, int]:
        """Copy the batch's parts into its staging table; return the records of each part.

        Raises CopyError for the parts that hold records which can't be read.
        """
        kind, counts = batch.kind.name, {}
        self.run("copy/land", {"kind": kind})
        columns = ["start_time" if c == "ts" else c for c in columns_of(batch.kind.fields)]
        with self._scratch() as scratch:
            json_paths = self._json_paths(batch.kind, scratch)
            for gzip in (False, True):
                parts = [part for part in batch.parts if part.lower().endswith(".gz") is gzip]
                copied = dict(zip(scratch.all_in_s3(parts), parts, strict=True))
                if copied:
                    about = {"gzip": gzip, "maxerror": MAXERROR}
                    self._copy(f"landed_{kind}", columns, scratch, copied, json_paths, **about)
                    found = dict(self.rows("copy/files"))
                    counts |= {part: found.get(uri[:FILE_NAME], 0) for uri, part in copied.items()}
        self.run(f"load/stage_{kind}", {"fields": batch.kind.fields}, batch_id=batch_id)
        return counts

    def append(self, table: str, frame) -> None:
        """Add a DataFrame's rows to a table, its columns by their names."""
        with self._scratch() as scratch:
            body = frame.to_json(orient="records", lines=True, date_format="iso", date_unit="us")
            rows = {scratch.put("rows.json", body.encode()): table}
            self._copy(table, list(frame.columns), scratch, rows, "auto", timeformat="auto")

    def _copy(self, table, columns, scratch, files: dict, json_paths: str, **how) -> None:
        """Run COPY on exactly `files`, a mapping of each one's URI to the part that it holds.

        Raises CopyError that says which record it can't read, and in which parts some are.
        """
        entries = [{"url": uri, "mandatory": True} for uri in files]
        manifest = scratch.put("manifest", json.dumps({"entries": entries}).encode())
        about = {"table": table, "columns": columns, "manifest": manifest, "json": json_paths}
        about |= {"role": self.role, "region": self.settings.data.region}
        about |= {"gzip": False, "timeformat": "epochmillisecs", "maxerror": 0} | how
        (statement,) = render("copy/copy", self.dialect, **about)
        try:
            self._execute(statement)
        except (Conflict, ConnectionLost):
            raise
        except WarehouseError as error:
            self._execute("rollback")  # after an error nothing can be asked in the transaction
            raise self._not_copied(str(error), files) from error
        if about["maxerror"] and self.rows("copy/bad_lines", session_id=self.session_id):
            raise self._not_copied("load_error", files)

    def _not_copied(self, message: str, files: dict) -> CopyError:
        """Return what COPY could not read, and the likely cause and remedy."""
        found = self.rows("copy/errors", session_id=self.session_id)
        if "load_error" not in message or not found:
            return CopyError(explained_copy(message, self.role))
        bad: dict[str, list[range]] = {name: [] for name, *_ in found}
        for name, line in self.rows("copy/bad_lines", session_id=self.session_id):
            bad.setdefault(name, []).append(range(line - 1, line))
        file, line, column, kind, code, reason = found[0]
        more = f" ({len(found) - 1} more such records follow)" if len(found) > 1 else ""
        remedy = REMEDIES.get(int(code), "mend or take out that record")
        column = f", column {column} ({kind})" if column else ""
        return CopyError(
            f"{file}, line {line}{column}: {reason}; {remedy}, then load again{more}.",
            {part: bad[uri[:FILE_NAME]] for uri, part in files.items() if uri[:FILE_NAME] in bad},
        )

    def _json_paths(self, kind: Kind, scratch: _Scratch) -> str:
        """Return where the jsonpaths file of a kind lies in S3: [DATA] LOG_JSONPATH, or ours; or
        auto, where fields and columns have the same names."""
        fields = list(kind.fields)
        if columns_of(fields) == fields:
            return "auto"
        if place := self.settings.data.log_jsonpath:
            body = s3.body(self.settings, place)
        else:
            body = json.dumps({"jsonpaths": [f"$['{name}']" for name in fields]}).encode()
        return scratch.put("jsonpaths.json", body)

    def _scratch(self) -> closing[_Scratch]:
        client = aws.client(self.settings, "s3", self.settings.data.region)
        return closing(_Scratch(client, self.bucket))


class _Scratch:
    """A folder of one COPY in the project's bucket.

    `bucket`: its name and the account that it must belong to, as of `cluster.bucket`.
    """

    def __init__(self, client, bucket: dict[str, str]):
        self.client, self.bucket, self.folder = client, bucket, f"{LOADS}{uuid.uuid4().hex}"
        self.keys: list[str] = []

    def put(self, name: str, body: bytes | BufferedReader) -> str:
        """Put an object into the folder, of bytes or of a file, and return its URI."""
        key = f"{self.folder}/{len(self.keys)}-{name}"
        uri = f"s3://{self.bucket['Bucket']}/{key}"
        self.keys.append(key)
        with aws.asking(f"write {uri}"):
            if isinstance(body, bytes):
                self.client.put_object(**self.bucket, Key=key, Body=body)
            else:
                owner = {"ExpectedBucketOwner": self.bucket["ExpectedBucketOwner"]}
                self.client.upload_fileobj(body, self.bucket["Bucket"], key, ExtraArgs=owner)
        return uri

    def all_in_s3(self, parts: list[str]) -> list[str]:
        """Return the parts' URIs; those that are files are put into the folder first."""
        uris = []
        for part in parts:
            if "://" in part:
                uris.append(part)
                continue
            with opened(part, part) as file:
                uris.append(self.put("part.json", file))
        return uris

    def close(self) -> None:
        """Take the objects out again; what is left by a failure expires by the bucket's rule."""
        from botocore.exceptions import BotoCoreError, ClientError

        with suppress(BotoCoreError, ClientError):
            for first in range(0, len(self.keys), 1000):
                keys = [{"Key": key} for key in self.keys[first : first + 1000]]
                self.client.delete_objects(**self.bucket, Delete={"Objects": keys})


def explained_copy(message: str, role: str) -> str:
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
