"""What the Redshift target is made of in AWS: how to find, create, complete and delete each part.

A resource is known by its name, and is ours only when it carries our tags, which its creation
sets in the same call. Each is brought about by looking first and then doing what is lacking, so
that it can be repeated whenever it was cut off.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial

from lib import aws
from lib.aws import DENIED, Account, Clock
from lib.config import Settings
from lib.provision.plan import ProvisionError, Step

PROJECT = "sparkify-dwh"
READY = {"available", "available, prep-for-resize", "available, resize-cleanup"}
GOING = {"deleting", "final-snapshot"}
BROKEN = {"hardware-failure", "storage-full"}  # and incompatible-…: AWS does not repair them
BOUNDARY = f"{PROJECT}-boundary"  # the policy that bounds every role of the project
RUN = "python -m lib.run --target redshift"
REMOVE = f"{RUN} --only 05 --teardown"
FOREIGN = "not ours"  # the state of what lacks our tags
LOADS = "loads/"  # what the project itself puts into its bucket lies below this


def remove_command(settings: Settings) -> str:
    """Return the command that removes what these settings name, and nothing of other settings."""
    return f"{REMOVE} --config {shlex.quote(settings.file)}" if settings.file else REMOVE


class ClusterError(ProvisionError):
    """The cluster is not there, not ours, or can't be made."""


class Site(Account):
    """The account and region in which all this is: what is ours in it, its network, its door.

    `run`: the name of the run, '' for a notebook that a person steps through. `everything`: whether
    what other runs of this project created may be removed too.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Callable[[str], object] = print,
        run: str = "",
        everything: bool = False,
    ):
        super().__init__(settings, progress)
        self.everything = everything
        self.maker = {"owner": name_owner(self.arn), "run": tag_text(run) or "interactive"}

    @cached_property
    def expires(self) -> datetime:
        """When what is created now expires: one moment for all of it."""
        return datetime.now(UTC) + timedelta(hours=self.settings.cluster.expires_hours)

    @property
    def wanted(self) -> dict[str, str]:
        """The tags that make a thing this cluster's; roles and buckets are seen in all regions."""
        return {"project": PROJECT, "cluster": self.identifier, "region": self.region}

    @property
    def tags(self) -> list[dict]:
        """The tags of everything that is created now."""
        named = self.wanted | self.maker
        named["expires"] = f"{self.expires:%Y-%m-%dT%H:%MZ}"
        return [{"Key": key, "Value": value} for key, value in named.items()]

    def is_ours(self, tags: list[dict]) -> bool:
        """Whether the tags are those of this project and this cluster; without one for the region,
        as there was none once, it may be any."""
        return self.wanted.items() <= ({"region": self.region} | by_key(tags)).items()

    def is_own(self, tags: list[dict]) -> bool:
        """Whether this run created what has the tags."""
        return self.is_ours(tags) and self.maker.items() <= by_key(tags).items()

    def may_remove(self, tags: list[dict]) -> bool:
        """Whether what has the tags is this run's, or ours where everything may be removed."""
        return self.is_own(tags) or (self.everything and self.is_ours(tags))

    def name_maker(self, tags: list[dict]) -> str:
        """Return who created what has the tags, such as "of run 1 by user/ann"."""
        if not self.is_ours([tag for tag in tags if tag["Key"] != "region"]):
            return FOREIGN
        named = {"run": "unknown", "owner": "unknown"} | by_key(tags)
        where = "" if self.is_ours(tags) else f" in [AWS] REGION {named['region']}"
        return f"of run {named['run']} by {named['owner']}{where}"

    def describe(self, tags: list[dict]) -> str:
        """Return what a plan says of what has the tags: whose it is."""
        return "of this run" if self.is_own(tags) else self.name_maker(tags)

    @cached_property
    def vpc(self) -> dict:
        """The network that [CLUSTER] VPC names, else the default one, else the only one."""
        vpcs = self.ask("ec2", "describe_vpcs")["Vpcs"]
        wanted = self.settings.cluster.vpc
        named = [vpc for vpc in vpcs if vpc["VpcId"] == wanted]
        default = [vpc for vpc in vpcs if vpc["IsDefault"]]
        chosen = named if wanted else default or vpcs
        if len(chosen) == 1:
            return chosen[0]
        known = ", ".join(vpc["VpcId"] for vpc in vpcs) or "none, so create one first"
        why = f"no VPC {wanted}" if wanted else "no default VPC"
        raise ClusterError(
            f"There is {why} in {self.region}; set [CLUSTER] VPC to one that is there: {known}."
        )

    @cached_property
    def reach(self) -> tuple[str, str]:
        """The range of addresses that may reach the port, and whose it is."""
        given = self.settings.cluster.client_cidr
        if self.settings.cluster.access == "vpc":
            return self.vpc["CidrBlock"], "the VPC's own addresses"
        if given:
            return str(ipaddress.ip_network(given)), "[CLUSTER] CLIENT_CIDR"
        return f"{my_address()}/32", "your address now"


def by_key(tags: list[dict]) -> dict[str, str]:
    """Return the tags' values by their keys."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def tag_text(text: str) -> str:
    """Return the text with what a tag can't hold replaced, and no blank; its end when too long."""
    return re.sub(r"[^\w+=.:/@-]", "_", text)[-256:]


def name_owner(arn: str) -> str:
    """Return whom an ARN names, such as user/ann or assumed-role/Admin/ann@example.com.

    A session that a client named by the clock (botocore-session-1764000000) has another name in
    each process, so that its role alone is the owner.
    """
    who = arn.split(":", 5)[5]
    return tag_text(re.sub(r"^(assumed-role/.+)/[\w-]*\d{10}$", r"\1", who))


def expiry_of(tags: list[dict]) -> datetime | None:
    """Return when what has the tags expires; None when they don't say."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(by_key(tags).get("expires", ""))
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)  # as a person may write it
    return None


def upcoming(tags: list[dict]) -> datetime | None:
    """Return when what has the tags expires; None when that is over, or when they don't say."""
    expiry = expiry_of(tags)
    return expiry if expiry and expiry > datetime.now(UTC) else None


def my_address() -> str:
    """Return the address that this machine has on the internet, as Amazon sees it."""
    try:
        site = http.client.HTTPSConnection("checkip.amazonaws.com", timeout=5)
        site.request("GET", "/")
        return str(ipaddress.IPv4Address(site.getresponse().read().decode().strip()))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ClusterError(
            f"Your address could not be looked up at checkip.amazonaws.com ({error}); "
            "set [CLUSTER] CLIENT_CIDR to it, such as 203.0.113.7/32."
        ) from None


class Resource:
    """One thing of ours in AWS: how to find, create, complete and delete it."""

    kind, cost, service = "", "free", "redshift"
    key = ""  # the argument that names it in every operation
    look, listed = "", ""  # the operation that describes it, and where its answer has it
    drop, slow = "", ""  # the operation that deletes it, and the error while it is in use
    absent: tuple = ()  # the codes of errors that mean it isn't there

    def __init__(self, account: Site):
        self.account, self.settings = account, account.settings
        self.name = account.identifier

    @property
    def named(self) -> dict:
        """The argument that names it."""
        return {self.key: self.name} if self.key else {}

    def ask(self, operation: str, absent: tuple = (), **arguments):
        """Return the answer of its service about it."""
        return self.account.ask(self.service, operation, absent, **self.named, **arguments)

    def write(self, operation: str, passing: tuple = (), slow: str = "", **arguments):
        """Change something of it in its service."""
        return self.account.write(self.service, operation, passing, slow, **self.named, **arguments)

    def find(self) -> dict | None:
        """Return what AWS knows of the resource, its tags in `Tags`; None when it isn't there."""
        answer = self.ask(self.look, self.absent)
        return {"Tags": []} | answer[self.listed][0] if answer else None

    def create(self) -> None:
        """Create it with its tags."""
        raise NotImplementedError

    def gaps(self, found: dict) -> Iterator[tuple[str, str, dict]]:
        """Yield each thing that differs from what it should be, and what to `write` about it."""
        yield from ()

    def delete(self, found: dict) -> None:
        """Delete it and all that is in it, as soon as the cluster has let it go."""
        self.write(self.drop, self.absent, self.slow)

    def owned(self) -> dict | None:
        """Return what AWS knows of it; raise ClusterError when it is somebody else's."""
        found = self.find()
        if found and not self.account.is_ours(found["Tags"]):
            key = "[IAM_ROLE] NAME" if self.kind == "role" else "[CLUSTER] IDENTIFIER"
            raise ClusterError(
                f"The {self.kind} {self.name} in account {self.account.id} belongs to somebody "
                f"else (it lacks the tags project={PROJECT}, cluster={self.account.identifier}, "
                f"region={self.account.region}) and is left alone; choose another {key}."
            )
        return found

    def needed(self) -> dict:
        """Return what AWS knows of it; raise ClusterError when it is missing or foreign."""
        found = self.owned()
        if not found:
            raise ClusterError(
                f"There is no {self.kind} {self.name} in account {self.account.id}, region "
                f"{self.account.region}; run 01_provision first."
            )
        return found

    def ensure(self) -> None:
        """Create what is missing, and change what differs."""
        clock = Clock(self.account.progress)
        if not self.owned():
            self.create()
        while not (found := self.owned()):
            clock.wait(f"waiting for the {self.kind} to be seen")
        for _, operation, arguments in self.gaps(found):
            self.write(operation, **arguments)

    def remove(self) -> None:
        """Delete it, when it is there and may be removed."""
        found = self.find()
        if found and self.account.may_remove(found["Tags"]):
            self.delete(found)

    def creation(self) -> Step:
        """Return the step that brings it about."""
        step = partial(Step, self.kind, self.name, cost=self.cost)
        found = self.owned()
        if not found:
            return step("missing", "create", self.ensure)
        if gaps := [why for why, *_ in self.gaps(found)]:
            state = gaps[0] if len(gaps) == 1 else f"{len(gaps)} gaps"
            return step(state, "update", self.ensure)
        return step(self.account.describe(found["Tags"]), "keep")

    def removal(self) -> Step:
        """Return the step that removes it."""
        found = self.find()
        if not found:
            return Step(self.kind, self.name, "missing", "none")
        state = self.account.describe(found["Tags"])
        if self.account.may_remove(found["Tags"]):
            return Step(self.kind, self.name, state, "delete", self.remove, self.cost)
        return Step(self.kind, self.name, state, "keep", cost="" if state == FOREIGN else self.cost)


class Bucket(Resource):
    """The bucket for a load's manifests and uploads, where the data is."""

    kind, cost, service, key = "bucket", "by size", "s3", "Bucket"

    def __init__(self, account: Site):
        super().__init__(account)
        self.region = self.settings.data.region
        self.name = f"{account.identifier}-{account.id}-{self.region}"
        self.arn = f"arn:{account.partition}:s3:::{self.name}"

    @property
    def named(self) -> dict:
        """Its name, and the account that it must belong to: names are shared by all accounts."""
        return {"Bucket": self.name, "ExpectedBucketOwner": self.account.id}

    def find(self) -> dict | None:
        """Return its tags. Raises ClusterError when it belongs to another account."""
        lacking = ("NoSuchBucket", "NoSuchTagSet")
        try:
            if tags := self.ask("get_bucket_tagging", lacking):
                return {"Tags": tags["TagSet"]}
            there = self.ask("get_bucket_location", ("NoSuchBucket",))
        except aws.AwsError as error:
            if "not authorized" in str(error.__cause__) or aws.code(error.__cause__) not in DENIED:
                raise
            raise ClusterError(
                f"S3 denies account {self.account.id} the bucket {self.name} without saying why: "
                "it belongs to another account, or a policy of its own keeps you out; choose "
                "another [CLUSTER] IDENTIFIER, or look at that policy."
            ) from error
        return {"Tags": []} if there else None

    def create(self) -> None:
        """Create it in the data's region."""
        where = {} if self.region == "us-east-1" else {"LocationConstraint": self.region}
        about = where | {"Tags": self.account.tags}
        passing = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")
        how = {"Bucket": self.name, "CreateBucketConfiguration": about}
        self.account.write(self.service, "create_bucket", passing, **how)

    def gaps(self, found: dict) -> Iterator:
        """Yield what keeps it private, and empties it."""
        block = self.ask("get_public_access_block", ("NoSuchPublicAccessBlockConfiguration",))
        blocked = {"PublicAccessBlockConfiguration": dict.fromkeys(PRIVATE, True)}
        if not block or block | blocked != block:
            yield "unblocked", "put_public_access_block", blocked
        policy = self.ask("get_bucket_policy", ("NoSuchBucketPolicy",))
        wanted = tls_only(self.arn)
        if not policy or json.loads(policy["Policy"]) != wanted:
            yield "no TLS", "put_bucket_policy", {"Policy": json.dumps(wanted)}
        lacking = ("NoSuchLifecycleConfiguration",)
        rules = self.ask("get_bucket_lifecycle_configuration", lacking) or {"Rules": ()}
        found = [(rule.get("ID"), rule.get("Filter")) for rule in rules["Rules"]]
        if (ONE_DAY["ID"], ONE_DAY["Filter"]) not in found:
            expiring = {"LifecycleConfiguration": {"Rules": [ONE_DAY]}}
            yield "no expiry", "put_bucket_lifecycle_configuration", expiring

    def delete(self, found: dict) -> None:
        """Delete what the project put there, a thousand objects at a time, and the bucket.

        Raises ClusterError when it holds something else, which stays.
        """
        while listed := self.ask("list_object_versions", ("NoSuchBucket",)):
            versions = [*listed.get("Versions", ()), *listed.get("DeleteMarkers", ())]
            if not versions:
                break
            own = [one for one in versions if one["Key"].startswith(LOADS)]
            if not own:
                raise ClusterError(
                    f"The bucket {self.name} stays: it holds {versions[0]['Key']}, which this "
                    "project did not put there; move what you need elsewhere and empty it."
                )
            keys = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in own]
            answer = self.write("delete_objects", Delete={"Objects": keys, "Quiet": True})
            if errors := answer.get("Errors"):
                raise ClusterError(
                    f"{errors[0]['Key']} in {self.name} can't be deleted: {errors[0]['Message']}."
                )
        self.write("delete_bucket", ("NoSuchBucket",), slow="BucketNotEmpty")


PRIVATE = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
ONE_DAY = {
    "ID": "scratch",
    "Status": "Enabled",
    "Filter": {"Prefix": LOADS},
    "Expiration": {"Days": 1},
    "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
}


def policy(*statements: dict) -> dict:
    """Return an IAM policy of the statements."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def tls_only(arn: str) -> dict:
    """Return the policy of a bucket that answers over TLS only."""
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:*"}
    return policy(
        {"Sid": "OnlyTls", **denied, "Resource": [arn, f"{arn}/*"], "Condition": insecure}
    )


class Role(Resource):
    """The role that COPY reads the data with, and AWS pauses the cluster with: nothing else."""

    kind, service, key, absent = "role", "iam", "RoleName", ("NoSuchEntity",)

    def __init__(self, account: Site):
        super().__init__(account)
        self.name = self.settings.iam_role.name
        self.boundary = f"arn:{account.partition}:iam::{account.id}:policy/{BOUNDARY}"

    def write(self, operation: str, passing: tuple = (), slow: str = "", **arguments):
        """Change something of it; say who makes the policy that bounds it when that is missing."""
        try:
            return super().write(operation, passing, slow, **arguments)
        except aws.AwsError as error:
            missing = aws.code(error.__cause__) == "NoSuchEntity"
            if not missing or "PermissionsBoundary" not in arguments:
                raise
            raise ClusterError(
                f"The policy {BOUNDARY}, which says what the role may at most do, is not in "
                f"account {self.account.id}; an administrator creates it once from "
                "docs/iam/boundary.json (docs/redshift.md has the command), or set [IAM_ROLE] ARN "
                "to a role made elsewhere."
            ) from error

    def find(self) -> dict | None:
        """Return the role."""
        answer = self.ask("get_role", self.absent)
        return {"Tags": []} | answer["Role"] if answer else None

    def create(self) -> None:
        """Create it below the project's path, for this cluster alone."""
        self.write(
            "create_role",
            ("EntityAlreadyExists",),
            Path=f"/{PROJECT}/",
            AssumeRolePolicyDocument=json.dumps(self.trust()),
            PermissionsBoundary=self.boundary,
            Description=f"What COPY of the Redshift cluster {self.account.identifier} may read",
            Tags=self.account.tags,
        )

    def gaps(self, found: dict) -> Iterator:
        """Yield a difference in its boundary, in who may assume it, and in what it may read."""
        bounded = found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        if bounded != self.boundary:
            to = {"PermissionsBoundary": self.boundary}
            yield "no boundary", "put_role_permissions_boundary", to
        if found["AssumeRolePolicyDocument"] != self.trust():
            document = {"PolicyDocument": json.dumps(self.trust())}
            yield "old trust", "update_assume_role_policy", document
        reads = self.ask("get_role_policy", self.absent, PolicyName="read")
        if not reads or reads["PolicyDocument"] != self.reads():
            document = {"PolicyName": "read", "PolicyDocument": json.dumps(self.reads())}
            yield "old reads", "put_role_policy", document

    def trust(self) -> dict:
        """Return who may assume it: Redshift, for users of this cluster, and its scheduler."""
        here = f"arn:{self.account.partition}:redshift:{self.account.region}:{self.account.id}"
        users = {"sts:ExternalId": f"{here}:dbuser:{self.account.identifier}/*"}
        allow = {"Effect": "Allow", "Action": "sts:AssumeRole"}
        scheduler = {"Service": "scheduler.redshift.amazonaws.com"}
        return policy(
            {
                "Sid": "Redshift",
                **allow,
                "Principal": {"Service": "redshift.amazonaws.com"},
                "Condition": {"StringLike": users},
            },
            {"Sid": "Scheduler", **allow, "Principal": scheduler},
        )

    def reads(self) -> dict:
        """Return what it may do: read the configured places and the scratch bucket; pause."""
        data, s3 = self.settings.data, f"arn:{self.account.partition}:s3:::"
        own = f"s3://{Bucket(self.account).name}"
        folders = [f"{place.rstrip('/')}/*" for place in (data.log_data, data.song_data, own)]
        keys: dict[str, set[str]] = {}
        for place in [*folders, data.log_jsonpath]:
            if place.startswith("s3://"):
                bucket, _, key = place.removeprefix("s3://").partition("/")
                keys.setdefault(bucket, set()).add(key)
        objects = sorted(f"{s3}{bucket}/{key}" for bucket in keys for key in keys[bucket])
        allow = {"Effect": "Allow", "Resource": [s3 + bucket for bucket in sorted(keys)]}
        cluster = Warehouse(self.account).arn
        lists = [
            {
                "Sid": f"List{number}",
                **allow,
                "Action": "s3:ListBucket",
                "Resource": s3 + bucket,
                "Condition": {"StringLike": {"s3:prefix": sorted(keys[bucket])}},
            }
            for number, bucket in enumerate(sorted(keys), 1)
        ]
        return policy(
            {"Sid": "Read", **allow, "Action": "s3:GetObject", "Resource": objects},
            {"Sid": "Locate", **allow, "Action": "s3:GetBucketLocation"},
            *lists,
            {**allow, "Sid": "Pause", "Action": "redshift:PauseCluster", "Resource": cluster},
        )

    def delete(self, found: dict) -> None:
        """Delete its policies and the role."""
        listed = self.ask("list_role_policies", self.absent) or {"PolicyNames": ()}
        for name in listed["PolicyNames"]:
            self.write("delete_role_policy", self.absent, PolicyName=name)
        self.write("delete_role", self.absent)


class Firewall(Resource):
    """The security group: one port, for one range of addresses."""

    kind, service = "security group", "ec2"

    def find(self) -> dict | None:
        """Return ours wherever it is, else one of that name in the VPC."""
        by_name = [{"Name": "group-name", "Values": [self.name]}]
        groups = self.ask("describe_security_groups", Filters=by_name)["SecurityGroups"]
        groups = [{"Tags": []} | group for group in groups]
        ours = [group for group in groups if self.account.is_ours(group["Tags"])]
        others = [group for group in groups if group["VpcId"] == self.account.vpc["VpcId"]]
        return next(iter(ours or others), None)

    def create(self) -> None:
        """Create it, closed."""
        self.write(
            "create_security_group",
            ("InvalidGroup.Duplicate",),
            GroupName=self.name,
            Description=f"Who may reach the Redshift cluster {self.account.identifier}",
            VpcId=self.account.vpc["VpcId"],
            TagSpecifications=[{"ResourceType": "security-group", "Tags": self.account.tags}],
        )

    def gaps(self, found: dict) -> Iterator:
        """Yield the rules that are too many, and the one that is lacking."""
        port, cidr = self.settings.db.port, self.account.reach[0]
        group, wanted, others = {"GroupId": found["GroupId"]}, False, []
        for rule in found["IpPermissions"]:
            ports = (rule["IpProtocol"], rule.get("FromPort"), rule.get("ToPort"))
            ranges = [one["CidrIp"] for one in rule["IpRanges"]]
            keep = cidr if ports == ("tcp", port, port) and cidr in ranges else None
            wanted = wanted or keep is not None
            left = rule | {"IpRanges": [r for r in rule["IpRanges"] if r["CidrIp"] != keep]}
            if any(left.get(of) for of in SOURCES):
                others.append({key: value for key, value in left.items() if value != []})
        if others:
            revoked = {"passing": ("InvalidPermission.NotFound",), "IpPermissions": others}
            yield "old rule", "revoke_security_group_ingress", group | revoked
        if not wanted:
            about = {"CidrIp": cidr, "Description": f"{PROJECT}, {datetime.now(UTC):%Y-%m-%d}"}
            ports = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [about]}
            allowed = {"passing": ("InvalidPermission.Duplicate",), "IpPermissions": [ports]}
            yield "no rule", "authorize_security_group_ingress", group | allowed

    def delete(self, found: dict) -> None:
        """Delete it, as soon as the cluster's network has let it go."""
        gone, group = ("InvalidGroup.NotFound",), found["GroupId"]
        self.write("delete_security_group", gone, slow="DependencyViolation", GroupId=group)


SOURCES = ("IpRanges", "Ipv6Ranges", "UserIdGroupPairs", "PrefixListIds")


class Parameters(Resource):
    """The parameter group: TLS or nothing."""

    kind, key = "parameters", "ParameterGroupName"
    look, listed = "describe_cluster_parameter_groups", "ParameterGroups"
    drop, slow = "delete_cluster_parameter_group", "InvalidClusterParameterGroupState"
    absent = ("ClusterParameterGroupNotFound",)

    def create(self) -> None:
        """Create it, for Redshift 2.0."""
        self.write(
            "create_cluster_parameter_group",
            ("ClusterParameterGroupAlreadyExists",),
            ParameterGroupFamily="redshift-2.0",
            Description=f"Settings of the Redshift cluster {self.account.identifier}",
            Tags=self.account.tags,
        )

    def gaps(self, found: dict) -> Iterator:
        """Yield the parameters that are not as they should be."""
        wanted = ["require_ssl"]
        if self.settings.cluster.audit_logs:
            wanted.append("enable_user_activity_logging")
        known = self.ask("describe_cluster_parameters")["Parameters"]
        now = {one["ParameterName"]: one.get("ParameterValue") for one in known}
        if lacking := [name for name in wanted if now.get(name) != "true"]:
            changed = [{"ParameterName": name, "ParameterValue": "true"} for name in lacking]
            why = "no TLS" if "require_ssl" in lacking else "no logs"
            yield why, "modify_cluster_parameter_group", {"Parameters": changed}


class Subnets(Resource):
    """The subnet group, where the account has no default network."""

    kind, key = "subnet group", "ClusterSubnetGroupName"
    look, listed = "describe_cluster_subnet_groups", "ClusterSubnetGroups"
    drop, slow = "delete_cluster_subnet_group", "InvalidClusterSubnetGroupState"
    absent = ("ClusterSubnetGroupNotFoundFault",)

    def create(self) -> None:
        """Create it of all the VPC's subnets."""
        of = [{"Name": "vpc-id", "Values": [self.account.vpc["VpcId"]]}]
        subnets = self.account.ask("ec2", "describe_subnets", Filters=of)["Subnets"]
        if not subnets:
            raise ClusterError(
                f"The VPC {self.account.vpc['VpcId']} has no subnet; create two in different "
                "zones, or name another VPC in [CLUSTER] VPC."
            )
        self.write(
            "create_cluster_subnet_group",
            ("ClusterSubnetGroupAlreadyExists",),
            Description=f"Network of the Redshift cluster {self.account.identifier}",
            SubnetIds=[subnet["SubnetId"] for subnet in subnets],
            Tags=self.account.tags,
        )


class Schedule(Resource):
    """What pauses the cluster when it expires. AWS has no tags for it: its description holds ours.

    It comes before the cluster, so that there is never one without it.
    """

    kind, key, drop = "schedule", "ScheduledActionName", "delete_scheduled_action"
    absent = ("ScheduledActionNotFound",)

    def find(self) -> dict | None:
        """Return the scheduled action, with the tags that its description holds."""
        answer = self.ask("describe_scheduled_actions", self.absent)
        for found in (answer or {}).get("ScheduledActions", ()):
            pairs = re.findall(r"(\w+)=(\S+)", found.get("ScheduledActionDescription", ""))
            return found | {"Tags": [{"Key": key, "Value": value} for key, value in pairs]}
        return None

    def create(self) -> None:
        """Create it for the moment when the cluster expires."""
        tags = by_key(self.account.tags)
        del tags["expires"]  # a later one would not be written here
        self.write(
            "create_scheduled_action",
            ("ScheduledActionAlreadyExists",),
            TargetAction={"PauseCluster": {"ClusterIdentifier": self.account.identifier}},
            ScheduledActionDescription=" ".join(f"{key}={value}" for key, value in tags.items()),
            slow="IAM role",  # as in `Warehouse.create`
            **self._wanted(self._tags()),
        )

    def _tags(self) -> list[dict]:
        """Return the tags of the cluster; none while there is none that stays."""
        found = Warehouse(self.account).owned()
        return found["Tags"] if found and found["ClusterStatus"] not in GOING else []

    def _wanted(self, tags: list[dict]) -> dict:
        """Return when and as whom the cluster is paused: when its tags say, or anew."""
        when = upcoming(tags) or self.account.expires
        role = copy_role(self.account, needed=False)
        return {"Schedule": f"at({when.astimezone(UTC):%Y-%m-%dT%H:%M}:00)", "IamRole": role}

    def gaps(self, found: dict) -> Iterator:
        """Yield what differs from when and as whom it should be."""
        tags, off = self._tags(), found.get("State") == "DISABLED"
        wanted = self._wanted(tags)
        if off or (tags and not upcoming(tags)) or not wanted.items() <= found.items():
            changed = wanted | {"slow": "IAM role", "Enable": True}
            yield "off" if off else "outdated", "modify_scheduled_action", changed

    def ensure(self) -> None:
        """Give a cluster whose expiry is over a new one, and let it be paused then."""
        if (tags := self._tags()) and not upcoming(tags):
            tags = [tag for tag in self.account.tags if tag["Key"] in ("project", "expires")]
            arn = Warehouse(self.account).arn
            self.account.write("redshift", "create_tags", ResourceName=arn, Tags=tags)
        super().ensure()


class Warehouse(Resource):
    """The cluster: encrypted, its admin's password kept by Secrets Manager, known to nobody."""

    kind, key = "cluster", "ClusterIdentifier"
    look, listed, absent = "describe_clusters", "Clusters", ("ClusterNotFound",)

    def __init__(self, account: Site):
        super().__init__(account)
        here = f"arn:{account.partition}:redshift:{account.region}:{account.id}"
        self.arn = f"{here}:cluster:{self.name}"

    def create(self) -> None:
        """Create it, with all that its safety needs in the one call."""
        cluster, db = self.settings.cluster, self.settings.db
        many = {"ClusterType": "multi-node", "NumberOfNodes": cluster.num_nodes}
        nodes = many if cluster.num_nodes > 1 else {"ClusterType": "single-node"}
        own_network = {} if self.account.vpc["IsDefault"] else {"ClusterSubnetGroupName": self.name}
        self.write(
            "create_cluster",
            ("ClusterAlreadyExists",),
            slow="IAM role",  # a new role is known everywhere only after some seconds
            NodeType=cluster.node_type,
            **nodes,
            DBName=db.name,
            Port=db.port,
            MasterUsername=db.user,
            ManageMasterPassword=True,
            Encrypted=True,
            PubliclyAccessible=cluster.access == "my-ip",
            VpcSecurityGroupIds=[Firewall(self.account).needed()["GroupId"]],
            **own_network,
            ClusterParameterGroupName=self.name,
            IamRoles=[copy_role(self.account)],
            AutomatedSnapshotRetentionPeriod=cluster.snapshot_days,
            AllowVersionUpgrade=True,
            EnhancedVpcRouting=False,  # the data's bucket is public and in no VPC of ours
            Tags=self.account.tags,
        )

    def ensure(self) -> None:
        """Bring it to where it can be connected to, from whatever state it is in."""
        found = self._ready()
        for _, operation, arguments in self.gaps(found):
            self.write(operation, **arguments)
            self._ready()

    def _ready(self) -> dict:
        clock = Clock(self.account.progress)
        while True:
            found = self.owned()
            state = found["ClusterStatus"] if found else "asked for"
            if state in READY and found.get("Endpoint", {}).get("Address"):
                return found
            if state in BROKEN or state.startswith("incompatible-"):
                raise ClusterError(
                    f"The cluster {self.name} is in the state {state}, from which it does not "
                    f"recover; see its events in the AWS console, remove it "
                    f"({remove_command(self.settings)}), and "
                    "create it again."
                )
            if not found:
                self.create()
            elif state == "paused":
                self.write("resume_cluster", ("InvalidClusterState",))
            clock.wait(f"{self.name} is {state}")

    def gaps(self, found: dict) -> Iterator:
        """Yield what the settings ask of a cluster that is there already."""
        if found["ClusterStatus"] not in READY:
            yield found["ClusterStatus"], "", {}  # `ensure` waits for it before it asks
        role = copy_role(self.account, needed=False)
        if role and role not in [one["IamRoleArn"] for one in found.get("IamRoles", ())]:
            yield "no role", "modify_cluster_iam_roles", {"AddIamRoles": [role]}
        public = self.settings.cluster.access == "my-ip"
        if found["PubliclyAccessible"] != public:
            why = "private" if public else "public"
            yield why, "modify_cluster", {"PubliclyAccessible": public}
        logs = self.settings.cluster.audit_logs
        if logs and not self.ask("describe_logging_status").get("LoggingEnabled"):
            about = {"LogDestinationType": "cloudwatch", "LogExports": LOGS}
            yield "no logs", "enable_logging", about

    def delete(self, found: dict) -> None:
        """Delete it with its automatic snapshots, and wait until it is gone."""
        clock, days = Clock(self.account.progress), self.settings.cluster.final_snapshot_days
        how = {"SkipFinalClusterSnapshot": True}
        if days:
            now = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
            how = {"FinalClusterSnapshotIdentifier": f"{self.name}-final-{now}"}
            how |= {"FinalClusterSnapshotRetentionPeriod": days, "SkipFinalClusterSnapshot": False}
        while found and self.account.may_remove(found["Tags"]):
            state = found["ClusterStatus"]
            if state not in GOING:
                busy = ("ClusterNotFound", "InvalidClusterState")  # tried again at the next look
                self.write("delete_cluster", busy, **how)
            clock.wait(f"{self.name} is {state}")
            found = self.find()


LOGS = ["connectionlog", "userlog", "useractivitylog"]


def copy_role(account: Site, needed: bool = True) -> str:
    """Return the ARN of the role that COPY reads as; '' when it is missing and not `needed`."""
    given, role = account.settings.iam_role.arn, Role(account)
    return given or ((role.needed() if needed else role.owned()) or {"Arn": ""})["Arn"]
