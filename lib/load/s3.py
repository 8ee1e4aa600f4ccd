"""Objects in S3: list those below a place, and fetch the ones that are new into a cache.

A cached file is named by a hash of its object's address and content (etag): no key can lead out
of the cache, and an object that has changed is another file.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lib import ROOT, SourceError, aws
from lib.config import Settings

ENDINGS = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")
CHUNK = 1 << 20
CACHE = ROOT / "data" / "cache"
PLACE = re.compile(r"s3://([A-Za-z0-9][A-Za-z0-9._-]{1,254})(?:/(.*))?", re.DOTALL)
ELSEWHERE = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
ELSEWHERE |= {"PermanentRedirect", "TemporaryRedirect", "301", "307"}
LIST, GET = "s3:ListBucket", "s3:GetObject"
AT_ONCE = 32  # downloads
TRIES = 3  # of a download whose connection breaks halfway; boto3 retries all else


class Identity(NamedTuple):
    """What the file system says of a file: while none of it changes, neither do the bytes."""

    size: int
    device: int
    inode: int
    mtime_ns: int
    ctime_ns: int


@dataclass
class File:
    """One JSON file, and how many of its records are loaded and left out.

    `key`: its absolute path or S3 URI. `content_hash`: SHA-256, or the etag that S3 gives it.
    `path`: where its bytes are on this machine. `identity`: from before it was read; None in S3.
    """

    key: str
    size: int
    content_hash: str = ""
    path: str = ""
    identity: Identity | None = None
    records: int = 0
    rejects: int = 0


def connect(settings: Settings):
    """Return an S3 client in [DATA] REGION; without credentials it reads what is public."""
    from botocore import UNSIGNED

    with aws.explain_errors("find your credentials"):
        known = aws.open_session(settings).get_credentials()
    how = {} if known else {"signature_version": UNSIGNED}
    how |= {"max_pool_connections": AT_ONCE, "retries": {"mode": "standard", "max_attempts": 8}}
    return aws.make_client(settings, "s3", settings.data.region, **how)


def split_place(place: str) -> tuple[str, str]:
    """Return bucket and prefix (or key) of s3://bucket/prefix."""
    if not (found := PLACE.fullmatch(place)):
        raise SourceError(f"{place} is no place in S3; write s3://bucket/folder.")
    return found[1], found[2] or ""


def list_objects(client, place: str) -> list[File]:
    """Return the JSON objects below a place, or the one object that it names, sorted by URI.

    Names that start with a dot are passed over. Raises SourceError when there is none.
    """
    bucket, prefix = split_place(place)
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    if folder != prefix:
        first = next(_list_all(client, place, prefix, page_size=1), None)
        if first and first.key == place and (first.size or _is_data(prefix)):
            return [first]
    below = len(f"s3://{bucket}/{folder}")
    found = [item for item in _list_all(client, place, folder) if _is_data(item.key[below:])]
    if not found:
        endings = ", ".join(ENDINGS[:3])
        raise SourceError(f"{place} holds no JSON file ({endings} …); check how it is spelled.")
    return sorted(found, key=lambda file: file.key)


def _is_data(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and "/." not in f"/{name}"


def _list_all(client, place: str, prefix: str, page_size: int = 1000) -> Iterator[File]:
    """Yield every object whose key starts with `prefix`."""
    bucket, _ = split_place(place)
    listed = {"Bucket": bucket, "Prefix": prefix, "PaginationConfig": {"PageSize": page_size}}
    with _explain(client, place, LIST):
        for page in client.get_paginator("list_objects_v2").paginate(**listed):
            region = page["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
            if region and region != client.meta.region_name:  # boto3 follows; COPY would not
                raise SourceError(_describe_region(client, bucket, region))
            for item in page.get("Contents", ()):
                uri = f"s3://{bucket}/{item['Key']}"
                yield File(uri, item["Size"], item["ETag"].strip('"'))


def read_start(client, uri: str) -> bytes:
    """Return the first bytes of an object, at most 64 KiB."""
    bucket, key = split_place(uri)
    with _explain(client, uri, GET):
        return client.get_object(Bucket=bucket, Key=key, Range="bytes=0-65535")["Body"].read()


def fetch_files(client, files: list[File], cache: Path) -> None:
    """Set each file's path, in `cache`; download those that are not there yet.

    Raises SourceError when an object can't be read, or is no longer the one that was listed.
    """
    for file in files:
        name = hashlib.sha256(f"{file.key}\0{file.content_hash}".encode()).hexdigest()
        file.path = str(cache / split_place(file.key)[0] / name)
    missing = [file for file in files if not _is_whole(file)]
    try:
        for file in missing[:1]:
            Path(file.path).parent.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(AT_ONCE) as pool:  # the first error cancels what is not begun
            list(pool.map(partial(_download, client), missing))
    except OSError as error:
        reason = f"{cache} can't be written: {error.strerror}"
        raise SourceError(f"{reason}; fetched files are kept there. Nothing was loaded.") from error


def _is_whole(file: File) -> bool:
    with suppress(OSError):
        return os.stat(file.path).st_size == file.size
    return False


def _download(client, file: File) -> None:
    """Download one object; it has its name only when it is whole, however this ends."""
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    bucket, key = split_place(file.key)
    part = Path(f"{file.path}.{os.getpid()}")
    try:
        with _explain(client, file.key, GET):
            for left in reversed(range(TRIES)):
                try:
                    answer = client.get_object(
                        Bucket=bucket, Key=key, IfMatch=f'"{file.content_hash}"'
                    )
                    with open(part, "wb") as out:
                        out.writelines(answer["Body"].iter_chunks(CHUNK))
                    break
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                    if not left:
                        raise
        os.replace(part, file.path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _explain(client, place: str, action: str) -> Iterator[None]:
    """Turn what boto3 raises within into a SourceError that says what to do."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise SourceError(_describe_error(client, error, place, action)) from error


def _describe_error(client, error: Exception, place: str, action: str) -> str:
    (bucket, key), code = split_place(place), aws.read_code(error)
    if code == "NoSuchBucket":
        return f"There is no bucket {bucket}; check the name in {place}."
    if code == "NoSuchKey":
        return f"{place} is not there, or no longer; check, and load again. Nothing was loaded."
    if code == "PreconditionFailed":
        return f"{place} changed while it was read; load again. Nothing was loaded."
    if code in ELSEWHERE:
        headers = error.response["ResponseMetadata"].get("HTTPHeaders", {})
        named = error.response["Error"].get("Region", "")
        return _describe_region(client, bucket, headers.get("x-amz-bucket-region") or named)
    if code in aws.DENIED or code == "403":
        on = f"arn:aws:s3:::{bucket}" + (f"/{key}" if action == GET else "")
        return f"{place} can't be read: {_describe_denial(client, str(error), action, on)}"
    return aws.explain_error(error, f"read {place}")


def _describe_region(client, bucket: str, region: str) -> str:
    here, there = client.meta.region_name, region or "another region"
    remedy = f"= {region}" if region else "to that one"
    return f"The bucket {bucket} lives in {there}, not in {here}; set [DATA] REGION {remedy}."


def _describe_denial(client, message: str, action: str, resource: str) -> str:
    from botocore import UNSIGNED

    if client.meta.config.signature_version is UNSIGNED:
        return (
            f"without AWS credentials, {action} is allowed on public buckets only; run aws "
            "configure or aws sso login, or name a profile in [AWS] PROFILE."
        )
    if "not authorized to perform" not in message:  # S3 often says no more than "Access Denied"
        message = f"not authorized to perform: {action} on resource: {resource}"
    return aws.explain_denial(message)
