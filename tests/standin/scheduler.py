"""Redshift's scheduler, which moto lacks: takes, refuses and carries out scheduled actions.

The codes of its refusals are those of the API; their words, and what happens to an action that was
carried out, are invented. As on AWS, the cluster need not exist when an action is made for it.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from moto.core.responses import ActionResult
from moto.iam.models import iam_backends
from moto.redshift.models import RedshiftBackend, redshift_backends
from moto.redshift.responses import RedshiftResponse

PRINCIPAL = "scheduler.redshift.amazonaws.com"
FIELDS = ("ScheduledActionName", "Schedule", "IamRole", "ScheduledActionDescription")


def actions_of(backend: RedshiftBackend) -> dict[str, dict]:
    """Return the scheduled actions of a region, by name."""
    return vars(backend).setdefault("scheduled_actions", {})


def find_refusal(call: str, asked: dict, backend: RedshiftBackend) -> tuple[str, str] | None:
    """Return the code and words with which AWS would refuse the call; None when it takes it."""
    if "ScheduledAction" not in call or "ScheduledActionName" not in asked:
        return None
    there = asked["ScheduledActionName"] in actions_of(backend)
    if call.startswith("Create") and there:
        return "ScheduledActionAlreadyExists", "The scheduled action exists already."
    if not call.startswith("Create") and not there:
        return "ScheduledActionNotFound", "There is no such scheduled action."
    if not re.fullmatch(r"[0-9a-z-]{1,63}", asked["ScheduledActionName"]):
        return "InvalidScheduledAction", "The name is not valid."
    if "Schedule" in asked and not is_ahead(asked["Schedule"]):
        return "InvalidSchedule", f"The schedule {asked['Schedule']} is not valid or has passed."
    if "IamRole" in asked and not may_assume(asked["IamRole"]):
        return "InvalidParameterValue", (
            "The IAM role must delegate access to Amazon Redshift scheduler."
        )
    return None


def is_ahead(schedule: str) -> bool:
    """Whether a schedule is one moment, in UTC and written as AWS wants it, that is to come."""
    if not re.fullmatch(r"at\(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\)", schedule):
        return False
    return moment_of(schedule) > datetime.now(UTC)


def moment_of(schedule: str) -> datetime:
    """Return the moment of a schedule such as at(2026-11-24T10:00:00)."""
    return datetime.fromisoformat(schedule[3:-1]).replace(tzinfo=UTC)


def role_of(arn: str):
    """Return moto's role of that ARN, None when there is none."""
    roles = iam_backends[arn.split(":")[4]]["aws"].roles.values()
    return next((role for role in roles if role.arn == arn), None)


def may_assume(arn: str) -> bool:
    """Whether the scheduler may assume the role."""
    role = role_of(arn)
    if not role:
        return False
    statements = json.loads(role.assume_role_policy_document)["Statement"]
    return any(PRINCIPAL in str(one["Principal"]) for one in statements)


def carry_out(account: str, now: datetime) -> None:
    """Do what is due by `now`, where the action's role may: pause clusters."""
    for region, backend in redshift_backends[account].items():
        for action in actions_of(backend).values():
            name = action["TargetAction"]["PauseCluster"]["ClusterIdentifier"]
            arn = f"arn:aws:redshift:{region}:{account}:cluster:{name}"
            due = moment_of(action["Schedule"]) <= now and action["State"] == "ACTIVE"
            if due and may_pause(action["IamRole"], arn) and name in backend.clusters:
                backend.clusters[name].status = "paused"


def may_pause(role_arn: str, cluster_arn: str) -> bool:
    """Whether the scheduler may assume the role, and the role may pause the cluster."""
    if not may_assume(role_arn):
        return False
    documents = role_of(role_arn).policies.values()
    statements = [one for document in documents for one in json.loads(document)["Statement"]]
    return any(
        one["Action"] == "redshift:PauseCluster" and fnmatchcase(cluster_arn, one["Resource"])
        for one in statements
    )


def create_scheduled_action(response) -> ActionResult:
    """CreateScheduledAction and ModifyScheduledAction."""
    asked = {name: value for name in FIELDS if (value := response._get_param(name)) is not None}
    target = response._get_param("TargetAction.PauseCluster.ClusterIdentifier")
    if target:
        asked["TargetAction"] = {"PauseCluster": {"ClusterIdentifier": target}}
    if (enabled := response._get_bool_param("Enable")) is not None:
        asked["State"] = "ACTIVE" if enabled else "DISABLED"
    actions = actions_of(response.redshift_backend)
    name = asked["ScheduledActionName"]
    actions[name] = {"State": "ACTIVE"} | actions.get(name, {}) | asked
    return ActionResult(actions[name])


def describe_scheduled_actions(response) -> ActionResult:
    """DescribeScheduledActions."""
    name = response._get_param("ScheduledActionName")
    actions = actions_of(response.redshift_backend)
    return ActionResult({"ScheduledActions": [actions[name]] if name else list(actions.values())})


def delete_scheduled_action(response) -> ActionResult:
    """DeleteScheduledAction."""
    del actions_of(response.redshift_backend)[response._get_param("ScheduledActionName")]
    return ActionResult({})


PATCHES = (
    (RedshiftResponse, "create_scheduled_action", create_scheduled_action),
    (RedshiftResponse, "modify_scheduled_action", create_scheduled_action),
    (RedshiftResponse, "describe_scheduled_actions", describe_scheduled_actions),
    (RedshiftResponse, "delete_scheduled_action", delete_scheduled_action),
)
