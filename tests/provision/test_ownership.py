"""Whose a resource is: what a run removes and keeps, and what stops a forgotten cluster.

Plans are made without a run, as a notebook in JupyterLab does, where only who asks differs; or with
one, as `python -m lib.run` does.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from lib import UserError, aws, config, provision
from lib.aws import access
from lib.aws.ownership import name_owner
from lib.provision import redshift
from lib.run import ending
from tests.provision.helpers import (
    BUCKET,
    DATA,
    NAMES,
    OTHERS,
    OWN,
    actions,
    cluster_of,
    create,
    created,
    described,
    expires,
    made,
    place,
    remove,
    scheduled,
    silent,
    tags_of,
)
from tests.standin.aws import ACCOUNT, Aws, is_write


@pytest.mark.parametrize("tags", [[], OTHERS], ids=["untagged", "of another cluster"])
@pytest.mark.parametrize("kind", NAMES)
def test_what_is_somebody_elses_is_neither_adopted_nor_changed_nor_deleted(cloud, kind, tags):
    settings = made()
    planned = redshift.plan_creation(settings, silent)
    place(cloud, kind, NAMES[kind], tags)
    before = len(cloud.calls)
    key = "IAM_ROLE" if kind == "role" else "CLUSTER"
    words = rf"The {kind} {NAMES[kind]} in account {ACCOUNT} belongs to somebody else.*\[{key}\]"
    with pytest.raises(aws.AwsError, match=words):
        redshift.plan_creation(settings)
    plan = redshift.plan_removal(settings)
    assert actions(plan)[kind] == "keep"
    assert plan.apply(True) == "Nothing to do."
    assert not [call for call in cloud.calls[before:] if is_write(call)]
    with pytest.raises(aws.AwsError, match=words):  # it came after the plan was made
        planned.apply(True)
    if kind == "cluster":
        with pytest.raises(aws.AwsError, match="belongs to somebody else"):
            access.find_endpoint(settings)
    assert redshift.describe_running(settings) == ""
    assert remove().startswith(("Done", "Nothing to do"))
    assert actions(redshift.plan_removal(settings))[kind] == "keep", "it is still there"


@pytest.mark.parametrize("host", ["", "dwh.example.com"])
def test_a_bucket_of_that_name_in_another_account_is_refused(cloud, host):
    place(cloud, "bucket", BUCKET, [])
    cloud.owners[BUCKET] = "999999999999"
    settings = made(host=host, arn=f"arn:aws:iam::{ACCOUNT}:role/theirs")
    words = f"denies account {ACCOUNT} the bucket {BUCKET} .*belongs to another account"
    with pytest.raises(aws.AwsError, match=words):
        access.get_bucket(settings)
    if not host:
        for plan in (redshift.plan_creation, redshift.plan_removal):
            with pytest.raises(aws.AwsError, match=words):
                plan(settings)


def test_every_call_on_the_own_bucket_says_whose_it_must_be(cloud):
    settings = created()
    cloud.client("s3").put_object(Bucket=BUCKET, Key="loads/1", Body=b"", **OWN)
    access.get_bucket(settings)
    redshift.describe_status(settings)
    remove()
    assert {call for call, bucket in cloud.unguarded if bucket == BUCKET} == {"s3:CreateBucket"}


def test_a_cluster_made_elsewhere_is_kept_and_nothing_is_created(cloud):
    settings = made(host="dwh.example.com", arn="arn:aws:iam::1:role/theirs", db__user="awsuser")
    for plan in (redshift.plan_creation(settings), redshift.plan_removal(settings)):
        assert actions(plan) == {"cluster": "keep", "role": "keep"}
        assert "dwh.example.com" in str(plan)
        assert plan.apply(True) == "Nothing to do."
    assert access.find_endpoint(settings) == ("dwh.example.com", 5439)
    assert access.find_role_arn(settings) == "arn:aws:iam::1:role/theirs"
    assert redshift.describe_running(settings) == ""
    assert "made elsewhere" in redshift.describe_status(settings)
    assert not [call for call in cloud.calls if is_write(call)]


def test_a_role_made_elsewhere_is_used_as_it_is_and_the_plan_says_that_nothing_pauses(cloud):
    settings = made(arn="arn:aws:iam::999999999999:role/theirs")
    plan = redshift.plan_creation(settings, silent)
    assert actions(plan)["role"] == "keep"
    said = "expires 24 hours after you confirm: nothing stops it by itself ([IAM_ROLE] ARN)"
    assert said in str(plan).splitlines()
    plan.apply(True)
    assert described(cloud)["IamRoles"][0]["IamRoleArn"].endswith("role/theirs")
    assert scheduled(cloud) == {}
    assert "UTC: nothing stops it by itself" in redshift.describe_status(settings)
    remove(settings=settings)
    assert not [call for call in cloud.calls if call.startswith("iam:") and is_write(call)]


def test_what_somebody_else_created_is_kept_named_and_removed_only_on_demand(cloud):
    cloud.caller = "user/ann"
    settings = created()
    owners = {(tags["owner"], tags["run"]) for tags in tags_of(cloud).values()}
    assert owners == {("user/ann", "interactive")}
    cloud.caller = "user/bob"
    before = len(cloud.calls)
    plan = redshift.plan_removal(settings, silent)
    assert set(actions(plan).values()) - {"none"} == {"keep"}
    said = plan.apply(True)
    assert not [call for call in cloud.calls[before:] if is_write(call)]
    assert "of run interactive by user/ann" in str(plan)
    assert said.startswith("Nothing to do.\nKept: cluster sparkify-dwh, schedule sparkify-dwh, ")
    assert f"role sparkify-dwh-copy, bucket {BUCKET} (of run interactive by user/ann)." in said
    assert "set teardown = True above" in said
    assert said.endswith("python -m lib.run --target redshift --only 05 --teardown")
    assert "Nothing with the tag cluster=sparkify-dwh is left." in remove("", everything=True)
    assert tags_of(cloud) == {}


def test_a_run_removes_its_own_and_leaves_what_another_one_had_left(cloud):
    cloud.denied = {"ec2:CreateSecurityGroup"}
    with pytest.raises(aws.AwsError, match="CreateSecurityGroup"):
        create("monday")
    cloud.denied = set()
    create("tuesday")
    said = remove("tuesday")
    assert tags_of(cloud).keys() == {"role sparkify-dwh-copy", f"bucket {BUCKET}"}
    assert "Nothing of this run is left.\nKept: role sparkify-dwh-copy, bucket " in said
    assert "(of run monday by user/analyst)" in said
    remove("wednesday", everything=True)
    assert tags_of(cloud) == {}


def test_what_a_cluster_uses_that_stays_is_not_taken_from_it(cloud):
    create("monday")
    cloud.client("s3").delete_bucket(Bucket=BUCKET)
    create("tuesday")
    plan = redshift.plan_removal(made(), silent, "tuesday")
    assert "of this run, in use" in str(plan)
    assert "(of this run, in use)" in plan.apply(True)
    assert f"bucket {BUCKET}" in tags_of(cloud)


def test_what_replaced_it_since_the_plan_is_not_removed(cloud):
    create("monday")
    plan = redshift.plan_removal(made(), silent, "monday")
    remove("monday")
    cloud.caller = "user/bob"
    create("monday")
    said = plan.apply(True)
    assert described(cloud)["ClusterStatus"] == "available"
    assert "(of run monday by user/bob)" in said


@pytest.mark.parametrize(
    ("arn", "owner"),
    [
        (f"arn:aws:iam::{ACCOUNT}:user/analyst", "user/analyst"),
        (f"arn:aws:iam::{ACCOUNT}:user/a/b/x,y=z@c", "user/a/b/x_y=z@c"),
        (f"arn:aws:iam::{ACCOUNT}:root", "root"),
        (f"arn:aws:iam::{ACCOUNT}:user/1764000000", "user/1764000000"),
        (f"arn:aws:sts::{ACCOUNT}:assumed-role/Ops/ann@b.org", "assumed-role/Ops/ann@b.org"),
        (
            f"arn:aws:sts::{ACCOUNT}:assumed-role/Ops/botocore-session-1764000000",
            "assumed-role/Ops",
        ),
        (f"arn:aws:iam::{ACCOUNT}:user/{'p' * 500}/ann", "p" * 252 + "/ann"),
    ],
)
def test_an_owner_is_a_short_name_that_a_tag_can_hold(arn, owner):
    assert name_owner(arn) == owner
    assert re.fullmatch(r"[\w+=.:/@-]{1,256}", owner)


def test_the_end_of_a_run_is_told_before_it_begins(cloud):
    def told(run: str, keep: bool = False, everything: bool = False) -> str:
        return provision.describe_end(made(), run, keep, everything)

    fresh = told("tuesday")
    assert fresh.startswith("At the end this run removes cluster sparkify-dwh, schedule ")
    assert fresh.endswith(f"bucket {BUCKET} (of this run).")
    create("monday")
    others = told("tuesday")
    assert others.startswith("At the end nothing is removed. It keeps cluster ")
    assert f"bucket {BUCKET} (of run monday by user/analyst); --teardown removes" in others
    assert f"bucket {BUCKET} (of this run)." in told("monday")
    assert told("tuesday", keep=True).startswith("At the end nothing is removed. This removes")
    everything = told("tuesday", keep=True, everything=True)
    assert everything.startswith("At the end this run removes cluster sparkify-dwh")
    assert everything.endswith(f"bucket {BUCKET} (of run monday by user/analyst).")
    assert provision.describe_end(made(target="local"), "tuesday", False, False) == ""


def test_a_forgotten_cluster_is_paused_by_aws_when_it_expires(cloud):
    settings = created()
    written = [call for call in cloud.calls if is_write(call)]
    first = written.index("redshift:CreateScheduledAction")
    assert first < written.index("redshift:CreateCluster"), "there is never one without the other"
    text = str(redshift.plan_creation(settings, silent))
    assert f"{expires(cloud):%Y-%m-%d %H:%M} UTC: AWS pauses it then, and only storage c" in text
    assert abs(expires(cloud) - datetime.now(UTC) - timedelta(hours=24)) < timedelta(minutes=2)
    cloud.pass_time(expires(cloud) - timedelta(minutes=1))
    assert described(cloud)["ClusterStatus"] == "available"
    cloud.pass_time(expires(cloud))
    assert described(cloud)["ClusterStatus"] == "paused"
    assert "costs $0.024/GB-month until it is removed" in redshift.describe_running(settings)
    assert remove("").startswith("Done: delete cluster sparkify-dwh, delete schedule")
    assert scheduled(cloud) == {}


def let_expire(cloud: Aws) -> None:
    cluster_of(cloud).create_tags([{"Key": "expires", "Value": "2026-01-01T00:00Z"}])


def test_that_it_has_expired_is_said_to_all_who_use_it(cloud, capsys):
    settings, expired = created(), "expired at 2026-01-01 00:00 UTC"
    access.find_endpoint(settings)
    assert capsys.readouterr().out == ""
    let_expire(cloud)
    access.find_endpoint(settings)
    words = f"The cluster sparkify-dwh has {expired}; remove it: python -m"
    assert capsys.readouterr().out.startswith(words)
    assert f"in us-west-2, {expired} and costs" in redshift.describe_running(settings)
    assert "expired 2026-01-01 00:00 UTC; remove it: " in redshift.describe_status(settings)
    cluster_of(cloud).status = "paused"
    words = f"is paused, {expired}; run 01_provision.*or remove it: python"
    with pytest.raises(aws.AwsError, match=words):
        access.find_endpoint(settings)
    with pytest.raises(UserError, match=f"(?s)target +redshift.*, paused.*{words}"):
        provision.describe_status(settings)


def test_bringing_up_an_expired_cluster_gives_it_a_new_expiry_and_leaves_it_whose_it_was(cloud):
    create("monday")
    let_expire(cloud)
    cluster_of(cloud).status = "paused"
    plan = redshift.plan_creation(made(), silent, "tuesday")
    assert "expires 24 hours after you confirm" in str(plan)
    assert actions(plan)["schedule"] == "update"
    plan.apply(True)
    assert described(cloud)["ClusterStatus"] == "available"
    assert expires(cloud) > datetime.now(UTC) + timedelta(hours=23)
    assert scheduled(cloud)["Schedule"] == f"at({expires(cloud):%Y-%m-%dT%H:%M}:00)"
    assert tags_of(cloud)["cluster sparkify-dwh"]["run"] == "monday"
    assert set(actions(redshift.plan_creation(made(), silent)).values()) == {"keep"}


@pytest.mark.parametrize("value", ["2099-12-24", "2099-12-24T01:00+01:00", "never"])
def test_an_expiry_that_a_person_wrote_into_the_tag_is_followed_if_it_is_one(cloud, value):
    settings = created()
    cluster_of(cloud).create_tags([{"Key": "expires", "Value": value}])
    assert "expires " in redshift.describe_status(settings)
    created(settings)
    scheduled_at = scheduled(cloud)["Schedule"]
    if value == "never":
        assert expires(cloud) > datetime.now(UTC)
    else:
        assert scheduled_at == "at(2099-12-24T00:00:00)"


def test_what_pauses_it_is_set_right_when_it_was_changed_by_hand(cloud):
    settings, api = created(), cloud.client("redshift")
    api.modify_scheduled_action(ScheduledActionName="sparkify-dwh", Enable=False)
    assert "update  schedule         sparkify-dwh" in str(redshift.plan_creation(settings, silent))
    created()
    assert scheduled(cloud)["State"] == "ACTIVE"
    api.delete_scheduled_action(ScheduledActionName="sparkify-dwh")
    assert "nothing stops it by itself" in redshift.describe_status(settings)
    created(made(iam_role__name="another"))
    assert scheduled(cloud)["IamRole"].endswith("/another")
    assert "AWS pauses it then" in redshift.describe_status(settings)


def test_what_is_of_the_same_name_in_another_region_is_left_to_its_cluster(cloud):
    create("monday")
    there = {"aws__region": "ap-southeast-2"}
    for other, words in (
        ({"data__region": "ap-southeast-2"}, "The role .* belongs to.*region=ap-southeast-2"),
        ({"iam_role__name": "another"}, "The bucket .* belongs to somebody else"),
    ):
        with pytest.raises(aws.AwsError, match=words):
            redshift.plan_creation(made(**there, **other), silent, "tuesday")
    plan = redshift.plan_removal(made(**there), silent, "tuesday", everything=True)
    assert set(actions(plan).values()) == {"none", "keep"}
    assert "(of run monday by user/analyst in [AWS] REGION us-west-2)" in plan.apply(True)
    cloud.pass_time(expires(cloud))
    assert described(cloud)["ClusterStatus"] == "paused", "its role is as it was"


def test_what_others_have_put_into_the_bucket_is_not_deleted(cloud):
    create("monday")
    s3 = cloud.client("s3")
    for key in ("loads/1/manifest", "thesis/events.json"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert rule["Filter"] == {"Prefix": "loads/"}, "and does not expire"
    words = f"The bucket {BUCKET} stays: it holds thesis/events.json, which this project did not"
    with pytest.raises(aws.AwsError, match=f"{words}.*Done before that: delete cluster"):
        remove("monday")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [
        "thesis/events.json"
    ]
    s3.delete_object(Bucket=BUCKET, Key="thesis/events.json")
    remove("monday")
    assert tags_of(cloud) == {}


def test_a_cluster_that_lost_its_tags_is_said_to_cost_and_keeps_what_pauses_it(cloud):
    create("monday")
    tags = cluster_of(cloud).tags
    cluster_of(cloud).tags = []
    words = r"The cluster sparkify-dwh .* lacks the tags project=sparkify-dwh.* costs \$0\.54/h"
    with pytest.raises(aws.AwsError, match=words):
        remove("monday", everything=True)
    assert re.search(words, redshift.describe_running(made()))
    assert re.search(words, redshift.describe_status(made()))
    cloud.pass_time(datetime.now(UTC) + timedelta(hours=25))
    assert described(cloud)["ClusterStatus"] == "paused"
    cluster_of(cloud).tags = [tag for tag in tags if tag["Key"] not in ("owner", "run")]
    assert "(of run unknown by unknown)" in redshift.describe_running(made())
    assert "Nothing to do" in remove("monday"), "it counts as somebody else's"
    assert "Nothing with the tag cluster=sparkify-dwh is left." in remove("", everything=True)


def test_what_another_run_removes_while_this_one_creates_is_made_again(cloud):
    create("monday")
    theirs = {
        step.resource: step for step in redshift.plan_removal(made(), silent, "monday").pending
    }
    theirs["cluster"].apply()

    def go_on(line: str) -> None:
        if "creating" in line:
            for name in ("schedule", "role", "bucket"):
                theirs[name].apply()

    redshift.plan_creation(made(), go_on, "tuesday").apply(True)
    assert scheduled(cloud)["Schedule"] == f"at({expires(cloud):%Y-%m-%dT%H:%M}:00)"
    assert {"role sparkify-dwh-copy", f"bucket {BUCKET}"} < tags_of(cloud).keys()


def test_the_command_that_removes_it_names_the_configuration_file(cloud, tmp_path):
    """Without it, it would remove another cluster: the one of dwh.cfg."""
    own = tmp_path / "a team.cfg"
    own.write_text("[CLUSTER]\nCLIENT_CIDR = 203.0.113.7/32\n")
    settings = config.read_settings(own, environ={}, target="redshift", **DATA)
    done, command = create("monday", settings), f"--only 05 --teardown --config '{own}'"
    running = redshift.describe_running(settings)
    for said in (done, running, ending.describe_possible(settings, "")):
        assert said.endswith(command)
    let_expire(cloud)
    assert command in redshift.describe_status(settings)
    cluster_of(cloud).status = "paused"
    with pytest.raises(aws.AwsError, match=r"--teardown --config '"):
        access.find_endpoint(settings)
