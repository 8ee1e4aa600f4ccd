"""The cluster: what is planned, refused, created, resumed, shown and removed, cut off anywhere."""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from lib import ROOT, aws, config
from lib.provision import cluster, resources
from lib.provision.plan import Plan
from tests.standin.aws import ACCOUNT, Aws, is_write, permissions

EXAMPLE = ROOT / "dwh.cfg.example"  # the defaults, not the settings of the person running
CIDR = "203.0.113.7/32"
BUCKET = f"sparkify-dwh-{ACCOUNT}-us-west-2"
OWN = {"ExpectedBucketOwner": ACCOUNT}
DATA = {
    "log_data": "s3://udacity-dend/log_data",
    "song_data": "s3://udacity-dend/song_data",
    "log_jsonpath": "s3://udacity-dend/log_json_path.json",
}


@pytest.fixture(scope="module")
def started():
    with Aws() as double:
        yield double


@pytest.fixture
def double(started, monkeypatch):
    """AWS without anything in it, reached by boto3 as its environment says."""
    started.reset()
    for name, value in started.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws, "POLL", 0)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", no_delay)
    return started


def no_delay(*_) -> float:
    return 0


def made(**overrides) -> config.Settings:
    given = {"target": "redshift", "client_cidr": CIDR} | DATA | overrides
    return config.load(EXAMPLE, environ={}, **given)


def silent(_: str) -> None:
    pass


def created(settings: config.Settings | None = None) -> config.Settings:
    settings = settings or made()
    cluster.creation(settings, silent).apply(True)
    return settings


def removed(settings: config.Settings) -> str:
    return cluster.removal(settings, silent).apply(True)


def actions(plan: Plan) -> dict[str, str]:
    return {step.resource: step.action for step in plan.steps}


def rules(double: Aws, name: str = "sparkify-dwh") -> list[tuple]:
    by_name = [{"Name": "group-name", "Values": [name]}]
    groups = double.client("ec2").describe_security_groups(Filters=by_name)["SecurityGroups"]
    return [
        (rule["IpProtocol"], rule["FromPort"], rule["ToPort"], one["CidrIp"])
        for group in groups
        for rule in group["IpPermissions"]
        for one in rule["IpRanges"]
    ]


def described(double: Aws, region: str = "us-west-2") -> dict:
    found = double.client("redshift", region).describe_clusters(ClusterIdentifier="sparkify-dwh")
    return found["Clusters"][0]


# The plan


def test_the_plan_names_account_price_reach_and_every_resource_and_changes_nothing(double):
    plan = cluster.creation(made())
    text = str(plan)
    for part in (
        "target  redshift",
        f"account {ACCOUNT}, region us-west-2",
        "price   $0.54 an hour, $13.03 a day, and $0.024 a month for each GB stored",
        "verified by the price list API",
        "open    port 5439 to 203.0.113.7/32 only ([CLUSTER] CLIENT_CIDR), over TLS only",
        f"create  bucket          {BUCKET}  missing  by size",
        "create  cluster         sparkify-dwh                         missing  $0.54/h",
    ):
        assert part in text
    assert set(actions(plan).values()) == {"create"}
    assert max(map(len, text.splitlines())) <= 80
    unconfirmed = plan.apply()
    assert "Nothing was created" in unconfirmed
    assert "python -m lib.run --target redshift --yes" in unconfirmed
    assert not [call for call in double.calls if is_write(call)]


def test_creating_twice_writes_once(double):
    settings = made()
    done = cluster.creation(settings, silent).apply(True)
    assert "answers at sparkify-dwh." in done
    assert "costs $0.54 an hour" in done
    before = len(double.calls)
    plan = cluster.creation(settings, silent)
    assert set(actions(plan).values()) == {"keep"}
    assert plan.apply(True) == "Nothing to do."
    site = resources.Site(settings, silent)
    for part in cluster._parts(site, resources.Warehouse(site)):
        part.ensure()
    assert not [call for call in double.calls[before:] if is_write(call)]


def test_everything_is_made_as_safe_as_it_should_be(double):
    settings = created()
    found = described(double)
    assert found["Encrypted"]
    assert found["PubliclyAccessible"]
    assert found["AutomatedSnapshotRetentionPeriod"] == 7
    assert found["AllowVersionUpgrade"]
    assert not found["EnhancedVpcRouting"]
    assert (found["DBName"], found["MasterUsername"]) == ("sparkify", "dwh_admin")
    assert found["MasterPasswordSecretArn"], "no password was sent: AWS keeps it"
    assert found["ClusterParameterGroups"][0]["ParameterGroupName"] == "sparkify-dwh"
    assert found["VpcId"]
    assert rules(double) == [("tcp", 5439, 5439, CIDR)]
    parameters = double.client("redshift").describe_cluster_parameters(
        ParameterGroupName="sparkify-dwh"
    )["Parameters"]
    assert {p["ParameterName"]: p["ParameterValue"] for p in parameters}["require_ssl"] == "true"
    s3 = double.client("s3")
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=BUCKET)["Policy"]
    lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"][0]
    assert lifecycle["Expiration"] == {"Days": 1}
    assert lifecycle["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert len(cluster.tagged(resources.Site(settings))) == 6


def test_whatever_is_created_carries_its_tags_from_its_first_moment(double):
    settings = made()
    plan = cluster.creation(settings, silent)
    for step in plan.steps:
        before = len(double.calls)
        double.denied = set()
        step.apply()
        first = next(call for call in double.calls[before:] if is_write(call))
        assert first.split(":")[1].startswith("Create")
    assert "redshift:CreateTags" not in double.calls
    assert "s3:PutBucketTagging" not in double.calls


def test_the_role_reads_what_is_configured_and_nothing_else(double):
    arn = cluster.role_arn(created())
    reads = functools.partial(double.readable, arn)
    assert reads("udacity-dend", "log_data/2018/11/events.json") == ""
    assert reads("udacity-dend", "log_json_path.json") == ""
    assert reads(BUCKET, "any/manifest") == ""
    assert reads("udacity-dend", "log_data/", "s3:ListBucket") == ""
    assert reads("udacity-dend", "", "s3:GetBucketLocation") == ""
    for bucket, key, action in (
        ("udacity-dend", "other/file.json", "s3:GetObject"),
        ("udacity-dend", "log_data_private/file.json", "s3:GetObject"),
        ("udacity-dend", "", "s3:ListBucket"),
        ("payroll", "log_data/file.json", "s3:GetObject"),
        (BUCKET, "any/manifest", "s3:PutObject"),
    ):
        assert "not authorized to perform" in reads(bucket, key, action)
    trust = double.client("iam").get_role(RoleName="sparkify-dwh-copy")["Role"]
    condition = trust["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringLike"]
    assert condition == {
        "sts:ExternalId": f"arn:aws:redshift:us-west-2:{ACCOUNT}:dbuser:sparkify-dwh/*"
    }


def test_local_data_lets_the_role_read_the_scratch_bucket_only(double, tmp_path):
    nowhere = {"log_data": str(tmp_path), "song_data": str(tmp_path), "log_jsonpath": ""}
    arn = cluster.role_arn(created(made(**nowhere)))
    assert double.readable(arn, BUCKET, "batch/events.json") == ""
    assert double.readable(arn, "udacity-dend", "log_data/a.json") != ""


def test_the_bucket_is_where_the_data_is(double):
    settings = created(made(data__region="us-east-1"))
    assert cluster.bucket(settings)["Bucket"] == f"sparkify-dwh-{ACCOUNT}-us-east-1"
    assert "the bucket in us-east-1" in str(cluster.creation(settings))


def test_the_port_is_open_to_the_vpc_alone_when_asked(double):
    settings = made(access="vpc")
    assert "(the VPC's own addresses)" in str(cluster.creation(settings))
    created(settings)
    vpc = double.client("ec2").describe_vpcs()["Vpcs"][0]
    assert rules(double) == [("tcp", 5439, 5439, vpc["CidrBlock"])]
    assert not described(double)["PubliclyAccessible"]
    created(made())
    assert described(double)["PubliclyAccessible"], "a change of ACCESS is followed"


def test_the_own_address_is_looked_up_or_asked_for(double, monkeypatch):
    monkeypatch.setattr(resources, "my_address", lambda: "198.51.100.9")
    assert "198.51.100.9/32 only (your address now)" in str(cluster.creation(made(client_cidr="")))

    def unreachable(*_, **__):
        raise OSError("no route")

    monkeypatch.undo()
    monkeypatch.setattr(resources.http.client, "HTTPSConnection", unreachable)
    with pytest.raises(cluster.ClusterError, match=r"no route.*set \[CLUSTER\] CLIENT_CIDR"):
        resources.my_address()


def test_a_changed_address_replaces_the_old_one(double):
    created()
    plan = cluster.creation(made(client_cidr="198.51.100.9"), silent)
    assert actions(plan)["security group"] == "update"
    plan.apply(True)
    assert rules(double) == [("tcp", 5439, 5439, "198.51.100.9/32")]


def test_a_rule_added_by_hand_is_closed_again(double):
    settings = created()
    ec2 = double.client("ec2")
    group = described(double)["VpcSecurityGroups"][0]["VpcSecurityGroupId"]
    world = {"IpProtocol": "tcp", "FromPort": 5439, "ToPort": 5439}
    rule = world | {"IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    created(settings)
    assert rules(double) == [("tcp", 5439, 5439, CIDR)]


def test_a_network_that_is_no_default_gets_a_subnet_group(double):
    ec2 = double.client("ec2", "eu-west-1")
    for vpc in ec2.describe_vpcs()["Vpcs"]:
        for subnet in ec2.describe_subnets()["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        ec2.delete_vpc(VpcId=vpc["VpcId"])
    settings = made(aws__region="eu-west-1")
    with pytest.raises(cluster.ClusterError, match=r"no default VPC in eu-west-1; .*create one"):
        cluster.creation(settings)
    own = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    plan = cluster.creation(settings, silent)
    assert actions(plan)["subnet group"] == "create"
    with pytest.raises(cluster.ClusterError, match=r"has no subnet; .*Done before that: "):
        plan.apply(True)
    for zone in "ab":
        block = {"a": "10.1.1.0/24", "b": "10.1.2.0/24"}[zone]
        ec2.create_subnet(VpcId=own, CidrBlock=block, AvailabilityZone=f"eu-west-1{zone}")
    created(settings)
    assert described(double, "eu-west-1")["ClusterSubnetGroupName"] == "sparkify-dwh"
    assert described(double, "eu-west-1")["VpcId"] == own
    assert "is left" in removed(settings)
    other = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    with pytest.raises(cluster.ClusterError, match=r"set \[CLUSTER\] VPC to one that is there"):
        cluster.creation(settings)
    assert cluster.creation(made(aws__region="eu-west-1", vpc=other))
    with pytest.raises(cluster.ClusterError, match=r"no VPC vpc-0.*one that is there: vpc-"):
        cluster.creation(made(aws__region="eu-west-1", vpc="vpc-0"))


def test_audit_logs_are_written_when_asked(double):
    created()
    settings = made(audit_logs=True)
    assert actions(cluster.creation(settings))["cluster"] == "update"
    created(settings)
    status = double.client("redshift").describe_logging_status(ClusterIdentifier="sparkify-dwh")
    assert status["LoggingEnabled"]
    assert status["LogExports"] == ["connectionlog", "userlog", "useractivitylog"]
    assert set(actions(cluster.creation(settings)).values()) == {"keep"}


def test_several_nodes_cost_several_times_as_much(double):
    settings = made(num_nodes=2, max_hourly_usd=2)
    assert "$1.09 an hour, $26.06 a day" in str(cluster.creation(settings))
    created(settings)
    assert described(double)["NumberOfNodes"] == 2


# Refusals


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"node_type": "dc2.large"}, "dc2.large can't be created any more; use ra3.large"),
        ({"port": 5430}, r"PORT must be 5431 to 5455 or 8191 to 8215, not 5430"),
        ({"client_cidr": "0.0.0.0/0"}, "would open the database port to the whole internet"),
        ({"client_cidr": "::/0"}, "would open the database port to the whole internet"),
        ({"client_cidr": "8.0.0.0/7"}, "would open the database port to the whole internet"),
        ({"client_cidr": "2001:db8::1/128"}, "must be an IPv4 range"),
        ({"client_cidr": "203.0.113.7/24"}, "has host bits set; such as 203.0.113.7/32"),
        ({"client_cidr": "home"}, "does not appear to be an IPv4 or IPv6 network"),
        ({"db__user": "admin"}, "USER admin is what attackers try"),
        ({"db__user": "awsuser"}, "USER awsuser is what attackers try"),
        ({"db__name": "dev"}, "NAME dev is what attackers try"),
        ({"identifier": "Sparkify"}, "IDENTIFIER must be small letters"),
        ({"identifier": "a--b"}, "IDENTIFIER must be small letters"),
        ({"snapshot_days": 36}, "snapshot_days must be at most 35"),
        ({"audit_logs": "maybe"}, "must be true or false, not 'maybe'"),
    ],
)
def test_a_setting_that_can_not_be_is_refused_before_aws_is_asked(wrong, words):
    with pytest.raises(config.ConfigError, match=words):
        made(**wrong)


def test_more_than_the_maximum_is_refused(double):
    with pytest.raises(cluster.ClusterError, match=r"\$0\.54 an hour.*MAX_HOURLY_USD is 0\.5;"):
        cluster.creation(made(max_hourly_usd=0.5))
    created()
    cluster.creation(made(max_hourly_usd=0.5))  # what is there already is only kept
    double.client("redshift").pause_cluster(ClusterIdentifier="sparkify-dwh")
    with pytest.raises(cluster.ClusterError, match="MAX_HOURLY_USD"):
        cluster.creation(made(max_hourly_usd=0.5))


def test_a_price_that_can_not_be_asked_is_the_bundled_one_and_says_so(double):
    double.price = None
    text = str(cluster.creation(made()))
    assert "$0.54 an hour" in text
    assert "bundled price of 2026-11-24 for us-east-1, unverified" in text
    assert "AccessDenied" in text
    with pytest.raises(cluster.ClusterError, match=r"price of ra3.4xlarge could not be asked"):
        cluster.creation(made(node_type="ra3.4xlarge"))


def test_a_node_type_that_is_not_offered_is_refused_with_those_that_are(double):
    double.node_types = ["ra3.large", "rg.large"]
    with pytest.raises(cluster.ClusterError, match=r"ra3.xlplus is not offered.*ra3.large, rg"):
        cluster.creation(made(node_type="ra3.xlplus", max_hourly_usd=2))


def test_another_account_than_the_named_one_is_refused(double):
    with pytest.raises(aws.AwsError, match=f"of account {ACCOUNT}, and .* is 999999999999"):
        cluster.creation(made(account="999999999999"))
    assert cluster.creation(made(account=ACCOUNT))


def test_credentials_that_change_account_on_the_way_stop_at_the_next_write(double):
    plan = cluster.creation(made(), silent)
    double.account_from = (len(double.calls) + 20, "999999999999")
    with pytest.raises(aws.AwsError, match=r"of account 999999999999 by now.*Done before that"):
        plan.apply(True)
    late = double.calls[double.account_from[0] - 1 :]
    assert not [call for call in late if is_write(call)][1:], "at most the one already compared"


FOREIGN = {
    "untagged": [],
    "of another cluster": [
        {"Key": "project", "Value": "sparkify-dwh"},
        {"Key": "cluster", "Value": "theirs"},
    ],
}


def place(double: Aws, kind: str, name: str, tags: list) -> None:
    """Create something of somebody else."""
    redshift, ec2, iam, s3 = (double.client(one) for one in ("redshift", "ec2", "iam", "s3"))
    if kind == "bucket":
        s3.create_bucket(
            Bucket=name,
            CreateBucketConfiguration={"LocationConstraint": "us-west-2", "Tags": tags},
        )
        s3.put_object(Bucket=name, Key="theirs", Body=b"secret")
    elif kind == "role":
        trust = {"Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        policy = resources.policy({"Effect": "Allow", **trust})
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(policy), Tags=tags)
    elif kind == "security group":
        vpc = next(v for v in ec2.describe_vpcs()["Vpcs"] if v["IsDefault"])["VpcId"]
        own = [{"ResourceType": "security-group", "Tags": tags}] if tags else []
        ec2.create_security_group(
            GroupName=name, Description="theirs", VpcId=vpc, TagSpecifications=own
        )
    elif kind == "schedule":
        trust = {"Principal": {"Service": "scheduler.redshift.amazonaws.com"}}
        policy = resources.policy({"Effect": "Allow", **trust, "Action": "sts:AssumeRole"})
        document = json.dumps(policy)
        role = iam.create_role(RoleName="theirs-pause", AssumeRolePolicyDocument=document)["Role"]
        redshift.create_scheduled_action(
            ScheduledActionName=name,
            ScheduledActionDescription=" ".join(f"{tag['Key']}={tag['Value']}" for tag in tags),
            TargetAction={"PauseCluster": {"ClusterIdentifier": "theirs"}},
            Schedule="at(2060-01-01T00:00:00)",
            IamRole=role["Arn"],
        )
    elif kind == "parameters":
        redshift.create_cluster_parameter_group(
            ParameterGroupName=name,
            ParameterGroupFamily="redshift-1.0",
            Description="theirs",
            Tags=tags,
        )
    else:
        redshift.create_cluster(
            ClusterIdentifier=name,
            NodeType="ra3.large",
            MasterUsername="them",
            ManageMasterPassword=True,
            ClusterParameterGroupName="default.redshift-1.0",
            Tags=tags,
        )


NAMES = {
    "bucket": BUCKET,
    "role": "sparkify-dwh-copy",
    "security group": "sparkify-dwh",
    "parameters": "sparkify-dwh",
    "schedule": "sparkify-dwh",
    "cluster": "sparkify-dwh",
}


@pytest.mark.parametrize("tags", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("kind", NAMES)
def test_what_is_somebody_elses_is_neither_adopted_nor_changed_nor_deleted(double, kind, tags):
    settings = made()
    planned = cluster.creation(settings, silent)
    place(double, kind, NAMES[kind], tags)
    before = len(double.calls)
    key = "IAM_ROLE" if kind == "role" else "CLUSTER"
    words = rf"The {kind} {NAMES[kind]} in account {ACCOUNT} belongs to somebody else.*\[{key}\]"
    with pytest.raises(cluster.ClusterError, match=words):
        cluster.creation(settings)
    plan = cluster.removal(settings)
    assert actions(plan)[kind] == "keep"
    assert plan.apply(True) == "Nothing to do."
    assert not [call for call in double.calls[before:] if is_write(call)]
    with pytest.raises(cluster.ClusterError, match=words):  # it came after the plan was made
        planned.apply(True)
    assert cluster.running(settings) == ""
    left = removed(settings)
    assert left.startswith(("Done", "Nothing to do"))
    assert cluster.removal(settings).steps
    assert actions(cluster.removal(settings))[kind] == "keep", "it is still there"


@pytest.mark.parametrize("host", ["", "dwh.example.com"])
def test_a_bucket_of_that_name_in_another_account_is_refused(double, host):
    place(double, "bucket", BUCKET, [])
    double.owners[BUCKET] = "999999999999"
    settings = made(host=host, arn=f"arn:aws:iam::{ACCOUNT}:role/theirs")
    words = f"denies account {ACCOUNT} the bucket {BUCKET} .*belongs to another account"
    with pytest.raises(cluster.ClusterError, match=words):
        cluster.bucket(settings)
    if not host:
        for plan in (cluster.creation, cluster.removal):
            with pytest.raises(cluster.ClusterError, match=words):
                plan(settings)


def test_every_call_on_the_own_bucket_says_whose_it_must_be(double):
    settings = created()
    double.client("s3").put_object(Bucket=BUCKET, Key="loads/1", Body=b"", **OWN)
    cluster.bucket(settings)
    cluster.status(settings)
    removed(settings)
    assert {call for call, bucket in double.unguarded if bucket == BUCKET} == {"s3:CreateBucket"}


def test_a_foreign_cluster_is_not_connected_to(double):
    place(double, "cluster", "sparkify-dwh", [])
    with pytest.raises(cluster.ClusterError, match="belongs to somebody else"):
        cluster.endpoint(made())


def test_a_cluster_made_elsewhere_is_kept_and_nothing_is_created(double):
    settings = made(host="dwh.example.com", arn="arn:aws:iam::1:role/theirs", db__user="awsuser")
    for plan in (cluster.creation(settings), cluster.removal(settings)):
        assert actions(plan) == {"cluster": "keep", "role": "keep"}
        assert "dwh.example.com" in str(plan)
        assert plan.apply(True) == "Nothing to do."
    assert cluster.endpoint(settings) == ("dwh.example.com", 5439)
    assert cluster.role_arn(settings) == "arn:aws:iam::1:role/theirs"
    assert cluster.running(settings) == ""
    assert "made elsewhere" in cluster.status(settings)
    assert not [call for call in double.calls if is_write(call)]


def test_a_role_made_elsewhere_is_used_as_it_is(double):
    settings = made(arn="arn:aws:iam::999999999999:role/theirs")
    plan = cluster.creation(settings, silent)
    assert actions(plan)["role"] == "keep"
    plan.apply(True)
    assert described(double)["IamRoles"][0]["IamRoleArn"].endswith("role/theirs")
    removed(settings)
    assert not [call for call in double.calls if call.startswith("iam:") and is_write(call)]


# States, faults and cut-offs


@pytest.mark.parametrize("state", ["paused", "pausing", "modifying", "rebooting", "resuming"])
def test_a_cluster_that_is_busy_or_paused_is_brought_up(double, state):
    settings = created()
    redshift_of(double).status = state
    double.looks["sparkify-dwh"] = 2
    with pytest.raises(cluster.ClusterError, match=f"is {state}; run 01_provision"):
        cluster.endpoint(settings)
    double.looks["sparkify-dwh"] = 3
    plan = cluster.creation(settings, silent)
    assert actions(plan)["cluster"] == "update"
    assert plan.apply(True).startswith("Done")
    assert described(double)["ClusterStatus"] == "available"


def redshift_of(double: Aws):
    from moto.redshift.models import redshift_backends

    return redshift_backends[ACCOUNT]["us-west-2"].clusters["sparkify-dwh"]


@pytest.mark.parametrize("state", ["incompatible-network", "hardware-failure", "storage-full"])
def test_a_state_without_recovery_fails_at_once_and_can_be_removed(double, state):
    settings = created()
    redshift_of(double).status = state
    with pytest.raises(cluster.ClusterError, match=f"in the state {state}.*--only 05 --teardown"):
        cluster.creation(settings, silent).apply(True)
    redshift_of(double).status = "storage-full"
    assert "is left" in removed(settings)


def test_waiting_shows_seconds_and_state_and_has_an_end(double, monkeypatch):
    said = []
    cluster.creation(made(), said.append).apply(True)
    assert said == ["    0 s  sparkify-dwh is asked for", "    0 s  sparkify-dwh is creating"]
    redshift_of(double).status = "modifying"
    double.looks["sparkify-dwh"] = 10_000
    monkeypatch.setattr(aws, "PATIENCE", 0)
    with pytest.raises(aws.AwsError, match="Still sparkify-dwh is modifying after 0 minutes"):
        created()


def test_a_cluster_that_is_still_going_is_waited_for_and_made_anew(double):
    settings = created()
    old = described(double)["ClusterCreateTime"]
    double.client("redshift").delete_cluster(
        ClusterIdentifier="sparkify-dwh", SkipFinalClusterSnapshot=True
    )
    created(settings)
    assert described(double)["ClusterCreateTime"] > old


def test_throttling_is_survived(double):
    for call in ("iam:GetRole", "redshift:CreateCluster", "ec2:DescribeVpcs"):
        double.throttled[call] = 1
    created()


def test_a_call_that_was_carried_out_and_answered_with_a_fault_is_repeated(double):
    settings = made()
    cluster.creation(settings, silent)
    calls = enumerate(walked(double, settings), 1)
    made_by = ("Create", "Authorize", "Modify")
    for number in [n for n, call in calls if call.split(":")[1].startswith(made_by)]:
        double.reset()
        double.fail_after = number
        created(settings)
        assert len(cluster.tagged(resources.Site(settings))) == 6


def walked(double: Aws, settings: config.Settings) -> list[str]:
    """Return the calls of a whole creation, from its plan on."""
    double.reset()
    created(settings)
    return list(double.calls)


def test_an_expired_token_asks_for_a_login_and_is_never_read_as_absence(double):
    settings = created()
    calls = len(walked(double, settings))
    for number in range(1, calls + 1, 9):
        double.reset()
        double.expired_from = number
        with pytest.raises(aws.AwsError, match=r"session has expired.*log in again"):
            created(settings)
    double.expired_from = 0
    created(settings)
    for ask in (cluster.endpoint, cluster.status, cluster.running, cluster.credentials, removed):
        double.expired_from = len(double.calls) + 2
        with pytest.raises(aws.AwsError, match="log in again"):
            ask(settings)
    double.expired_from = 0
    assert described(double)["ClusterStatus"] == "available"


@pytest.mark.parametrize(
    ("action", "named"),
    [
        ("iam:CreateRole", "CreateRole of docs/iam/provision.json"),
        ("ec2:CreateSecurityGroup", "CreateSecurityGroup of docs/iam/provision.json"),
        ("s3:CreateBucket", "Bucket of docs/iam/provision.json"),
        ("redshift:CreateCluster", "CreateCluster of docs/iam/provision.json"),
    ],
)
def test_a_denied_action_names_itself_and_the_statement_that_allows_it(double, action, named):
    double.denied = {action}
    words = rf"lacks the action {action} on .*; statement {named} has it\..*Run again"
    with pytest.raises(aws.AwsError, match=words):
        created()


def test_a_failure_says_what_was_done_before_it(double):
    double.denied = {"redshift:CreateCluster"}
    words = rf"Done before that: create bucket {BUCKET}, create role .*What exists by now may cost"
    with pytest.raises(aws.AwsError, match=words):
        created()


# Connection


def test_what_a_load_needs_is_discovered(double):
    settings = created()
    host, port = cluster.endpoint(settings)
    assert re.fullmatch(r"sparkify-dwh\.\w+\.us-west-2\.redshift\.amazonaws\.com", host)
    assert port == 5439
    assert cluster.role_arn(settings).endswith(":role/sparkify-dwh/sparkify-dwh-copy")
    assert cluster.bucket(settings) == {"Bucket": BUCKET} | OWN
    double.endpoint = ("127.0.0.1", 5433)
    assert cluster.endpoint(settings) == ("127.0.0.1", 5433)
    double.endpoint = None


def test_a_password_is_temporary_and_hidden(double):
    settings = created()
    user, password = cluster.credentials(settings)
    assert user == "IAM:dwh_admin"
    assert double.authorise(user, "sparkify", password)
    assert not double.authorise(user, "other", password)
    assert not double.authorise("IAM:other", "sparkify", password)
    assert str(password) not in repr((user, password))


@pytest.mark.parametrize(
    "ask", [cluster.endpoint, cluster.role_arn, cluster.bucket, cluster.credentials]
)
def test_without_a_cluster_the_first_notebook_is_named(double, ask):
    with pytest.raises(cluster.ClusterError, match="run 01_provision first"):
        ask(made())


def test_no_secret_is_in_any_text(double):
    settings = made(aws__key="AKIAIOSFODNN7EXAMPLE", aws__secret="wJalrXUtnFEMI/K7MDENG")
    plan = cluster.creation(settings, silent)
    texts = [str(settings), repr(settings), str(plan), repr(plan), plan.apply(True)]
    texts += [cluster.status(settings), cluster.running(settings)]
    texts.append(repr(cluster.credentials(settings)))
    double.denied = {"redshift:GetClusterCredentials"}
    with pytest.raises(aws.AwsError) as failed:
        cluster.credentials(settings)
    texts += [str(failed.value), repr(failed.value)]
    for secret in [*double.secrets, settings.aws.secret]:
        assert not [text for text in texts if secret in text]


# Status


def test_status_says_what_exists_since_when_and_what_it_has_cost(double):
    settings = made()
    assert "nothing with the tag cluster=sparkify-dwh exists" in cluster.status(settings)
    created(settings)
    redshift_of(double).create_time = datetime.now(UTC) - timedelta(hours=10)
    text = cluster.status(settings)
    assert "cluster sparkify-dwh, 1 × ra3.large, available" in text
    assert "10.0 hours" in text
    assert "about $5.43 so far, an estimate" in text
    assert "expires 20" in text
    for other in ("parameter group sparkify-dwh", "role sparkify-dwh-copy", f"bucket {BUCKET}"):
        assert f"and     {other}" in text
    assert "costs $0.54/h until it is removed: python -m lib.run" in cluster.running(settings)


def test_status_says_that_the_expiry_has_passed(double):
    settings = created()
    past = {"Key": "expires", "Value": "2026-01-01T00:00Z"}
    redshift_of(double).create_tags([past])
    text = cluster.status(settings)
    assert "expired 2026-01-01 00:00 UTC; remove it: python -m lib.run" in text


# Removal


def test_everything_is_removed_and_verified_absent(double):
    settings = created()
    s3 = double.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for number in range(3):
        s3.put_object(Bucket=BUCKET, Key=f"loads/{number}", Body=b"{}")
    s3.delete_object(Bucket=BUCKET, Key="loads/1")
    plan = cluster.removal(settings, silent)
    assert "Nothing was removed" in plan.apply()
    assert f"{cluster.REMOVE}" in plan.apply()
    assert described(double)["ClusterStatus"] == "available"
    assert plan.apply(True).endswith("Nothing with the tag cluster=sparkify-dwh is left.")
    assert cluster.tagged(resources.Site(settings)) == {}
    assert double.client("redshift").describe_cluster_snapshots()["Snapshots"] == []
    assert removed(settings) == "Nothing to do."


def test_a_final_snapshot_is_taken_when_asked_and_said_to_stay(double):
    settings = created(made(final_snapshot_days=3))
    plan = cluster.removal(settings, silent)
    assert "a final snapshot is kept for 3 days" in str(plan)
    text = plan.apply(True)
    assert re.search(r"is left, except for the snapshot sparkify-dwh/sparkify-dwh-final-", text)
    kept = double.client("redshift").describe_cluster_snapshots()["Snapshots"]
    assert [one["ClusterIdentifier"] for one in kept] == ["sparkify-dwh"]


def test_what_other_settings_made_is_named_when_it_is_left(double):
    created()
    with pytest.raises(cluster.ClusterError, match=rf"still carry the tag .*: bucket {BUCKET}\."):
        removed(made(data__region="eu-west-1"))


# The operator's policies


def allowed(name: str) -> set[str]:
    document = json.loads((ROOT / "docs" / "iam" / f"{name}.json").read_text())
    assert document["Version"] == "2012-10-17"
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(set(sids)) == len(sids)
    listed = [statement["Action"] for statement in document["Statement"]]
    return {a for actions in listed for a in ([actions] if isinstance(actions, str) else actions)}


def lacking(calls: list[str], name: str) -> set[str]:
    return {one for call in calls for one in permissions(call)} - allowed(name)


def test_the_policy_of_provisioning_allows_every_call_that_it_makes(double):
    settings = made(audit_logs=True, access="vpc")
    created(made())
    created(made(client_cidr="198.51.100.9"))
    created(settings)
    double.client("redshift").pause_cluster(ClusterIdentifier="sparkify-dwh")
    double.calls.clear()
    created(made(iam_role__name="another"))
    cluster.status(settings)
    with pytest.raises(cluster.ClusterError, match=r"still carry .*: role sparkify-dwh-copy"):
        removed(made(iam_role__name="another", final_snapshot_days=1))
    removed(settings)
    assert lacking(double.calls, "provision") == set()


def test_the_policies_of_loading_and_analysing_allow_what_a_connection_needs(double):
    settings = created()
    double.calls.clear()
    cluster.endpoint(settings)
    cluster.credentials(settings)
    assert lacking(double.calls, "analyse") == set()
    cluster.role_arn(settings)
    cluster.bucket(settings)
    s3 = double.client("s3")
    s3.put_object(Bucket=BUCKET, Key="batch/manifest", Body=b"{}")
    s3.list_objects_v2(Bucket=BUCKET)
    s3.get_object(Bucket=BUCKET, Key="batch/manifest")
    s3.delete_object(Bucket=BUCKET, Key="batch/manifest")
    assert lacking(double.calls, "load") == set()


@pytest.mark.parametrize("name", ["provision", "load", "analyse"])
def test_no_policy_allows_more_than_it_names(name):
    assert [action for action in allowed(name) if "*" in action] == []
    document = json.loads((ROOT / "docs" / "iam" / f"{name}.json").read_text())
    for statement in document["Statement"]:
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            reads = action.split(":")[1].startswith(("Describe", "Get", "List"))
            unscoped = action.endswith("ScheduledAction")  # AWS takes no resource for these
            assert reads or unscoped or statement["Resource"] != "*", action


# Killed after every single call

WORKER = r"""
import os, sys, traceback
from lib import aws, config
from lib.provision import cluster
aws.POLL = 0
given = dict(pair.split("=", 1) for pair in sys.argv[1:])
settings = config.load("dwh.cfg.example", environ={}, **given)
made = {}
for service in ("sts", "redshift", "ec2", "iam", "s3", "pricing"):
    made[service] = aws.client(settings, service)  # of our one region, and without a connection
aws.client = lambda settings, service, *_, **__: made[service]
while kind := os.read(0, 1):
    pid = os.fork()
    if not pid:
        os.read(0, 1)  # until the double knows whom to kill
        try:
            plan = {b"c": cluster.creation, b"r": cluster.removal}[kind](settings, len)
            plan.apply(True)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.write(1, b"%d\n" % pid)
    os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


class Worker:
    """A warm process that forks one child for each creation or removal."""

    def __init__(self, double: Aws, settings: dict):
        self.double = double
        given = [f"{key}={value}" for key, value in settings.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=ROOT,
            env=os.environ | double.environment,
        )

    def run(self, kind: bytes, kill_after: int = 0) -> int:
        """Return the exit code of a creation (c) or removal (r), killed after so many calls."""
        self.process.stdin.write(kind)
        self.double.victim = int(self.process.stdout.readline())
        self.double.kill_after = len(self.double.calls) + kill_after if kill_after else 0
        self.process.stdin.write(b"!")
        code = int(self.process.stdout.readline())
        self.double.kill_after = 0  # that process is no more
        return code

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def worker(double):
    worker = Worker(double, {"target": "redshift", "client_cidr": CIDR} | DATA)
    yield worker
    worker.stop()


def settle(double: Aws) -> dict:
    """Create what is somebody else's, and return all that is known of it."""
    for kind in NAMES:
        name = "payroll-bucket" if kind == "bucket" else "payroll"
        place(double, kind, name, FOREIGN["of another cluster"])
    for _ in range(4):
        double.client("redshift").describe_clusters(ClusterIdentifier="payroll")
    return double.inventory()


def walk(worker: Worker, kind: bytes, start: Callable[[], None]) -> Iterator[int]:
    """Again and again `start`, a run killed after one call, and a whole run: yield the number of
    that call, for each call that changes something.

    A kill after another call leaves what the kill before it left.
    """
    start()
    worker.double.changing_calls = []
    assert worker.run(kind) == 0
    for number in worker.double.changing_calls:
        start()
        assert worker.run(kind, kill_after=number) == -signal.SIGKILL
        assert worker.run(kind) == 0, f"killed after {number}"
        yield number


def test_creation_killed_after_any_call_converges_when_repeated(double, worker):
    ours, theirs, number = set(NAMES.items()), settle(double), 0
    for number in walk(worker, b"c", double.keep()):
        found = double.inventory()
        assert found.keys() == theirs.keys() | ours, f"killed after {number}"
        assert theirs.items() <= found.items(), f"killed after {number}"
        assert rules(double) == [("tcp", 5439, 5439, CIDR)]
        assert described(double)["ClusterStatus"] == "available"
    assert number > 40  # the last call that changes something
    assert set(actions(cluster.creation(made(), silent)).values()) == {"keep"}


def test_removal_killed_after_any_call_converges_when_repeated(double, worker):
    theirs, number = settle(double), 0
    assert worker.run(b"c") == 0
    double.client("s3").put_object(Bucket=BUCKET, Key="loads/manifest", Body=b"{}")
    for number in walk(worker, b"r", double.keep()):
        assert double.inventory() == theirs, f"killed after {number}"
    assert number > 30
    assert double.inventory() == theirs
