"""A provisioned cluster: its parameters, the schedule that pauses it, and the cluster itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

from lib.aws import AwsError, Clock
from lib.aws.access import READY, find_cluster, find_role_arn, remove_command
from lib.aws.ownership import find_next_expiry
from lib.provision.network import SecurityGroup, find_vpc
from lib.provision.resources import Resource, Role

GOING = {"deleting", "final-snapshot"}
BROKEN = {"hardware-failure", "storage-full"}  # and incompatible-…: AWS does not repair them
LOGS = ["connectionlog", "userlog", "useractivitylog"]


class ParameterGroup(Resource):
    """The parameter group, which refuses connections without TLS."""

    kind, key = "parameter group", "ParameterGroupName"
    look, listed = "describe_cluster_parameter_groups", "ParameterGroups"
    drop, slow = "delete_cluster_parameter_group", "InvalidClusterParameterGroupState"
    absent = ("ClusterParameterGroupNotFound",)

    def create(self) -> None:
        """Create it."""
        self.call(
            "create_cluster_parameter_group",
            ("ClusterParameterGroupAlreadyExists",),
            ParameterGroupFamily="redshift-2.0",
            Description=f"Settings of the Redshift cluster {self.name}",
            Tags=self.account.tags,
        )

    def find_gaps(self, found: dict) -> Iterator:
        """Yield the parameters that differ from what they should be."""
        wanted = ["require_ssl"]
        if self.settings.cluster.audit_logs:
            wanted.append("enable_user_activity_logging")
        known = self.call("describe_cluster_parameters")["Parameters"]
        now = {one["ParameterName"]: one.get("ParameterValue") for one in known}
        if lacking := [name for name in wanted if now.get(name) != "true"]:
            changed = [{"ParameterName": name, "ParameterValue": "true"} for name in lacking]
            state = "no TLS" if "require_ssl" in lacking else "no logs"
            yield state, "modify_cluster_parameter_group", {"Parameters": changed}


class Schedule(Resource):
    """The scheduled action that pauses the cluster when it expires.

    AWS has no tags for it: its description holds ours. It is created before the cluster, so that
    there is never a cluster without it.
    """

    kind, key, drop = "schedule", "ScheduledActionName", "delete_scheduled_action"
    absent = ("ScheduledActionNotFound",)

    def find(self) -> dict | None:
        """Return the scheduled action, with the tags that its description holds."""
        answer = self.call("describe_scheduled_actions", self.absent)
        for found in (answer or {}).get("ScheduledActions", ()):
            pairs = re.findall(r"(\w+)=(\S+)", found.get("ScheduledActionDescription", ""))
            return found | {"Tags": [{"Key": key, "Value": value} for key, value in pairs]}
        return None

    def create(self) -> None:
        """Create it for the time at which the cluster expires."""
        tags = self.account.required_tags | self.account.owner_tags
        self.call(
            "create_scheduled_action",
            ("ScheduledActionAlreadyExists",),
            TargetAction={"PauseCluster": {"ClusterIdentifier": self.name}},
            ScheduledActionDescription=" ".join(f"{key}={value}" for key, value in tags.items()),
            slow="IAM role",  # as in `Cluster.create`
            **self._choose_time(self._find_cluster_tags()),
        )

    def _find_cluster_tags(self) -> list[dict]:
        """Return the tags of the cluster; none while there is no cluster that stays."""
        found = Cluster(self.account).find_own()
        return found["Tags"] if found and found["ClusterStatus"] not in GOING else []

    def _choose_time(self, tags: list[dict]) -> dict:
        """Return when a cluster with these tags is paused, and as which role."""
        when = find_next_expiry(tags) or self.account.expires
        time = f"at({when.astimezone(UTC):%Y-%m-%dT%H:%M}:00)"
        return {"Schedule": time, "IamRole": Role(self.account).find_arn()}

    def find_gaps(self, found: dict) -> Iterator:
        """Yield what differs from when and as which role the cluster should be paused."""
        tags, off = self._find_cluster_tags(), found.get("State") == "DISABLED"
        wanted = self._choose_time(tags)
        if off or _lacks_expiry(tags) or not wanted.items() <= found.items():
            changed = wanted | {"slow": "IAM role", "Enable": True}
            yield "off" if off else "outdated", "modify_scheduled_action", changed

    def ensure(self) -> None:
        """Give a cluster that has expired a new time, and let it be paused then."""
        if _lacks_expiry(self._find_cluster_tags()):
            tags = [tag for tag in self.account.tags if tag["Key"] in ("project", "expires")]
            arn = f"{Role(self.account).redshift}:cluster:{self.name}"
            self.account.call("redshift", "create_tags", ResourceName=arn, Tags=tags)
        super().ensure()


def _lacks_expiry(tags: list[dict]) -> bool:
    """Whether a cluster with these tags is there and will not be paused."""
    return bool(tags) and not find_next_expiry(tags)


class Cluster(Resource):
    """The cluster: encrypted, its admin password kept by Secrets Manager and known to nobody."""

    kind, key = "cluster", "ClusterIdentifier"

    def find(self) -> dict | None:
        """Return the cluster."""
        return find_cluster(self.account)

    def create(self) -> None:
        """Create it, with everything that its safety needs in one call."""
        cluster, db, vpc = self.settings.cluster, self.settings.db, find_vpc(self.account)
        many = {"ClusterType": "multi-node", "NumberOfNodes": cluster.num_nodes}
        nodes = many if cluster.num_nodes > 1 else {"ClusterType": "single-node"}
        network = {} if vpc["IsDefault"] else {"ClusterSubnetGroupName": self.name}
        group = SecurityGroup(self.account)
        found_group = self.account.require(group.kind, group.name, group.find())
        self.call(
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
            VpcSecurityGroupIds=[found_group["GroupId"]],
            **network,
            ClusterParameterGroupName=self.name,
            IamRoles=[find_role_arn(self.settings, self.account)],
            AutomatedSnapshotRetentionPeriod=cluster.snapshot_days,
            AllowVersionUpgrade=True,
            EnhancedVpcRouting=False,  # the data's bucket is not in our VPC
            Tags=self.account.tags,
        )

    def ensure(self) -> None:
        """Create or resume it, wait until it can be connected to, and change what differs."""
        found = self._wait_until_ready()
        for _, operation, arguments in self.find_gaps(found):
            self.call(operation, **arguments)
            self._wait_until_ready()

    def _wait_until_ready(self) -> dict:
        clock = Clock(self.account.progress)
        while True:
            found = self.find_own()
            state = found["ClusterStatus"] if found else "asked for"
            if state in READY and found.get("Endpoint", {}).get("Address"):
                return found
            if state in BROKEN or state.startswith("incompatible-"):
                raise AwsError(
                    f"The cluster {self.name} is in the state {state}, which it does not leave; "
                    f"remove it ({remove_command(self.settings)}) and create it again."
                )
            if not found:
                self.create()
            elif state == "paused":
                self.call("resume_cluster", ("InvalidClusterState",))
            clock.wait(f"{self.name} is {state}")

    def find_gaps(self, found: dict) -> Iterator:
        """Yield what the settings ask of a cluster that is there already."""
        if found["ClusterStatus"] not in READY:
            yield found["ClusterStatus"], "", {}  # `ensure` waits for it before it asks
        role = self.settings.iam_role.arn or Role(self.account).find_arn()
        if role and role not in [one["IamRoleArn"] for one in found.get("IamRoles", ())]:
            yield "no role", "modify_cluster_iam_roles", {"AddIamRoles": [role]}
        public = self.settings.cluster.access == "my-ip"
        if found["PubliclyAccessible"] != public:
            state = "private" if public else "public"
            yield state, "modify_cluster", {"PubliclyAccessible": public}
        logs = self.settings.cluster.audit_logs
        if logs and not self.call("describe_logging_status").get("LoggingEnabled"):
            about = {"LogDestinationType": "cloudwatch", "LogExports": LOGS}
            yield "no logs", "enable_logging", about

    def delete(self, found: dict) -> None:
        """Delete it with its automatic snapshots, and wait until it is gone."""
        clock, days = Clock(self.account.progress), self.settings.cluster.final_snapshot_days
        name = f"{self.name}-final-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        keep = (
            {}
            if not days
            else {
                "FinalClusterSnapshotIdentifier": name,
                "FinalClusterSnapshotRetentionPeriod": days,
            }
        )
        while found and self.account.may_remove(found["Tags"]):
            state = found["ClusterStatus"]
            if state not in GOING:
                busy = ("ClusterNotFound", "InvalidClusterState")  # tried again at the next look
                self.call("delete_cluster", busy, SkipFinalClusterSnapshot=not days, **keep)
            clock.wait(f"{self.name} is {state}")
            found = self.find()
