"""The policies in docs/iam: enough for the work, and for nothing more."""

from __future__ import annotations

import json

import pytest

from lib import ROOT
from lib.provision import cluster, resources
from tests.provision.test_cluster import (
    BUCKET,
    actions,
    created,
    double,
    made,
    place,
    removed,
    started,
)
from tests.standin import policy
from tests.standin.aws import ACCOUNT, BOUNDARY, is_write

__all__ = ["double", "started"]  # fixtures

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


def test_who_provisions_may_do_all_that_it_takes(double):
    double.holds = policy.statements("provision")
    created()
    created(made(log_data="s3://udacity-dend/other"))  # another place to read: another policy
    assert removed(made()).endswith("is left.")


def test_the_role_is_made_within_its_boundary_and_brought_back_into_it(double):
    settings = created()
    iam, about = double.client("iam"), {"RoleName": "sparkify-dwh-copy"}
    boundary = iam.get_role(**about)["Role"]["PermissionsBoundary"]
    assert boundary["PermissionsBoundaryArn"] == BOUNDARY
    iam.delete_role_permissions_boundary(**about)  # as an earlier version made it
    double.holds = policy.statements("provision")
    plan = cluster.creation(settings, len)
    assert actions(plan)["role"] == "update"
    plan.apply(True)
    assert "PermissionsBoundary" in iam.get_role(**about)["Role"]
    assert set(actions(cluster.creation(settings)).values()) == {"keep"}


def test_a_missing_boundary_is_said_with_who_makes_it_and_from_what(double):
    double.boundaries = set()
    words = (
        r"The policy sparkify-dwh-boundary, .* is not in account \d+; an administrator creates it "
        r"once from docs/iam/boundary.json .*docs/redshift.md.*\[IAM_ROLE\] ARN"
    )
    with pytest.raises(cluster.ClusterError, match=words):
        created()
    assert "iam:PutRolePolicy" not in double.calls
    assert "redshift:CreateCluster" not in double.calls


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


def test_the_boundary_is_named_in_the_accounts_own_partition(double):
    site = resources.Site(made(), len)
    assert resources.Role(site).boundary == BOUNDARY
    site.partition = "aws-cn"
    assert resources.Role(site).boundary == BOUNDARY.replace("arn:aws:", "arn:aws-cn:")


def test_with_a_role_made_elsewhere_no_right_over_roles_is_needed(double):
    def raw(name: str) -> dict[str, dict]:
        text = (ROOT / "docs" / "iam" / f"{name}.json").read_text()
        return {statement["Sid"]: statement for statement in json.loads(text)["Statement"]}

    whole, without = raw("provision"), raw("provision-without-role")
    assert list(without) == [sid for sid in whole if sid not in ROLE_STATEMENTS]
    theirs = whole["PassRole"] | {"Resource": "arn:aws:iam::ACCOUNT:role/ROLE"}
    assert without == {sid: whole[sid] for sid in without} | {"PassRole": theirs}

    place(double, "role", "theirs", [])
    double.calls.clear()
    double.holds = policy.statements("provision-without-role", ROLE="theirs")
    settings = created(made(arn=f"arn:aws:iam::{ACCOUNT}:role/theirs"))
    assert removed(settings).endswith("is left.")
    assert not [call for call in double.calls if call.startswith("iam:") and is_write(call)]
