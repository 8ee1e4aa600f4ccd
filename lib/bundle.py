"""Many small JSON files as a few large ones, for COPY: `python -m lib.bundle SOURCE TARGET`.

COPY asks S3 for every file, and can't split one of JSON among its slices. So the records of a place
are packed as they are, each once, one a line, into gzip files of equal size, 64 to 256 MB, as many
as a multiple of the slices (AWS's page "Loading data files"), with a manifest. A bundle is there
whole or not at all. Exit code 0 when it is; else 2, or 130 after Ctrl-C, and one sentence.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import accumulate, groupby
from pathlib import Path

from lib import UserError, config, progress, records, s3, scratch, source
from lib.aws import Account, AwsError
from lib.config import Settings
from lib.export import complete
from lib.plan import Plan, Step
from lib.run import Parser

SIZE = 128 << 20  # bytes of a file, as far as can be told before all is packed
MOST = 256 << 20  # bytes at which a file is full
FETCHED = 64 << 20  # bytes of S3 that lie on this machine at a time
LOOKED_AT = 64  # files whose first bytes are packed, to tell how small they get
MANIFEST = "manifest"  # with an ending of ENDINGS a load would take it for data


class BundleError(UserError):
    """A bundle that can't be written."""


def planned(place: str, target: str, settings: Settings, slices: int = 1) -> Plan:
    """Return the plan of bundling the JSON files of a folder or s3://… in another.

    `slices`: of the cluster; the number of the bundle's files is a multiple of it.
    Raises BundleError when the bundle can't be there, SourceError when `place` can't be read,
    AwsError when AWS refuses.
    """
    target = target.rstrip("/")
    to = _checked(place, target, settings, slices)
    client = s3.reader(settings) if "://" in place else None
    files = s3.listing(client, place) if client else _objects(source.listing(place))
    size, packed = sum(file.size for file in files), _packed(client, files)
    rounds = max(1, round(packed / SIZE / slices))
    cost = _requests(len(files) if client else 0, rounds * slices if "://" in target else 0)
    said: list[str] = []
    write = partial(_write, client, files, slices, rounds, to)
    return Plan(
        target,
        (Step("bundle", target, "missing", "write", lambda: said.append(write()), cost),),
        (
            ("source", f"{place}: {len(files):,} files, {size / 1e6:,.1f} MB"),
            ("bundle", f"{rounds * slices:,} files, about {packed / 1e6:,.1f} MB, and a manifest"),
        ),
        confirmation="Nothing was written; to write it, add --yes." if "://" in target else "",
        closing=lambda: said[0],
    )


def _checked(place: str, target: str, settings: Settings, slices: int) -> AbstractContextManager:
    """Return how to write to `target`; raise BundleError when that can't be."""
    if slices < 1:
        raise BundleError(f"A cluster has 1 slice or more, not {slices}.")
    if f"{target}/".startswith(f"{place.rstrip('/')}/"):
        raise BundleError(f"{target} lies in {place}, which would then hold each record twice.")
    account = Account(settings) if "://" in target else None
    if s3.is_empty(s3.reader(settings), target) if account else not os.path.exists(target):
        return _bucket(target, account) if account else _folder(Path(target))
    raise BundleError(f"{target} is there, and nothing is overwritten; name a new place.")


def _requests(read: int, written: int) -> str:
    """Say what so many files cost in S3: each that is written is begun, sent and completed."""
    gets = [f"{read:,} GET"] if read else []
    puts = [f"{3 * written + 1:,} PUT"] if written else []
    return f"{' and '.join(gets + puts)} requests" if gets or puts else "free"


def _objects(listed: list[tuple[str, int]]) -> list[s3.Object]:
    return [s3.Object(path, size, "") for path, size in listed]


def _packed(client, files: list[s3.Object]) -> int:
    """Estimate the bytes of all files when packed: the beginnings of some are."""
    some = [file for file in files[:: len(files) // LOOKED_AT + 1] if file.size]
    begun = b"".join(_beginning(client, file.uri) for file in some) or b" "
    share = len(zlib.compress(begun)) / len(begun)
    return round(sum(file.size for file in files) * min(1, share))


def _beginning(client, uri: str) -> bytes:
    if client:
        return s3.beginning(client, uri)
    with records.opened(uri, uri) as file:
        return file.read(1 << 16)


def _here(client, files: list[s3.Object]) -> Iterator[tuple[s3.Object, str]]:
    """Yield each file and where it lies on this machine: one of S3, only until the next."""
    if not client:
        yield from ((file, file.uri) for file in files)
        return
    ends = accumulate(file.size for file in files)
    for _, some in groupby(zip(ends, files, strict=True), lambda pair: pair[0] // FETCHED):
        batch = [file for _, file in some]
        with scratch.make_folder() as cache:
            paths = s3.fetch(client, batch, cache, "")
            yield from ((file, str(paths[file.uri])) for file in batch)


class _Parts:
    """The files of a bundle: one a slice at a time, filled in turn so that they are equal.

    `keep`: takes the path of each that is full.
    """

    def __init__(self, folder: Path, keep: Callable[[Path], None], slices: int):
        self.folder, self.keep, self.slices = folder, keep, slices
        self.records = self.rounds = 0
        self.filling: list[gzip.GzipFile] = []

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *error) -> None:
        for file in self.filling:
            file.close()

    def add(self, record: bytes) -> None:
        """Add a record; begin new files when those there are full."""
        if not self.filling:
            first = self.rounds * self.slices + 1
            names = (f"part-{number:05}.json.gz" for number in range(first, first + self.slices))
            self.filling = [gzip.open(self.folder / name, "wb", 6) for name in names]  # noqa: SIM115
            self.rounds += 1
        file = self.filling[self.records % self.slices]
        file.write(record + b"\n")
        self.records += 1
        if file is self.filling[-1] and file.fileobj.tell() >= MOST:
            self.full()

    def full(self) -> None:
        """Close the files and hand them over."""
        for file in self.filling:
            file.close()
        filled, self.filling = self.filling, []
        for file in filled:
            self.keep(Path(file.name))


def _write(client, files, slices: int, rounds: int, to: AbstractContextManager) -> str:
    """Write the bundle, in about so many rounds, and say what it holds."""
    size, done = sum(file.size for file in files), 0
    try:
        with to as target, progress.bar(size, "bundling") as bar, _Parts(*target, slices) as parts:
            for file, path in _here(client, files):
                for _, record in records.objects(file.uri, path):
                    parts.add(record)
                done += file.size
                bar.update(file.size)
                if done * rounds >= size * parts.rounds:
                    parts.full()
            parts.full()
            if not parts.records:
                raise BundleError(f"There is no record in {len(files):,} files.")
    except records.BadRecord as error:
        remedy = "Nothing was written; mend or take out that record, then bundle again."
        raise BundleError(f"{error}. {remedy}") from None
    except OSError as error:
        raise BundleError(f"No file can be written: {error.strerror}.") from None
    return f"{parts.records:,} records in {parts.rounds * slices:,} files"


@contextmanager
def _folder(target: Path) -> Iterator[tuple[Path, Callable[[Path], None]]]:
    """Give a folder for the files, which takes the name of `target` when all has gone well."""
    names: list[str] = []
    with complete(target) as unfinished:
        yield unfinished, lambda path: names.append(str(target / path.name))
        (unfinished / MANIFEST).write_bytes(_manifest(names))


@contextmanager
def _bucket(target: str, account: Account) -> Iterator[tuple[Path, Callable[[Path], None]]]:
    """Give a folder for the files, which are in the bucket when all has gone well.

    Until then each is an upload that is not complete, which nobody sees.
    """
    (bucket, prefix), uploads = s3.split(f"{target}/"), []
    write = partial(account.write, "s3")

    def upload(path: Path) -> None:
        about = {"Bucket": bucket, "Key": prefix + path.name}
        about["UploadId"] = write("create_multipart_upload", **about)["UploadId"]
        uploads.append(about)
        with open(path, "rb") as body:
            tag = write("upload_part", PartNumber=1, Body=body, **about)["ETag"]
        about["MultipartUpload"] = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
        path.unlink()

    try:
        with scratch.make_folder() as folder:
            yield folder, upload
        _publish(write, target, uploads)
    except BaseException:
        for about in uploads:
            about.pop("MultipartUpload", None)
            with suppress(AwsError):
                write("abort_multipart_upload", ("NoSuchUpload",), **about)
        raise


def _publish(write: Callable, target: str, uploads: list[dict]) -> None:
    """Let the files be seen, and put the manifest last."""
    try:
        for about in uploads:
            write("complete_multipart_upload", **about)
        bucket, key = s3.split(f"{target}/{MANIFEST}")
        urls = [f"s3://{bucket}/{about['Key']}" for about in uploads]
        write("put_object", Bucket=bucket, Key=key, Body=_manifest(urls))
    except AwsError as error:
        remedy = f"A part of the bundle may be at {target}, without a manifest; remove it first."
        raise BundleError(f"{error} {remedy}") from error


def _manifest(urls: list[str]) -> bytes:
    """Return COPY's manifest of the files; of JSON it needs no lengths (AWS's page "Using a
    manifest to specify data files")."""
    entries = [{"url": url, "mandatory": True} for url in sorted(urls)]
    return json.dumps({"entries": entries}, indent=1).encode()


def main(arguments: list[str] | None = None) -> int:
    """Bundle what the command line asks for; return the exit code."""
    command = Parser(prog="python -m lib.bundle", description=__doc__.split("\n")[0])
    command.add_argument("source", help="folder or s3://… of the JSON files")
    command.add_argument("target", help="new folder or s3://… for the bundle")
    command.add_argument("--slices", type=int, default=1, help="slices of the cluster (1)")
    command.add_argument("--config", default="", metavar="FILE", help="configuration file")
    command.add_argument("--yes", action="store_true", help="confirm what writes to a bucket")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what is begun is taken back
    try:
        options = command.parse_args(arguments)
        places = [_absolute(place) for place in (options.source, options.target)]
        plan = planned(*places, config.load(options.config), options.slices)
        print(plan, flush=True)
        if plan.confirmation and not options.yes:
            raise BundleError(plan.confirmation)
        print(f"\n{plan.apply(confirm=True)}")
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(os.path.expanduser(place))


if __name__ == "__main__":
    sys.exit(main())
