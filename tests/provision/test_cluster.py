"""The cluster: what is planned, refused, created, brought up, shown and removed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from lib import aws
from lib.aws import access
from lib.aws.account import Account
from lib.provision import network, redshift
from tests.provision.helpers import (
    BUCKET,
    CIDR,
    OWN,
    actions,
    cluster_of,
    created,
    described,
    made,
    remove,
    rules,
    silent,
    tags_of,
)
from tests.standin.aws import ACCOUNT, Aws, is_write


def test_the_plan_names_account_price_reach_and_every_resource_and_changes_nothing(cloud):
    plan = redshift.plan_creation(made())
    text = str(plan)
    for part in (
        "target  redshift",
        f"account {ACCOUNT}, region us-west-2",
        "price   $0.54 an hour, $13.03 a day, and $0.024 a month for each GB stored",
        "verified by the price list API",
        "open    port 5439 to 203.0.113.7/32 only ([CLUSTER] CLIENT_CIDR), over TLS only",
        f"create  bucket           {BUCKET}  missing  by size",
        "create  cluster          sparkify-dwh                         missing  $0.54/h",
    ):
        assert part in text
    assert set(actions(plan).values()) == {"create"}
    assert max(map(len, text.splitlines())) <= 80
    unconfirmed = plan.apply()
    assert "Nothing was created" in unconfirmed
    assert "python -m lib.run --target redshift --yes" in unconfirmed
    assert not [call for call in cloud.calls if is_write(call)]


def test_creating_twice_writes_once(cloud):
    settings = made()
    done = redshift.plan_creation(settings, silent).apply(True)
    assert "answers at sparkify-dwh." in done
    assert "costs $0.54 an hour" in done
    before = len(cloud.calls)
    plan = redshift.plan_creation(settings, silent)
    assert set(actions(plan).values()) == {"keep"}
    assert plan.apply(True) == "Nothing to do."
    for part in redshift.list_parts(Account(settings, silent)):
        part.ensure()
    assert not [call for call in cloud.calls[before:] if is_write(call)]


def test_everything_is_made_as_safe_as_it_should_be(cloud):
    created()
    found = described(cloud)
    assert found["Encrypted"]
    assert found["PubliclyAccessible"]
    assert found["AutomatedSnapshotRetentionPeriod"] == 7
    assert found["AllowVersionUpgrade"]
    assert not found["EnhancedVpcRouting"]
    assert (found["DBName"], found["MasterUsername"]) == ("sparkify", "dwh_admin")
    assert found["MasterPasswordSecretArn"], "no password was sent: AWS keeps it"
    assert found["ClusterParameterGroups"][0]["ParameterGroupName"] == "sparkify-dwh"
    assert found["VpcId"]
    assert rules(cloud) == [("tcp", 5439, 5439, CIDR)]
    parameters = cloud.client("redshift").describe_cluster_parameters(
        ParameterGroupName="sparkify-dwh"
    )["Parameters"]
    assert {p["ParameterName"]: p["ParameterValue"] for p in parameters}["require_ssl"] == "true"
    s3 = cloud.client("s3")
    assert all(s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values())
    assert "aws:SecureTransport" in s3.get_bucket_policy(Bucket=BUCKET)["Policy"]
    lifecycle = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"][0]
    assert lifecycle["Expiration"] == {"Days": 1}
    assert lifecycle["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    assert len(tags_of(cloud)) == 6


def test_whatever_is_created_carries_its_tags_from_its_first_moment(cloud):
    settings = made()
    plan = redshift.plan_creation(settings, silent)
    for step in plan.steps:
        before = len(cloud.calls)
        step.apply()
        first = next(call for call in cloud.calls[before:] if is_write(call))
        assert first.split(":")[1].startswith("Create")
    assert "redshift:CreateTags" not in cloud.calls
    assert "s3:PutBucketTagging" not in cloud.calls


def test_the_bucket_is_where_the_data_is(cloud):
    settings = created(made(data__region="us-east-1"))
    assert access.get_bucket(settings)["Bucket"] == f"sparkify-dwh-{ACCOUNT}-us-east-1"
    assert "the bucket in us-east-1" in str(redshift.plan_creation(settings))


def test_the_port_is_open_to_the_vpc_alone_when_asked(cloud):
    settings = made(access="vpc")
    assert "(the VPC's own addresses)" in str(redshift.plan_creation(settings))
    created(settings)
    vpc = cloud.client("ec2").describe_vpcs()["Vpcs"][0]
    assert rules(cloud) == [("tcp", 5439, 5439, vpc["CidrBlock"])]
    assert not described(cloud)["PubliclyAccessible"]
    created(made())
    assert described(cloud)["PubliclyAccessible"], "a change of ACCESS is followed"


def test_the_own_address_is_looked_up_or_asked_for(cloud, monkeypatch):
    monkeypatch.setattr(network, "find_own_address", lambda: "198.51.100.9")
    plan = redshift.plan_creation(made(client_cidr=""))
    assert "198.51.100.9/32 only (your address now)" in str(plan)

    def unreachable(*_, **__):
        raise OSError("no route")

    monkeypatch.undo()
    monkeypatch.setattr(network.http.client, "HTTPSConnection", unreachable)
    with pytest.raises(aws.AwsError, match=r"no route.*set \[CLUSTER\] CLIENT_CIDR"):
        network.find_own_address()


def test_a_changed_address_replaces_the_old_one_and_whatever_was_added_by_hand(cloud):
    created()
    group = described(cloud)["VpcSecurityGroups"][0]["VpcSecurityGroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 5439, "ToPort": 5439}
    rule |= {"IpRanges": [{"CidrIp": "0.0.0.0/0"}], "Ipv6Ranges": [{"CidrIpv6": "::/0"}]}
    ec2 = cloud.client("ec2")
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    plan = redshift.plan_creation(made(client_cidr="198.51.100.9"), silent)
    assert actions(plan)["security group"] == "update"
    plan.apply(True)
    assert rules(cloud) == [("tcp", 5439, 5439, "198.51.100.9/32")]


def test_a_network_that_is_no_default_gets_a_subnet_group(cloud):
    ec2 = cloud.client("ec2", "eu-west-1")
    for vpc in ec2.describe_vpcs()["Vpcs"]:
        for subnet in ec2.describe_subnets()["Subnets"]:
            ec2.delete_subnet(SubnetId=subnet["SubnetId"])
        ec2.delete_vpc(VpcId=vpc["VpcId"])
    settings = made(aws__region="eu-west-1")
    with pytest.raises(aws.AwsError, match=r"no default VPC in eu-west-1; .*create one"):
        redshift.plan_creation(settings)
    own = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
    plan = redshift.plan_creation(settings, silent)
    assert actions(plan)["subnet group"] == "create"
    with pytest.raises(aws.AwsError, match=r"has no subnet; .*Done before that: "):
        plan.apply(True)
    for number, zone in enumerate("ab"):
        block = f"10.1.{number}.0/24"
        ec2.create_subnet(VpcId=own, CidrBlock=block, AvailabilityZone=f"eu-west-1{zone}")
    created(settings)
    assert described(cloud, "eu-west-1")["ClusterSubnetGroupName"] == "sparkify-dwh"
    assert described(cloud, "eu-west-1")["VpcId"] == own
    assert "is left" in remove(settings=settings)
    other = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    with pytest.raises(aws.AwsError, match=r"set \[CLUSTER\] VPC to one that is there"):
        redshift.plan_creation(settings)
    assert redshift.plan_creation(made(aws__region="eu-west-1", vpc=other))
    with pytest.raises(aws.AwsError, match=r"no VPC vpc-0.*one that is there: vpc-"):
        redshift.plan_creation(made(aws__region="eu-west-1", vpc="vpc-0"))


def test_audit_logs_and_several_nodes_are_there_when_asked_for(cloud):
    several = made(num_nodes=2, max_hourly_usd=2)
    assert "$1.09 an hour, $26.06 a day" in str(redshift.plan_creation(several))
    created(several)
    assert described(cloud)["NumberOfNodes"] == 2
    settings = made(audit_logs=True, num_nodes=2, max_hourly_usd=2)
    assert actions(redshift.plan_creation(settings))["cluster"] == "update"
    created(settings)
    status = cloud.client("redshift").describe_logging_status(ClusterIdentifier="sparkify-dwh")
    assert status["LoggingEnabled"]
    assert status["LogExports"] == ["connectionlog", "userlog", "useractivitylog"]
    assert set(actions(redshift.plan_creation(settings)).values()) == {"keep"}


def test_more_than_the_maximum_is_refused(cloud):
    with pytest.raises(aws.AwsError, match=r"\$0\.54 an hour.*MAX_HOURLY_USD is 0\.5;"):
        redshift.plan_creation(made(max_hourly_usd=0.5))
    created()
    redshift.plan_creation(made(max_hourly_usd=0.5))  # what is there already is only kept
    cloud.client("redshift").pause_cluster(ClusterIdentifier="sparkify-dwh")
    with pytest.raises(aws.AwsError, match="MAX_HOURLY_USD"):
        redshift.plan_creation(made(max_hourly_usd=0.5))


def test_a_price_that_can_not_be_asked_is_the_bundled_one_and_says_so(cloud):
    cloud.price = None
    text = str(redshift.plan_creation(made()))
    assert "$0.54 an hour" in text
    assert "bundled price of 2026-11-24 for us-east-1, unverified" in text
    assert "AccessDenied" in text
    with pytest.raises(aws.AwsError, match=r"price of ra3.4xlarge could not be asked"):
        redshift.plan_creation(made(node_type="ra3.4xlarge"))


def test_another_account_than_the_named_one_is_refused(cloud):
    with pytest.raises(aws.AwsError, match=f"of account {ACCOUNT}, and .* is 999999999999"):
        redshift.plan_creation(made(account="999999999999"))
    assert redshift.plan_creation(made(account=ACCOUNT))


def test_credentials_that_became_another_accounts_since_the_plan_change_nothing(cloud):
    settings = created()
    plans = [
        redshift.plan_creation(made(client_cidr="198.51.100.9"), silent),
        redshift.plan_removal(settings, silent),
    ]
    before = len(cloud.calls)
    cloud.account_from = (before, "999999999999")
    for plan in plans:
        with pytest.raises(aws.AwsError, match=r"now of account 999999999999.*nothing was changed"):
            plan.apply(True)
    assert cloud.calls[before:] == ["sts:GetCallerIdentity"] * 2


@pytest.mark.parametrize("state", ["paused", "pausing", "modifying"])
def test_a_cluster_that_is_busy_or_paused_is_brought_up(cloud, state):
    settings = created()
    cluster_of(cloud).status = state
    cloud.looks["sparkify-dwh"] = 2
    with pytest.raises(aws.AwsError, match=f"is {state}; run 01_provision"):
        access.find_endpoint(settings)
    cloud.looks["sparkify-dwh"] = 3
    plan = redshift.plan_creation(settings, silent)
    assert actions(plan)["cluster"] == "update"
    assert plan.apply(True).startswith("Done")
    assert described(cloud)["ClusterStatus"] == "available"


@pytest.mark.parametrize("state", ["incompatible-network", "storage-full"])
def test_a_state_without_recovery_fails_at_once_and_can_be_removed(cloud, state):
    settings = created()
    cluster_of(cloud).status = state
    with pytest.raises(aws.AwsError, match=f"in the state {state}.*--only 05 --teardown"):
        redshift.plan_creation(settings, silent).apply(True)
    cluster_of(cloud).status = "storage-full"
    assert "is left" in remove()


def test_waiting_shows_seconds_and_state_and_has_an_end(cloud, monkeypatch):
    said = []
    redshift.plan_creation(made(), said.append).apply(True)
    assert said == ["    0 s  sparkify-dwh is asked for", "    0 s  sparkify-dwh is creating"]
    cluster_of(cloud).status = "modifying"
    cloud.looks["sparkify-dwh"] = 10_000
    monkeypatch.setattr(aws, "PATIENCE", 0)
    with pytest.raises(aws.AwsError, match="Still sparkify-dwh is modifying after 0 minutes"):
        created()


def test_a_cluster_that_is_still_going_is_waited_for_and_made_anew(cloud):
    settings = created()
    old = described(cloud)["ClusterCreateTime"]
    cloud.client("redshift").delete_cluster(
        ClusterIdentifier="sparkify-dwh", SkipFinalClusterSnapshot=True
    )
    created(settings)
    assert described(cloud)["ClusterCreateTime"] > old


def test_a_load_finds_what_it_needs_and_a_temporary_password(cloud):
    asks = (access.find_endpoint, access.find_role_arn, access.get_bucket, access.get_credentials)
    for ask in asks:
        with pytest.raises(aws.AwsError, match="run 01_provision first"):
            ask(made())
    (host, port), arn, bucket, (user, password) = (ask(created()) for ask in asks)
    assert re.fullmatch(r"sparkify-dwh\.\w+\.us-west-2\.redshift\.amazonaws\.com", host)
    assert port == 5439
    assert arn.endswith(":role/sparkify-dwh/sparkify-dwh-copy")
    assert bucket == {"Bucket": BUCKET} | OWN
    assert user == "IAM:dwh_admin"
    assert cloud.authorise(user, "sparkify", password)
    assert str(password) not in repr((user, password))


def test_throttling_is_survived(cloud):
    for call in ("iam:GetRole", "redshift:CreateCluster", "ec2:DescribeVpcs"):
        cloud.throttled[call] = 1
    created()


def list_calls(cloud: Aws) -> list[str]:
    """Return the calls of a whole creation, from its plan on."""
    cloud.reset()
    created()
    return list(cloud.calls)


def test_a_call_that_was_carried_out_and_answered_with_a_fault_is_repeated(cloud):
    changes = ("Create", "Authorize", "Modify")
    calls = enumerate(list_calls(cloud), 1)
    for number in [n for n, call in calls if call.split(":")[1].startswith(changes)]:
        cloud.reset()
        cloud.fail_after = number
        created()
        assert len(tags_of(cloud)) == 6


def test_an_expired_token_asks_for_a_login_and_is_never_read_as_absence(cloud):
    settings = made()
    for number in range(1, len(list_calls(cloud)) + 1, 20):
        cloud.reset()
        cloud.expired_from = number
        with pytest.raises(aws.AwsError, match=r"session has expired.*log in again"):
            created(settings)
    cloud.expired_from = 0
    created(settings)
    asked = (redshift.describe_status, redshift.describe_running, redshift.plan_removal)
    for ask in (access.find_endpoint, access.get_credentials, *asked):
        cloud.expired_from = len(cloud.calls) + 2
        with pytest.raises(aws.AwsError, match="log in again"):
            ask(settings)
    cloud.expired_from = 0
    assert described(cloud)["ClusterStatus"] == "available"


def test_no_secret_is_in_any_text(cloud):
    settings = made(aws__key="AKIAIOSFODNN7EXAMPLE", aws__secret="wJalrXUtnFEMI/K7MDENG")
    plan = redshift.plan_creation(settings, silent)
    texts = [str(settings), repr(settings), str(plan), repr(plan), plan.apply(True)]
    texts += [redshift.describe_status(settings), redshift.describe_running(settings)]
    texts.append(repr(access.get_credentials(settings)))
    cloud.denied = {"redshift:GetClusterCredentials"}
    with pytest.raises(aws.AwsError) as failed:
        access.get_credentials(settings)
    texts += [str(failed.value), repr(failed.value)]
    for secret in [*cloud.secrets, settings.aws.secret]:
        assert not [text for text in texts if secret in text]


def test_status_says_what_exists_since_when_and_what_it_has_cost(cloud):
    settings = made()
    assert "nothing with the tag cluster=sparkify-dwh exists" in redshift.describe_status(settings)
    created(settings)
    cluster_of(cloud).create_time = datetime.now(UTC) - timedelta(hours=10)
    text = redshift.describe_status(settings)
    assert "cluster sparkify-dwh, 1 × ra3.large, available" in text
    assert "10.0 hours" in text
    assert "about $5.43 so far, an estimate" in text
    assert "expires 20" in text
    for other in ("parameter group sparkify-dwh", "role sparkify-dwh-copy", f"bucket {BUCKET}"):
        assert f"and     {other}" in text
    running = redshift.describe_running(settings)
    assert "costs $0.54/h until it is removed: python -m lib.run" in running


def test_everything_is_removed_and_verified_absent(cloud):
    settings = created()
    s3 = cloud.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    for number in range(3):
        s3.put_object(Bucket=BUCKET, Key=f"loads/{number}", Body=b"{}")
    s3.delete_object(Bucket=BUCKET, Key="loads/1")
    plan = redshift.plan_removal(settings, silent)
    assert "Nothing was removed" in plan.apply()
    assert access.REMOVE in plan.apply()
    assert described(cloud)["ClusterStatus"] == "available"
    assert plan.apply(True).endswith("Nothing with the tag cluster=sparkify-dwh is left.")
    assert tags_of(cloud) == {}
    assert cloud.client("redshift").describe_cluster_snapshots()["Snapshots"] == []
    assert remove() == "Nothing to do."


def test_a_final_snapshot_is_taken_when_asked_and_said_to_stay(cloud):
    settings = created(made(final_snapshot_days=3))
    plan = redshift.plan_removal(settings, silent)
    assert "a final snapshot is kept for 3 days" in str(plan)
    words = "is left, except for the snapshot sparkify-dwh/sparkify-dwh-final-"
    assert words in plan.apply(True)
    assert "and     snapshot sparkify-dwh/sparkify-dwh-final-" in redshift.describe_status(settings)
