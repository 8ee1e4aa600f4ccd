"""What any kind of Redshift shares: how a resource is managed, the scratch bucket, COPY's role.

A resource is known by its name and its tags. It is brought about by looking first and then doing
what is lacking, so that this can be repeated whenever it was interrupted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

from lib.aws import AwsError, Clock, access, read_code
from lib.aws.access import BOUNDARY, LOADS
from lib.aws.account import Account
from lib.aws.ownership import FOREIGN, PROJECT
from lib.provision.plan import Step


class Resource:
    """One resource in AWS: how to find, create, complete and delete it."""

    kind, cost, service = "", "free", "redshift"
    key = ""  # the argument that names it in every operation
    look, listed = "", ""  # the operation that describes it, and where its answer has it
    drop, slow = "", ""  # the operation that deletes it, and the error while it is in use
    absent: tuple = ()  # the codes of errors that mean it isn't there

    def __init__(self, account: Account):
        self.account, self.settings, self.name = account, account.settings, account.identifier

    @property
    def named(self) -> dict:
        """The arguments that name it."""
        return {self.key: self.name} if self.key else {}

    def call(self, operation: str, passing: tuple = (), slow: str = "", **arguments):
        """Call its service about it."""
        return self.account.call(self.service, operation, passing, slow, **self.named, **arguments)

    def find(self) -> dict | None:
        """Return what AWS knows of the resource, its tags in `Tags`; None when it isn't there."""
        answer = self.call(self.look, self.absent)
        return {"Tags": []} | answer[self.listed][0] if answer else None

    def create(self) -> None:
        """Create it with its tags."""
        raise NotImplementedError

    def find_gaps(self, found: dict) -> Iterator[tuple[str, str, dict]]:
        """Yield what differs from what it should be: its state, and the call that changes it."""
        yield from ()

    def delete(self, found: dict) -> None:
        """Delete it and all that is in it, as soon as nothing uses it."""
        self.call(self.drop, self.absent, self.slow)

    def find_own(self) -> dict | None:
        """Return what AWS knows of it; raise AwsError when it is somebody else's."""
        return self.account.refuse_foreign(self.kind, self.name, self.find())

    def ensure(self) -> None:
        """Create what is missing, and change what differs."""
        if not (found := self.find_own()):
            self.create()
        clock = Clock(self.account.progress)
        while not (found := found or self.find_own()):
            clock.wait(f"waiting for the {self.kind} to be seen")
        for _, operation, arguments in self.find_gaps(found):
            self.call(operation, **arguments)

    def remove(self) -> None:
        """Delete it, when it is there and may be removed."""
        found = self.find()
        if found and self.account.may_remove(found["Tags"]):
            self.delete(found)

    def plan_creation(self) -> Step:
        """Return the step that brings it about."""
        step = partial(Step, self.kind, self.name, cost=self.cost)
        found = self.find_own()
        if not found:
            return step("missing", "create", self.ensure)
        if gaps := [state for state, *_ in self.find_gaps(found)]:
            return step(", ".join(gaps), "update", self.ensure)
        return step(self.account.describe(found["Tags"]), "keep")

    def plan_removal(self) -> Step:
        """Return the step that removes it."""
        found = self.find()
        if not found:
            return Step(self.kind, self.name, "missing", "none")
        state = self.account.describe(found["Tags"])
        if self.account.may_remove(found["Tags"]):
            return Step(self.kind, self.name, state, "delete", self.remove, self.cost)
        return Step(self.kind, self.name, state, "keep", cost="" if state == FOREIGN else self.cost)


class Bucket(Resource):
    """The bucket for a load's manifests and uploads, in the region of the data."""

    kind, cost, service = "bucket", "by size", "s3"

    def __init__(self, account: Account):
        super().__init__(account)
        self.name = self.named["Bucket"]

    @property
    def named(self) -> dict:
        """Its name, and the account that must own it."""
        return access.name_bucket(self.account)

    def find(self) -> dict | None:
        """Return its tags. Raises AwsError when it belongs to another account."""
        return access.find_bucket(self.account)

    def create(self) -> None:
        """Create it."""
        region = self.settings.data.region
        place = {} if region == "us-east-1" else {"LocationConstraint": region}
        self.account.call(
            self.service,
            "create_bucket",
            ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"),
            Bucket=self.name,
            CreateBucketConfiguration=place | {"Tags": self.account.tags},
        )

    def find_gaps(self, found: dict) -> Iterator:
        """Yield what keeps it private, and what deletes the remains of interrupted loads."""
        block = self.call("get_public_access_block", ("NoSuchPublicAccessBlockConfiguration",))
        blocked = {"PublicAccessBlockConfiguration": dict.fromkeys(PRIVATE, True)}
        if not block or block | blocked != block:
            yield "unblocked", "put_public_access_block", blocked
        policy = self.call("get_bucket_policy", ("NoSuchBucketPolicy",))
        wanted = write_bucket_policy(f"arn:{self.account.partition}:s3:::{self.name}")
        if not policy or json.loads(policy["Policy"]) != wanted:
            yield "no TLS", "put_bucket_policy", {"Policy": json.dumps(wanted)}
        lacking = ("NoSuchLifecycleConfiguration",)
        rules = self.call("get_bucket_lifecycle_configuration", lacking) or {"Rules": ()}
        known = [(rule.get("ID"), rule.get("Filter")) for rule in rules["Rules"]]
        if (ONE_DAY["ID"], ONE_DAY["Filter"]) not in known:
            expiring = {"LifecycleConfiguration": {"Rules": [ONE_DAY]}}
            yield "no expiry", "put_bucket_lifecycle_configuration", expiring

    def delete(self, found: dict) -> None:
        """Delete what the project put there, a thousand objects at a time, and the bucket.

        Raises AwsError when it holds something else, which stays.
        """
        while listed := self.call("list_object_versions", ("NoSuchBucket",)):
            versions = [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]
            if not versions:
                break
            own = [one for one in versions if one["Key"].startswith(LOADS)]
            if not own:
                raise AwsError(
                    f"The bucket {self.name} stays: it holds {versions[0]['Key']}, which this "
                    "project did not put there; move what you need elsewhere and empty it."
                )
            keys = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in own]
            answer = self.call("delete_objects", Delete={"Objects": keys, "Quiet": True})
            if errors := answer.get("Errors"):
                raise AwsError(
                    f"{errors[0]['Key']} in {self.name} can't be deleted: {errors[0]['Message']}."
                )
        self.call("delete_bucket", ("NoSuchBucket",), slow="BucketNotEmpty")


PRIVATE = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
ONE_DAY = {
    "ID": "scratch",
    "Status": "Enabled",
    "Filter": {"Prefix": LOADS},
    "Expiration": {"Days": 1},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
}


def write_policy(*statements: dict) -> dict:
    """Return an IAM policy of the statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def write_bucket_policy(arn: str) -> dict:
    """Return the policy of a bucket that refuses connections without TLS."""
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:*"}
    resources = [arn, f"{arn}/*"]
    return write_policy({"Sid": "OnlyTls", **denied, "Resource": resources, "Condition": insecure})


class Role(Resource):
    """The role that COPY reads the data with and that AWS pauses the cluster with, nothing else."""

    kind, service, key, absent = "role", "iam", "RoleName", ("NoSuchEntity",)

    def __init__(self, account: Account):
        super().__init__(account)
        self.name = self.settings.iam_role.name
        self.boundary = f"arn:{account.partition}:iam::{account.id}:policy/{BOUNDARY}"
        self.redshift = f"arn:{account.partition}:redshift:{account.region}:{account.id}"

    def call(self, operation: str, passing: tuple = (), slow: str = "", **arguments):
        """Change something of it; explain what to do when the permissions boundary is missing."""
        try:
            return super().call(operation, passing, slow, **arguments)
        except AwsError as error:
            missing = read_code(error.__cause__) == "NoSuchEntity"
            if not missing or "PermissionsBoundary" not in arguments:
                raise
            raise AwsError(
                f"The policy {BOUNDARY}, the role's permissions boundary, is not in account "
                f"{self.account.id}; an administrator creates it once from docs/iam/boundary.json "
                "(see docs/redshift.md), or set [IAM_ROLE] ARN to a role made elsewhere."
            ) from error

    def find(self) -> dict | None:
        """Return the role."""
        return access.find_role(self.account)

    def find_arn(self) -> str:
        """Return its ARN; '' when it isn't there."""
        return (self.find_own() or {"Arn": ""})["Arn"]

    def create(self) -> None:
        """Create it below the project's path, for this cluster alone."""
        self.call(
            "create_role",
            ("EntityAlreadyExists",),
            Path=f"/{PROJECT}/",
            AssumeRolePolicyDocument=json.dumps(self.write_trust()),
            PermissionsBoundary=self.boundary,
            Description=f"What COPY of the Redshift cluster {self.account.identifier} may read",
            Tags=self.account.tags,
        )

    def find_gaps(self, found: dict) -> Iterator:
        """Yield a difference in its boundary, in who may assume it, and in what it may do."""
        bounded = found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        if bounded != self.boundary:
            boundary = {"PermissionsBoundary": self.boundary}
            yield "no boundary", "put_role_permissions_boundary", boundary
        trust, permissions = self.write_trust(), self.write_permissions()
        if found["AssumeRolePolicyDocument"] != trust:
            document = {"PolicyDocument": json.dumps(trust)}
            yield "old trust", "update_assume_role_policy", document
        current = self.call("get_role_policy", self.absent, PolicyName="read")
        if not current or current["PolicyDocument"] != permissions:
            document = {"PolicyName": "read", "PolicyDocument": json.dumps(permissions)}
            yield "old policy", "put_role_policy", document

    def write_trust(self) -> dict:
        """Return who may assume it: Redshift for users of this cluster, and its scheduler."""
        users = {"sts:ExternalId": f"{self.redshift}:dbuser:{self.account.identifier}/*"}
        allow = {"Effect": "Allow", "Action": "sts:AssumeRole"}
        cluster = {"Service": "redshift.amazonaws.com"}
        scheduler = {"Service": "scheduler.redshift.amazonaws.com"}
        condition = {"StringLike": users}
        return write_policy(
            {"Sid": "Redshift", **allow, "Principal": cluster, "Condition": condition},
            {"Sid": "Scheduler", **allow, "Principal": scheduler},
        )

    def write_permissions(self) -> dict:
        """Return what it may do: read the configured places and the bucket, pause the cluster."""
        data, s3 = self.settings.data, f"arn:{self.account.partition}:s3:::"
        own = f"s3://{Bucket(self.account).name}"
        folders = [f"{place.rstrip('/')}/*" for place in (data.log_data, data.song_data, own)]
        patterns: dict[str, set[str]] = {}
        for place in [*folders, data.log_jsonpath]:
            if place.startswith("s3://"):
                bucket, _, pattern = place.removeprefix("s3://").partition("/")
                patterns.setdefault(bucket, set()).add(pattern)
        buckets = sorted(patterns)
        objects = [f"{s3}{name}/{key}" for name in buckets for key in sorted(patterns[name])]
        lists = [
            {
                "Action": "s3:ListBucket",
                "Resource": s3 + name,
                "Condition": {"StringLike": {"s3:prefix": sorted(patterns[name])}},
            }
            for name in buckets
        ]
        cluster = f"{self.redshift}:cluster:{self.account.identifier}"
        statements = [
            {"Action": "s3:GetObject", "Resource": objects},
            {"Action": "s3:GetBucketLocation", "Resource": [s3 + name for name in buckets]},
            {"Action": "redshift:PauseCluster", "Resource": cluster},
            *lists,
        ]
        return write_policy(*({"Effect": "Allow", **statement} for statement in statements))

    def delete(self, found: dict) -> None:
        """Delete its policies and the role."""
        listed = self.call("list_role_policies", self.absent) or {"PolicyNames": ()}
        for name in listed["PolicyNames"]:
            self.call("delete_role_policy", self.absent, PolicyName=name)
        self.call("delete_role", self.absent)
