"""What the tests of provisioning share: settings, plans that are applied, and what AWS has then."""

from __future__ import annotations

import json
from datetime import datetime

from moto.redshift.models import redshift_backends

from lib import ROOT, config
from lib.aws.account import Account, read_expiry, read_tags
from lib.provision import redshift, resources
from lib.provision.plan import Plan
from tests.standin.aws import ACCOUNT, Aws

EXAMPLE = ROOT / "dwh.cfg.example"  # the defaults, not the settings of the person running
CIDR = "203.0.113.7/32"
BUCKET = f"sparkify-dwh-{ACCOUNT}-us-west-2"
OWN = {"ExpectedBucketOwner": ACCOUNT}
DATA = {
    "log_data": "s3://udacity-dend/log_data",
    "song_data": "s3://udacity-dend/song_data",
    "log_jsonpath": "s3://udacity-dend/log_json_path.json",
}
NAMES = {
    "bucket": BUCKET,
    "role": "sparkify-dwh-copy",
    "security group": "sparkify-dwh",
    "parameter group": "sparkify-dwh",
    "schedule": "sparkify-dwh",
    "cluster": "sparkify-dwh",
}
OTHERS = [{"Key": "project", "Value": "sparkify-dwh"}, {"Key": "cluster", "Value": "theirs"}]


def made(**overrides) -> config.Settings:
    given = {"target": "redshift", "client_cidr": CIDR} | DATA | overrides
    return config.read_settings(EXAMPLE, environ={}, **given)


def silent(_: str) -> None:
    pass


def create(run: str = "", settings: config.Settings | None = None) -> str:
    return redshift.plan_creation(settings or made(), silent, run).apply(True)


def remove(run: str = "", everything: bool = False, settings: config.Settings | None = None) -> str:
    return redshift.plan_removal(settings or made(), silent, run, everything).apply(True)


def created(settings: config.Settings | None = None) -> config.Settings:
    settings = settings or made()
    redshift.plan_creation(settings, silent).apply(True)
    return settings


def actions(plan: Plan) -> dict[str, str]:
    return {step.resource: step.action for step in plan.steps}


def rules(cloud: Aws, name: str = "sparkify-dwh") -> list[tuple]:
    by_name = [{"Name": "group-name", "Values": [name]}]
    groups = cloud.client("ec2").describe_security_groups(Filters=by_name)["SecurityGroups"]
    return [
        (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], one["CidrIp"])
        for group in groups
        for rule in group["IpPermissions"]
        for one in rule["IpRanges"]
    ]


def described(cloud: Aws, region: str = "us-west-2") -> dict:
    found = cloud.client("redshift", region).describe_clusters(ClusterIdentifier="sparkify-dwh")
    return found["Clusters"][0]


def cluster_of(cloud: Aws):
    return redshift_backends[ACCOUNT]["us-west-2"].clusters["sparkify-dwh"]


def tags_of(cloud: Aws) -> dict[str, dict]:
    """Return the tags of all that is there, by its name."""
    found = redshift.find_ours(Account(made(), silent))
    return {name: read_tags(tags) for name, tags in found.items()}


def scheduled(cloud: Aws) -> dict:
    found = cloud.client("redshift").describe_scheduled_actions()["ScheduledActions"]
    return found[0] if found else {}


def expires(cloud: Aws) -> datetime:
    return read_expiry(described(cloud)["Tags"])


def place(cloud: Aws, kind: str, name: str, tags: list) -> None:
    """Create something of somebody else."""
    redshift, ec2, iam, s3 = (cloud.client(one) for one in ("redshift", "ec2", "iam", "s3"))

    def create_role(name: str, service: str, **own) -> str:
        trust = {"Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        policy = json.dumps(resources.write_policy({"Effect": "Allow", **trust}))
        about = {"RoleName": name, "AssumeRolePolicyDocument": policy} | own
        return iam.create_role(**about)["Role"]["Arn"]

    if kind == "bucket":
        about = {"LocationConstraint": "us-west-2", "Tags": tags}
        s3.create_bucket(Bucket=name, CreateBucketConfiguration=about)
        s3.put_object(Bucket=name, Key="theirs", Body=b"secret")
    elif kind == "role":
        create_role(name, "ec2.amazonaws.com", Tags=tags)
    elif kind == "security group":
        about = {"VpcId": next(v for v in ec2.describe_vpcs()["Vpcs"] if v["IsDefault"])["VpcId"]}
        if tags:
            about["TagSpecifications"] = [{"ResourceType": "security-group", "Tags": tags}]
        ec2.create_security_group(GroupName=name, Description="theirs", **about)
    elif kind == "schedule":
        redshift.create_scheduled_action(
            ScheduledActionName=name,
            ScheduledActionDescription=" ".join(f"{tag['Key']}={tag['Value']}" for tag in tags),
            TargetAction={"PauseCluster": {"ClusterIdentifier": "theirs"}},
            Schedule="at(2060-01-01T00:00:00)",
            IamRole=create_role("theirs-pause", "scheduler.redshift.amazonaws.com"),
        )
    elif kind == "parameter group":
        about = {"ParameterGroupFamily": "redshift-2.0", "Description": "theirs", "Tags": tags}
        redshift.create_cluster_parameter_group(ParameterGroupName=name, **about)
    else:
        about = {"NodeType": "ra3.large", "MasterUsername": "them", "ManageMasterPassword": True}
        about |= {"ClusterParameterGroupName": "default.redshift-1.0", "Tags": tags}
        redshift.create_cluster(ClusterIdentifier=name, **about)
