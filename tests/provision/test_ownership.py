"""Whose a thing in AWS is: what a run removes and keeps, and what stops a forgotten cluster.

`creation` and `removal` are called without a run, as a notebook in JupyterLab does, where only who
asks differs; with one, as `python -m lib.run` does.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from lib import aws, config, provision
from lib.provision import cluster, resources
from lib.run import ending
from tests.provision import test_cluster
from tests.provision.test_cluster import (
    BUCKET,
    actions,
    created,
    described,
    made,
    redshift_of,
    silent,
)
from tests.standin.aws import ACCOUNT, Aws, is_write

double, started = test_cluster.double, test_cluster.started
OLD = [{"Key": "project", "Value": "sparkify-dwh"}, {"Key": "cluster", "Value": "sparkify-dwh"}]


def create(run: str) -> None:
    cluster.creation(made(), silent, run).apply(True)


def remove(run: str, everything: bool = False) -> str:
    return cluster.removal(made(), silent, run, everything).apply(True)


def tags_of(double: Aws) -> dict[str, dict]:
    """Return the tags of all that is there, by its name."""
    found = cluster.tagged(resources.Site(made(), silent))
    return {name: resources.by_key(tags) for name, tags in found.items()}


def scheduled(double: Aws) -> dict:
    found = double.client("redshift").describe_scheduled_actions()["ScheduledActions"]
    return found[0] if found else {}


def expires(double: Aws) -> datetime:
    return resources.expiry_of(described(double)["Tags"])


# What is removed


def test_what_somebody_else_created_is_kept_named_and_removed_only_on_demand(double):
    double.caller = "user/ann"
    settings = created()
    double.caller = "user/bob"
    before = len(double.calls)
    plan = cluster.removal(settings, silent)
    assert set(actions(plan).values()) - {"none"} == {"keep"}
    said = plan.apply(True)
    assert described(double)["ClusterStatus"] == "available"
    assert not [call for call in double.calls[before:] if is_write(call)]
    assert "of run interactive by user/ann" in str(plan)
    assert said.startswith("Nothing to do.\nKept: cluster sparkify-dwh, schedule sparkify-dwh, ")
    assert f"role sparkify-dwh-copy, bucket {BUCKET} (of run interactive by user/ann)." in said
    assert "set teardown = True above" in said
    assert said.endswith("python -m lib.run --target redshift --only 05 --teardown")
    assert "Nothing with the tag cluster=sparkify-dwh is left." in remove("", everything=True)
    assert tags_of(double) == {}


def test_a_run_uses_what_another_run_created_and_does_not_remove_it(double):
    create("monday")
    plan = cluster.creation(made(), silent, "tuesday")
    assert set(actions(plan).values()) == {"keep"}
    assert "of run monday by user/analyst" in str(plan)
    assert remove("tuesday").startswith("Nothing to do.\nKept: cluster sparkify-dwh, ")
    assert described(double)["ClusterStatus"] == "available"
    assert remove("monday").startswith("Done: delete cluster sparkify-dwh, ")
    assert tags_of(double) == {}


def test_everything_that_is_created_says_who_created_it_in_which_run(double):
    double.caller = "assumed-role/Admin/ann@example.com"
    create("20261124T101500Z-redshift")
    found = tags_of(double)
    assert len(found) == 6
    for tags in found.values():
        assert tags["owner"] == "assumed-role/Admin/ann@example.com"
        assert tags["run"] == "20261124T101500Z-redshift"


def test_a_run_removes_its_own_and_leaves_what_another_one_had_left(double):
    double.denied = {"ec2:CreateSecurityGroup"}
    with pytest.raises(aws.AwsError, match="CreateSecurityGroup"):
        create("monday")
    double.denied = set()
    create("tuesday")
    said = remove("tuesday")
    assert tags_of(double).keys() == {"role sparkify-dwh-copy", f"bucket {BUCKET}"}
    assert "Nothing of this run is left.\nKept: role sparkify-dwh-copy, bucket " in said
    assert "(of run monday by user/analyst)" in said
    remove("wednesday", everything=True)
    assert tags_of(double) == {}


def test_what_a_cluster_uses_that_stays_is_not_taken_from_it(double):
    create("monday")
    double.client("s3").delete_bucket(Bucket=BUCKET)
    create("tuesday")
    plan = cluster.removal(made(), silent, "tuesday")
    assert "of this run, in use" in str(plan)
    assert "(of this run, in use)" in plan.apply(True)
    assert f"bucket {BUCKET}" in tags_of(double)


def test_what_was_created_before_there_were_owners_counts_as_anothers(double):
    test_cluster.place(double, "cluster", "sparkify-dwh", OLD)
    assert "(of run unknown by unknown)" in remove("")
    assert described(double)
    assert "(of run unknown by unknown)" in cluster.running(made())


def test_what_replaced_it_since_the_plan_is_not_removed(double):
    create("monday")
    plan = cluster.removal(made(), silent, "monday")
    remove("monday")
    double.caller = "user/bob"
    create("monday")
    said = plan.apply(True)
    assert described(double)["ClusterStatus"] == "available"
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
    assert resources.name_owner(arn) == owner
    assert re.fullmatch(r"[\w+=.:/@-]{1,256}", owner)


def test_a_session_that_each_process_names_anew_is_still_the_same_owner(double):
    double.caller = "assumed-role/Ops/botocore-session-1764000000"
    create("monday")
    double.caller = "assumed-role/Ops/botocore-session-1764000042"
    assert remove("monday").startswith("Done: delete cluster")


def test_the_end_of_a_run_is_told_before_it_begins(double):
    def told(run: str, keep: bool = False, everything: bool = False) -> str:
        return provision.describe_end(made(), run, keep, everything)

    fresh = told("tuesday")
    assert fresh.startswith(f"At the end this run removes bucket {BUCKET}, role ")
    assert fresh.endswith("cluster sparkify-dwh (of this run).")
    create("monday")
    others = told("tuesday")
    assert others.startswith("At the end nothing is removed. It keeps bucket ")
    assert "cluster sparkify-dwh (of run monday by user/analyst); --teardown removes" in others
    assert "cluster sparkify-dwh (of this run)." in told("monday")
    assert told("tuesday", keep=True).startswith("At the end nothing is removed. This removes")
    everything = told("tuesday", keep=True, everything=True)
    assert everything.startswith("At the end this run removes bucket")
    assert everything.endswith("cluster sparkify-dwh (of run monday by user/analyst).")
    assert provision.describe_end(made(target="local"), "tuesday", False, False) == ""


# What stops a cluster that is forgotten


def test_a_forgotten_cluster_is_paused_by_aws_when_it_expires(double):
    settings = created()
    text = str(cluster.creation(settings, silent))
    assert f"{expires(double):%Y-%m-%d %H:%M} UTC: AWS pauses it then, and only storage c" in text
    assert abs(expires(double) - datetime.now(UTC) - timedelta(hours=24)) < timedelta(minutes=2)
    double.pass_time(expires(double) - timedelta(minutes=1))
    assert described(double)["ClusterStatus"] == "available"
    double.pass_time(expires(double))
    assert described(double)["ClusterStatus"] == "paused"
    assert "costs $0.024/GB-month until it is removed" in cluster.running(settings)
    assert remove("").startswith("Done: delete cluster sparkify-dwh, delete schedule")
    assert scheduled(double) == {}


def test_there_is_never_a_cluster_without_what_pauses_it(double):
    created()
    written = [call for call in double.calls if is_write(call)]
    first = written.index("redshift:CreateScheduledAction")
    assert first < written.index("redshift:CreateCluster")


def test_what_pauses_it_may_do_nothing_else_and_to_no_other_cluster(double):
    created()
    role = double.client("iam").get_role_policy(RoleName="sparkify-dwh-copy", PolicyName="read")
    of_redshift = [
        (statement["Action"], statement["Resource"])
        for statement in role["PolicyDocument"]["Statement"]
        if not statement["Action"].startswith("s3:")
    ]
    arn = f"arn:aws:redshift:us-west-2:{ACCOUNT}:cluster:sparkify-dwh"
    assert of_redshift == [("redshift:PauseCluster", arn)]


def test_with_a_role_made_elsewhere_the_plan_says_that_nothing_stops_it(double):
    settings = made(arn="arn:aws:iam::999999999999:role/theirs")
    plan = cluster.creation(settings, silent)
    said = "expires 24 hours after you confirm: nothing stops it by itself ([IAM_ROLE] ARN)"
    assert said in str(plan).splitlines()
    plan.apply(True)
    assert scheduled(double) == {}
    assert "UTC: nothing stops it by itself" in cluster.status(settings)


def let_expire(double: Aws) -> None:
    redshift_of(double).create_tags([{"Key": "expires", "Value": "2026-01-01T00:00Z"}])


def test_that_it_has_expired_is_said_to_all_who_use_it(double, capsys):
    settings = created()
    cluster.endpoint(settings)
    assert capsys.readouterr().out == ""
    let_expire(double)
    cluster.endpoint(settings)
    words = "The cluster sparkify-dwh has expired at 2026-01-01 00:00 UTC; remove it: python -m"
    assert capsys.readouterr().out.startswith(words)
    assert "in us-west-2, expired at 2026-01-01 00:00 UTC and costs" in cluster.running(settings)
    assert "expired 2026-01-01 00:00 UTC; remove it: python -m" in cluster.status(settings)
    redshift_of(double).status = "paused"
    words = r"is paused, expired at 2026-01-01 00:00 UTC; run 01_provision.*or remove it: python"
    with pytest.raises(cluster.ClusterError, match=words):
        cluster.endpoint(settings)


def test_bringing_up_an_expired_cluster_gives_it_a_new_expiry_and_leaves_it_whose_it_was(double):
    create("monday")
    let_expire(double)
    redshift_of(double).status = "paused"
    plan = cluster.creation(made(), silent, "tuesday")
    assert "expires 24 hours after you confirm" in str(plan)
    assert actions(plan)["schedule"] == "update"
    plan.apply(True)
    assert described(double)["ClusterStatus"] == "available"
    assert expires(double) > datetime.now(UTC) + timedelta(hours=23)
    assert scheduled(double)["Schedule"] == f"at({expires(double):%Y-%m-%dT%H:%M}:00)"
    assert tags_of(double)["cluster sparkify-dwh"]["run"] == "monday"
    assert set(actions(cluster.creation(made(), silent)).values()) == {"keep"}


@pytest.mark.parametrize("value", ["2099-12-24", "2099-12-24T00:00", "2099-12-24T01:00+01:00"])
def test_an_expiry_that_a_person_wrote_into_the_tag_is_followed(double, value):
    created()
    redshift_of(double).create_tags([{"Key": "expires", "Value": value}])
    created()
    assert scheduled(double)["Schedule"] == "at(2099-12-24T00:00:00)"


def test_what_pauses_it_is_set_right_when_it_was_changed_by_hand(double):
    settings, redshift = created(), double.client("redshift")
    redshift.modify_scheduled_action(ScheduledActionName="sparkify-dwh", Enable=False)
    assert "update  schedule        sparkify-dwh" in str(cluster.creation(settings, silent))
    created()
    assert scheduled(double)["State"] == "ACTIVE"
    redshift.delete_scheduled_action(ScheduledActionName="sparkify-dwh")
    assert "nothing stops it by itself" in cluster.status(settings)
    created(made(iam_role__name="another"))
    assert scheduled(double)["IamRole"].endswith("/another")
    assert "AWS pauses it then" in cluster.status(settings)


def test_a_tag_that_says_no_time_is_no_traceback(double):
    settings = created()
    redshift_of(double).create_tags([{"Key": "expires", "Value": "never"}])
    assert "expires never" in cluster.status(settings)
    assert actions(cluster.creation(settings, silent))["schedule"] == "update"
    created(settings)
    assert expires(double) > datetime.now(UTC)


# At the seams: another region, another hand, another run at the same time


def elsewhere(**overrides):
    return made(aws__region="ap-southeast-2", **overrides)


def test_what_is_of_the_same_name_in_another_region_is_left_to_its_cluster(double):
    create("monday")
    words = (
        "The role sparkify-dwh-copy in account .* belongs to somebody else.*region=ap-southeast-2"
    )
    with pytest.raises(cluster.ClusterError, match=words):
        cluster.creation(elsewhere(data__region="ap-southeast-2"), silent, "tuesday")
    with pytest.raises(cluster.ClusterError, match=r"The bucket .* belongs to somebody else"):
        cluster.creation(elsewhere(iam_role__name="another"), silent, "tuesday")
    plan = cluster.removal(elsewhere(), silent, "tuesday", everything=True)
    said = plan.apply(True)
    assert set(actions(plan).values()) == {"none", "keep"}
    assert "(of run monday by user/analyst in [AWS] REGION us-west-2)" in said
    double.pass_time(expires(double))
    assert described(double)["ClusterStatus"] == "paused", "its role is as it was"


def test_what_others_have_put_into_the_bucket_is_not_deleted(double):
    create("monday")
    s3 = double.client("s3")
    for key in ("loads/1/manifest", "thesis/events.json"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert rule["Filter"] == {"Prefix": "loads/"}, "and does not expire"
    words = f"The bucket {BUCKET} stays: it holds thesis/events.json, which this project did not"
    with pytest.raises(cluster.ClusterError, match=f"{words}.*Done before that: delete cluster"):
        remove("monday")
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [
        "thesis/events.json"
    ]
    s3.delete_object(Bucket=BUCKET, Key="thesis/events.json")
    remove("monday")
    assert tags_of(double) == {}


def test_a_cluster_that_lost_its_tags_is_said_to_cost_and_keeps_what_pauses_it(double):
    create("monday")
    redshift_of(double).tags = []
    words = r"The cluster sparkify-dwh .* lacks the tags project=sparkify-dwh.* costs \$0\.54/h"
    with pytest.raises(cluster.ClusterError, match=words):
        remove("monday", everything=True)
    assert re.search(words, cluster.running(made()))
    assert re.search(words, cluster.status(made()))
    double.pass_time(datetime.now(UTC) + timedelta(hours=25))
    assert described(double)["ClusterStatus"] == "paused"
    redshift_of(double).create_tags(OLD)
    assert "Nothing with the tag cluster=sparkify-dwh is left." in remove("", everything=True)


def test_what_another_run_removes_while_this_one_creates_is_made_again(double):
    create("monday")
    theirs = {step.resource: step for step in cluster.removal(made(), silent, "monday").pending}
    theirs["cluster"].apply()

    def go_on(line: str) -> None:
        if "creating" in line:
            for name in ("schedule", "role", "bucket"):
                theirs[name].apply()

    cluster.creation(made(), go_on, "tuesday").apply(True)
    assert scheduled(double)["Schedule"] == f"at({expires(double):%Y-%m-%dT%H:%M}:00)"
    assert {"role sparkify-dwh-copy", f"bucket {BUCKET}"} < tags_of(double).keys()


def test_the_command_that_removes_it_names_the_configuration_file(double, tmp_path):
    """Without it, it would remove another cluster: the one of dwh.cfg."""
    own = tmp_path / "a team.cfg"
    own.write_text("[CLUSTER]\nIDENTIFIER = team\nCLIENT_CIDR = 203.0.113.7/32\n")
    settings = config.load(own, environ={}, target="redshift", **test_cluster.DATA)
    done = cluster.creation(settings, silent, "monday").apply(True)
    command = f"--only 05 --teardown --config '{own}'"
    redshift = double.client("redshift")
    for said in (done, cluster.running(settings), ending.describe_possible(settings, "")):
        assert said.endswith(command)
    redshift.pause_cluster(ClusterIdentifier="team")
    past = [{"Key": "expires", "Value": "2026-01-01T00:00Z"}]
    arn = f"arn:aws:redshift:us-west-2:{ACCOUNT}:cluster:team"
    redshift.create_tags(ResourceName=arn, Tags=past)
    with pytest.raises(cluster.ClusterError, match=r"--teardown --config '"):
        cluster.endpoint(settings)
    assert command in cluster.status(settings)
