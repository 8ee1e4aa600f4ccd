"""Objects in S3: list those below a place, and fetch the ones that are new into a cache.

A cached file is named by a hash of its object's address and content (etag): no key can lead out
of the cache, and an object that has changed is another file.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class Object:
    """One object; `etag` is what S3 tells its content by."""

    uri: str
    size: int
    etag: str


def reader(settings: Settings):
    """Return an S3 client in [DATA] REGION; without credentials it reads what is public."""
    from botocore import UNSIGNED

    with aws.asking("find your credentials"):
        known = aws.session(settings).get_credentials()
    how = {} if known else {"signature_version": UNSIGNED}
    how |= {"max_pool_connections": AT_ONCE, "retries": {"mode": "standard", "max_attempts": 8}}
    return aws.client(settings, "s3", settings.data.region, **how)


def split(place: str) -> tuple[str, str]:
    """Return bucket and prefix (or key) of s3://bucket/prefix."""
    if not (found := PLACE.fullmatch(place)):
        raise SourceError(f"{place} is no place in S3; write s3://bucket/folder.")
    return found[1], found[2] or ""


def listing(client, place: str) -> list[Object]:
    """Return the JSON objects below a place, or the one object that it names, sorted by URI.

    Names that start with a dot are passed over. Raises SourceError when there is none.
    """
    bucket, prefix = split(place)
    folder = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    if folder != prefix:
        first = next(_objects(client, place, prefix, at_once=1), None)
        if first and first.uri == place and (first.size or _is_data(prefix)):
            return [first]
    below = len(f"s3://{bucket}/{folder}")
    found = [item for item in _objects(client, place, folder) if _is_data(item.uri[below:])]
    if not found:
        endings = ", ".join(ENDINGS[:3])
        raise SourceError(f"{place} holds no JSON file ({endings} …); check how it is spelled.")
    return sorted(found, key=lambda item: item.uri)


def _is_data(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and "/." not in f"/{name}"


def _objects(client, place: str, prefix: str, at_once: int = 1000) -> Iterator[Object]:
    """Yield every object whose key starts with `prefix`."""
    bucket, _ = split(place)
    listed = {"Bucket": bucket, "Prefix": prefix, "PaginationConfig": {"PageSize": at_once}}
    with _asking(client, place, LIST):
        for page in client.get_paginator("list_objects_v2").paginate(**listed):
            region = page["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
            if region and region != client.meta.region_name:  # boto3 follows; COPY would not
                raise SourceError(_elsewhere(client, bucket, region))
            for about in page.get("Contents", ()):
                uri = f"s3://{bucket}/{about['Key']}"
                yield Object(uri, about["Size"], about["ETag"].strip('"'))


def body(settings: Settings, place: str) -> bytes:
    """Return the content of the one object that a place names."""
    client, (bucket, key) = reader(settings), split(place)
    with _asking(client, place, GET):
        return client.get_object(Bucket=bucket, Key=key)["Body"].read()


def fetch(client, objects: list[Object], cache: Path) -> dict[str, Path]:
    """Return where each object lies in `cache`, by URI; download what isn't there yet.

    Raises SourceError when an object can't be read, or is no longer the one that was listed.
    """
    paths = {item.uri: cached(cache, item) for item in objects}
    missing = [item for item in objects if not _is_whole(paths[item.uri], item.size)]
    try:
        if missing:
            (cache / split(missing[0].uri)[0]).mkdir(parents=True, exist_ok=True)
            _download(client, {item: paths[item.uri] for item in missing})
    except OSError as error:
        reason = f"{cache} can't be written: {error.strerror}"
        raise SourceError(f"{reason}; fetched files are kept there. Nothing was loaded.") from error
    return paths


def cached(cache: Path, item: Object) -> Path:
    """Return where an object's content lies in the cache, once it is fetched."""
    name = hashlib.sha256(f"{item.uri}\0{item.etag}".encode()).hexdigest()
    return cache / split(item.uri)[0] / name


def _is_whole(path: Path, size: int) -> bool:
    with suppress(OSError):
        return os.stat(path).st_size == size
    return False


def _download(client, paths: dict[Object, Path]) -> None:
    """Download many objects at a time; the first error stops all."""
    stop = threading.Event()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        jobs = [pool.submit(_get, client, *pair, stop) for pair in paths.items()]
        try:
            for job in wait(jobs, return_when=FIRST_EXCEPTION).done:
                job.result()
        finally:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def beginning(client, uri: str) -> bytes:
    """Return the first bytes of an object, at most 64 KiB."""
    bucket, key = split(uri)
    with _asking(client, uri, GET):
        return client.get_object(Bucket=bucket, Key=key, Range="bytes=0-65535")["Body"].read()


def _get(client, item: Object, path: Path, stop: threading.Event) -> None:
    """Download one object; it has its name only when it is whole, however this ends."""
    from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

    part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with _asking(client, item.uri, GET):
            for left in reversed(range(TRIES)):
                try:
                    _save(client, item, part, stop)
                    break
                except (IncompleteReadError, ReadTimeoutError, ResponseStreamingError):
                    if not left:
                        raise
        os.replace(part, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)


def _save(client, item: Object, part: Path, stop: threading.Event) -> None:
    bucket, key = split(item.uri)
    answer = client.get_object(Bucket=bucket, Key=key, IfMatch=f'"{item.etag}"')
    with open(part, "wb") as file:
        for chunk in answer["Body"].iter_chunks(CHUNK):
            if stop.is_set():
                raise InterruptedError
            file.write(chunk)


@contextmanager
def _asking(client, place: str, action: str) -> Iterator[None]:
    """Turn what boto3 raises within into a SourceError."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise SourceError(_why(client, error, place, action)) from error


def _why(client, error: Exception, place: str, action: str) -> str:
    """Return why a place can't be read, and what to do about it."""
    (bucket, key), code = split(place), aws.code(error)
    if code == "NoSuchBucket":
        return f"There is no bucket {bucket}; check the name in {place}."
    if code == "NoSuchKey":
        return f"{place} is not there, or no longer; check, and load again. Nothing was loaded."
    if code == "PreconditionFailed":
        return f"{place} changed while it was read; load again. Nothing was loaded."
    if code in ELSEWHERE:
        about = error.response
        headers = about["ResponseMetadata"].get("HTTPHeaders", {})
        region = headers.get("x-amz-bucket-region") or about["Error"].get("Region", "")
        return _elsewhere(client, bucket, region)
    if code in aws.DENIED or code == "403":
        on = f"arn:aws:s3:::{bucket}" + (f"/{key}" if action == GET else "")
        return f"{place} can't be read: {_denial(client, str(error), action, on)}"
    return aws.sentence(error, f"read {place}")


def _elsewhere(client, bucket: str, region: str) -> str:
    here, there = client.meta.region_name, region or "another region"
    remedy = f"= {region}" if region else "to that one"
    return f"The bucket {bucket} lives in {there}, not in {here}; set [DATA] REGION {remedy}."


def _denial(client, message: str, action: str, resource: str) -> str:
    from botocore import UNSIGNED

    if client.meta.config.signature_version is UNSIGNED:
        return (
            f"without AWS credentials, {action} is allowed on public buckets only; run aws "
            "configure or aws sso login, or name a profile in [AWS] PROFILE."
        )
    if "not authorized to perform" not in message:  # S3 often says no more than "Access Denied"
        message = f"not authorized to perform: {action} on resource: {resource}"
    return aws.denial(message)
