"""Who can reach Redshift: the VPC, the address range of the client, security and subnet group."""

from __future__ import annotations

import http.client
import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache

from lib.aws import AwsError
from lib.aws.account import Account
from lib.aws.ownership import PROJECT
from lib.provision.resources import Resource

SOURCES = ("IpRanges", "Ipv6Ranges", "UserIdGroupPairs", "PrefixListIds")


@cache
def find_vpc(account: Account) -> dict:
    """Return the network that [CLUSTER] VPC names, else the default one, else the only one."""
    vpcs = account.call("ec2", "describe_vpcs")["Vpcs"]
    wanted = account.settings.cluster.vpc
    named = [vpc for vpc in vpcs if vpc["VpcId"] == wanted]
    default = [vpc for vpc in vpcs if vpc["IsDefault"]]
    chosen = named if wanted else default or vpcs
    if len(chosen) == 1:
        return chosen[0]
    known = ", ".join(vpc["VpcId"] for vpc in vpcs) or "none, so create one first"
    why = f"no VPC {wanted}" if wanted else "no default VPC"
    raise AwsError(
        f"There is {why} in {account.region}; set [CLUSTER] VPC to one that is there: {known}."
    )


@cache
def find_client_range(account: Account) -> tuple[str, str]:
    """Return the range of addresses that may connect, and where it comes from."""
    cluster = account.settings.cluster
    if cluster.access == "vpc":
        return find_vpc(account)["CidrBlock"], "the VPC's own addresses"
    if cluster.client_cidr:
        return str(ipaddress.ip_network(cluster.client_cidr)), "[CLUSTER] CLIENT_CIDR"
    return f"{find_own_address()}/32", "your address now"


def find_own_address() -> str:
    """Return this machine's public IPv4 address, as Amazon sees it."""
    try:
        connection = http.client.HTTPSConnection("checkip.amazonaws.com", timeout=5)
        connection.request("GET", "/")
        answer = connection.getresponse().read().decode()
        return str(ipaddress.IPv4Address(answer.strip()))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AwsError(
            f"Your address could not be looked up at checkip.amazonaws.com ({error}); "
            "set [CLUSTER] CLIENT_CIDR to it, such as 203.0.113.7/32."
        ) from None


class SecurityGroup(Resource):
    """The security group, which opens one port to one range of addresses."""

    kind, service = "security group", "ec2"

    def find(self) -> dict | None:
        """Return our security group wherever it is, else one of that name in the VPC."""
        by_name = [{"Name": "group-name", "Values": [self.name]}]
        answer = self.call("describe_security_groups", Filters=by_name)
        groups = [{"Tags": []} | group for group in answer["SecurityGroups"]]
        ours = [group for group in groups if self.account.is_ours(group["Tags"])]
        others = [group for group in groups if group["VpcId"] == find_vpc(self.account)["VpcId"]]
        return next(iter(ours or others), None)

    def create(self) -> None:
        """Create it, closed."""
        self.call(
            "create_security_group",
            ("InvalidGroup.Duplicate",),
            GroupName=self.name,
            Description=f"Who may reach the Redshift cluster {self.name}",
            VpcId=find_vpc(self.account)["VpcId"],
            TagSpecifications=[{"ResourceType": "security-group", "Tags": self.account.tags}],
        )

    def find_gaps(self, found: dict) -> Iterator:
        """Yield the rules that are too many, and the one that is lacking."""
        port, cidr = self.settings.db.port, find_client_range(self.account)[0]
        group, is_open, extra = {"GroupId": found["GroupId"]}, False, []
        for rule in found["IpPermissions"]:
            protocol_and_ports = [rule.get(key) for key in ("IpProtocol", "FromPort", "ToPort")]
            if protocol_and_ports == ["tcp", port, port]:
                others = [one for one in rule["IpRanges"] if one["CidrIp"] != cidr]
                is_open = is_open or others != rule["IpRanges"]
                rule = rule | {"IpRanges": others}
            if any(rule.get(source) for source in SOURCES):
                extra.append({key: value for key, value in rule.items() if value != []})
        if extra:
            revoked = {"passing": ("InvalidPermission.NotFound",), "IpPermissions": extra}
            yield "old rule", "revoke_security_group_ingress", group | revoked
        if not is_open:
            about = {"CidrIp": cidr, "Description": f"{PROJECT}, {datetime.now(UTC):%Y-%m-%d}"}
            rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [about]}
            allowed = {"passing": ("InvalidPermission.Duplicate",), "IpPermissions": [rule]}
            yield "no rule", "authorize_security_group_ingress", group | allowed

    def delete(self, found: dict) -> None:
        """Delete it, as soon as the cluster's network interfaces are gone."""
        gone, group = ("InvalidGroup.NotFound",), found["GroupId"]
        self.call("delete_security_group", gone, slow="DependencyViolation", GroupId=group)


class SubnetGroup(Resource):
    """The subnet group, in an account without a default VPC."""

    kind, key = "subnet group", "ClusterSubnetGroupName"
    look, listed = "describe_cluster_subnet_groups", "ClusterSubnetGroups"
    drop, slow = "delete_cluster_subnet_group", "InvalidClusterSubnetGroupState"
    absent = ("ClusterSubnetGroupNotFoundFault",)

    def create(self) -> None:
        """Create it of all subnets of the VPC."""
        vpc = find_vpc(self.account)["VpcId"]
        of_vpc = [{"Name": "vpc-id", "Values": [vpc]}]
        subnets = self.account.call("ec2", "describe_subnets", Filters=of_vpc)["Subnets"]
        if not subnets:
            raise AwsError(
                f"The VPC {vpc} has no subnet; create two in different zones, or name another VPC "
                "in [CLUSTER] VPC."
            )
        self.call(
            "create_cluster_subnet_group",
            ("ClusterSubnetGroupAlreadyExists",),
            Description=f"Network of the Redshift cluster {self.name}",
            SubnetIds=[subnet["SubnetId"] for subnet in subnets],
            Tags=self.account.tags,
        )
