"""The policies in docs/iam and of COPY's role: enough for the work, and for nothing more."""

from __future__ import annotations

import functools
import json

import pytest

from lib import ROOT, aws
from lib.aws import access
from lib.aws.account import Account
from lib.provision import redshift, resources
from tests.provision.helpers import BUCKET, actions, cluster_of, created, made, place, remove
from tests.standin import policy
from tests.standin.aws import ACCOUNT, BOUNDARY, is_write

COPY_ROLE = f"arn:aws:iam::{ACCOUNT}:role/sparkify-dwh/sparkify-dwh-copy"
THEIR_ROLE = f"arn:aws:iam::{ACCOUNT}:role/admin"
OURS = {"aws:ResourceTag/project": "sparkify-dwh", "aws:RequestTag/project": "sparkify-dwh"}
BOUND = OURS | {"iam:PermissionsBoundary": BOUNDARY}
OTHERWISE = OURS | {"iam:PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"}
ROLE_STATEMENTS = ["CreateRole", "TagRole", "BoundRole", "WriteRole", "ChangeRole"]


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("iam:CreateRole", COPY_ROLE, OURS),
        ("iam:CreateRole", COPY_ROLE, OTHERWISE),
        ("iam:CreateRole", THEIR_ROLE, BOUND),
        ("iam:PutRolePolicy", COPY_ROLE, OURS),
        ("iam:PutRolePolicy", COPY_ROLE, OTHERWISE),
        ("iam:PutRolePolicy", THEIR_ROLE, BOUND),
        ("iam:PutRolePermissionsBoundary", COPY_ROLE, OTHERWISE),
        ("iam:PutRolePermissionsBoundary", THEIR_ROLE, BOUND),
        ("iam:DeleteRolePermissionsBoundary", COPY_ROLE, BOUND),
        ("iam:AttachRolePolicy", COPY_ROLE, BOUND),
        ("iam:UpdateAssumeRolePolicy", THEIR_ROLE, BOUND),
        ("iam:CreatePolicyVersion", BOUNDARY, BOUND),
        ("iam:PassRole", THEIR_ROLE, {"iam:PassedToService": "redshift.amazonaws.com"}),
        ("iam:PassRole", COPY_ROLE, {"iam:PassedToService": "ec2.amazonaws.com"}),
        ("iam:CreateUser", f"arn:aws:iam::{ACCOUNT}:user/me", BOUND),
    ],
)
def test_who_provisions_can_not_become_the_administrator(action, resource, context):
    assert not policy.permits(policy.statements("provision"), action, resource, context)


@pytest.mark.parametrize("action", ["iam:CreateRole", "iam:PutRolePolicy"])
def test_who_provisions_may_write_the_role_within_its_boundary(action):
    assert policy.permits(policy.statements("provision"), action, COPY_ROLE, BOUND)


def test_the_role_is_made_within_its_boundary_and_brought_back_into_it(cloud):
    settings = created()
    iam, about = cloud.client("iam"), {"RoleName": "sparkify-dwh-copy"}
    boundary = iam.get_role(**about)["Role"]["PermissionsBoundary"]
    assert boundary["PermissionsBoundaryArn"] == BOUNDARY
    iam.delete_role_permissions_boundary(**about)  # as an earlier version made it
    cloud.holds = policy.statements("provision")
    plan = redshift.plan_creation(settings, len)
    assert actions(plan)["role"] == "update"
    plan.apply(True)
    assert "PermissionsBoundary" in iam.get_role(**about)["Role"]
    assert set(actions(redshift.plan_creation(settings)).values()) == {"keep"}


def test_a_missing_boundary_is_said_with_who_makes_it_and_from_what(cloud):
    cloud.boundaries = set()
    words = (
        r"The policy sparkify-dwh-boundary, .* is not in account \d+; an administrator creates it "
        r"once from docs/iam/boundary.json .*docs/redshift.md.*\[IAM_ROLE\] ARN"
    )
    with pytest.raises(aws.AwsError, match=words):
        created()
    assert "iam:PutRolePolicy" not in cloud.calls
    assert "redshift:CreateCluster" not in cloud.calls


def test_the_boundary_holds_all_that_the_role_reads_and_no_change():
    boundary = policy.statements("boundary", DATA_BUCKET="udacity-dend")
    for resource in (f"arn:aws:s3:::{BUCKET}", "arn:aws:s3:::udacity-dend"):
        assert policy.permits(boundary, "s3:GetObject", f"{resource}/any/file", {})
        assert policy.permits(boundary, "s3:ListBucket", resource, {})
        assert policy.permits(boundary, "s3:GetBucketLocation", resource, {})
    cluster_arn = f"arn:aws:redshift:us-west-2:{ACCOUNT}:cluster:sparkify-dwh"
    assert policy.permits(boundary, "redshift:PauseCluster", cluster_arn, {})
    assert not policy.permits(boundary, "s3:GetObject", "arn:aws:s3:::payroll/file", {})
    allowed = {action for one in boundary for action in policy.as_list(one["Action"])}
    reads = {"s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket"}
    assert allowed == reads | {"redshift:PauseCluster"}


def test_the_boundary_is_named_in_the_accounts_own_partition(cloud):
    site = Account(made(), len)
    assert resources.Role(site).boundary == BOUNDARY
    site.partition = "aws-cn"
    assert resources.Role(site).boundary == BOUNDARY.replace("arn:aws:", "arn:aws-cn:")


def test_with_a_role_made_elsewhere_no_right_over_roles_is_needed(cloud):
    def raw(name: str) -> dict[str, dict]:
        text = (ROOT / "docs" / "iam" / f"{name}.json").read_text()
        return {statement["Sid"]: statement for statement in json.loads(text)["Statement"]}

    whole, without = raw("provision"), raw("provision-without-role")
    assert list(without) == [sid for sid in whole if sid not in ROLE_STATEMENTS]
    theirs = whole["PassRole"] | {"Resource": "arn:aws:iam::ACCOUNT:role/ROLE"}
    assert without == {sid: whole[sid] for sid in without} | {"PassRole": theirs}

    place(cloud, "role", "theirs", [])
    cloud.calls.clear()
    cloud.holds = policy.statements("provision-without-role", ROLE="theirs")
    settings = created(made(arn=f"arn:aws:iam::{ACCOUNT}:role/theirs"))
    assert remove(settings=settings).endswith("is left.")
    assert not [call for call in cloud.calls if call.startswith("iam:") and is_write(call)]


def test_the_role_reads_what_is_configured_and_nothing_else(cloud):
    arn = access.find_role_arn(created())
    reads = functools.partial(cloud.readable, arn)
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
    iam, about = cloud.client("iam"), {"RoleName": "sparkify-dwh-copy"}
    own = iam.get_role_policy(**about, PolicyName="read")["PolicyDocument"]["Statement"]
    others = [(s["Action"], s["Resource"]) for s in own if not s["Action"].startswith("s3:")]
    cluster = f"arn:aws:redshift:us-west-2:{ACCOUNT}:cluster:sparkify-dwh"
    assert others == [("redshift:PauseCluster", cluster)]
    trust = iam.get_role(**about)["Role"]
    condition = trust["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringLike"]
    assert condition == {
        "sts:ExternalId": f"arn:aws:redshift:us-west-2:{ACCOUNT}:dbuser:sparkify-dwh/*"
    }


def test_local_data_lets_the_role_read_the_scratch_bucket_only(cloud, tmp_path):
    nowhere = {"log_data": str(tmp_path), "song_data": str(tmp_path), "log_jsonpath": ""}
    arn = access.find_role_arn(created(made(**nowhere)))
    assert cloud.readable(arn, BUCKET, "batch/events.json") == ""
    assert cloud.readable(arn, "udacity-dend", "log_data/a.json") != ""


def test_the_policy_of_provisioning_allows_every_call_that_it_makes(cloud):
    settings = made(audit_logs=True, access="vpc")
    cloud.holds = policy.statements("provision")
    created(made())
    created(made(client_cidr="198.51.100.9"))
    created(made(log_data="s3://udacity-dend/other"))  # another place to read: another policy
    created(settings)
    cluster_of(cloud).status = "paused"
    created(settings)
    redshift.describe_status(settings)
    assert "is left" in remove(settings=made(final_snapshot_days=1))


@pytest.mark.parametrize("name", ["provision", "load", "analyse"])
def test_no_policy_allows_more_than_it_names(name):
    for statement in policy.statements(name):
        for action in policy.as_list(statement["Action"]):
            reads = action.split(":")[1].startswith(("Describe", "Get", "List"))
            unscoped = action.endswith("ScheduledAction")  # AWS takes no resource for these
            assert "*" not in action
            assert reads or unscoped or statement["Resource"] != "*", action


@pytest.mark.parametrize(
    ("action", "named"),
    [("ec2:CreateSecurityGroup", "CreateSecurityGroup"), ("redshift:CreateCluster",) * 2],
)
def test_a_denied_action_names_itself_its_statement_and_what_was_done(cloud, action, named):
    cloud.denied = {action}
    named = named.removeprefix("redshift:")
    words = (
        rf"lacks the action {action} on .*; statement {named} of docs/iam/provision.json has it\. "
        rf"Done before that: create bucket {BUCKET}, create role .*\. Run again, .*may cost"
    )
    with pytest.raises(aws.AwsError, match=words):
        created()
