"""Find what a connection to Redshift needs: the endpoint, a password, COPY's role, the bucket."""

from __future__ import annotations

import shlex

from lib.aws import DENIED, AwsError, read_code
from lib.aws.account import Account
from lib.aws.ownership import format_expiry, has_expired
from lib.config import Settings

READER = "dwh_reader"  # the database user that 02_schema makes for questions
BOUNDARY = "sparkify-dwh-boundary"  # the permissions boundary of the project's role
LOADS = "loads/"  # the project puts objects into its bucket below this prefix only
READY = {"available", "available, prep-for-resize", "available, resize-cleanup"}
RUN = "python -m lib.run --target redshift"
REMOVE = f"{RUN} --only 05 --teardown"


class Secret(str):
    """A string that its repr does not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'hidden'"


def remove_command(settings: Settings) -> str:
    """Return the command that removes what these settings name, and nothing of other settings."""
    return f"{REMOVE} --config {shlex.quote(settings.file)}" if settings.file else REMOVE


def find_cluster(account: Account) -> dict | None:
    """Return what AWS knows of the cluster, its tags in `Tags`; None when it isn't there."""
    named = {"ClusterIdentifier": account.identifier}
    answer = account.call("redshift", "describe_clusters", ("ClusterNotFound",), **named)
    return {"Tags": []} | answer["Clusters"][0] if answer else None


def find_role(account: Account) -> dict | None:
    """Return the role of [IAM_ROLE] NAME; None when it isn't there."""
    name = account.settings.iam_role.name
    answer = account.call("iam", "get_role", ("NoSuchEntity",), RoleName=name)
    return {"Tags": []} | answer["Role"] if answer else None


def name_bucket(account: Account) -> dict[str, str]:
    """Return the arguments that name the project's bucket: bucket names are shared by all
    accounts, so the account that must own it is one of them."""
    name = f"{account.identifier}-{account.id}-{account.settings.data.region}"
    return {"Bucket": name, "ExpectedBucketOwner": account.id}


def find_bucket(account: Account) -> dict | None:
    """Return the tags of the project's bucket in `Tags`; None when it isn't there.

    Raises AwsError when it belongs to another account.
    """
    bucket, lacking = name_bucket(account), ("NoSuchBucket", "NoSuchTagSet")
    try:
        if answer := account.call("s3", "get_bucket_tagging", lacking, **bucket):
            return {"Tags": answer["TagSet"]}
        exists = account.call("s3", "get_bucket_location", ("NoSuchBucket",), **bucket)
    except AwsError as error:
        if "not authorized" in str(error.__cause__) or read_code(error.__cause__) not in DENIED:
            raise
        raise AwsError(
            f"S3 denies account {account.id} the bucket {bucket['Bucket']} without saying why: "
            "it belongs to another account, or its bucket policy excludes you; choose another "
            "[CLUSTER] IDENTIFIER, or look at that policy."
        ) from error
    return {"Tags": []} if exists else None


def find_endpoint(settings: Settings, account: Account | None = None) -> tuple[str, int]:
    """Return the host and port of the cluster. Raises AwsError when it can't be connected to."""
    if settings.db.host:
        return settings.db.host, settings.db.port
    account = account or Account(settings)
    name, remove = account.identifier, remove_command(settings)
    found = account.require("cluster", name, find_cluster(account))
    endpoint, tags = found.get("Endpoint") or {}, found["Tags"]
    expired = f"expired at {format_expiry(tags)}" if has_expired(tags) else ""
    if found["ClusterStatus"] not in READY or not endpoint.get("Address"):
        since, or_remove = (f", {expired}", f"; or remove it: {remove}") if expired else ("", ".")
        raise AwsError(
            f"The cluster {name} is {found['ClusterStatus']}{since}; run 01_provision, which "
            f"brings it up and waits for it{or_remove}"
        )
    if expired:
        account.progress(f"The cluster {name} has {expired}; remove it: {remove}")
    return endpoint["Address"], endpoint["Port"]


def find_role_arn(settings: Settings, account: Account | None = None) -> str:
    """Return the ARN of the role that COPY reads with: [IAM_ROLE] ARN, else the project's own."""
    if settings.iam_role.arn:
        return settings.iam_role.arn
    account = account or Account(settings)
    return account.require("role", settings.iam_role.name, find_role(account))["Arn"]


def get_bucket(settings: Settings) -> dict[str, str]:
    """Return the arguments that name the bucket for a load's manifests and uploads.

    Raises AwsError when it is missing or foreign; with [DB] HOST it may have been made by hand.
    """
    account = Account(settings)
    bucket, found = name_bucket(account), find_bucket(account)
    if not (settings.db.host and found):
        account.require("bucket", bucket["Bucket"], found)
    return bucket


def get_credentials(settings: Settings, read_only: bool = False) -> tuple[str, str]:
    """Return a user and a password, good for 15 minutes: of [DB] USER, or of the reader."""
    answer = Account(settings).call(
        "redshift",
        "get_cluster_credentials",
        ("ClusterNotFound",),
        DbUser=READER if read_only else settings.db.user,
        DbName=settings.db.name,
        ClusterIdentifier=settings.cluster.identifier,
        AutoCreate=False,
        DurationSeconds=900,
    )
    if not answer:
        raise AwsError(
            f"There is no cluster {settings.cluster.identifier} in {settings.aws.region}; "
            "run 01_provision first."
        )
    return answer["DbUser"], Secret(answer["DbPassword"])
