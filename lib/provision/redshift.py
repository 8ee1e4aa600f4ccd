"""The target redshift: the plans of creating and removing it, and what is said of its state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lib.aws import AwsError
from lib.aws.access import READY, REMOVE, RUN, find_endpoint, remove_command
from lib.aws.account import (
    FOREIGN,
    Account,
    find_next_expiry,
    format_expiry,
    has_expired,
    read_expiry,
)
from lib.config import Settings
from lib.provision.cluster import (
    PRICES,
    Cluster,
    ParameterGroup,
    Price,
    Schedule,
    describe_cost,
    find_price,
    refuse_price,
)
from lib.provision.network import SecurityGroup, SubnetGroup, find_client_range, find_vpc
from lib.provision.plan import Plan, Step, align_labels
from lib.provision.resources import Bucket, Resource, Role

HOW = "set confirm = True above and run this notebook again, or run, with your options:"
PAUSED, NOT_PAUSED = "AWS pauses it then, and only storage costs", "nothing stops it by itself"


def plan_creation(
    settings: Settings, progress: Callable[[str], object] = print, run: str = ""
) -> Plan:
    """Return the plan of creating the cluster and what it needs; nothing is changed by it.

    `run`: the name of the run that is to own it; empty for a notebook that a person steps through.
    Raises AwsError for what must not be created, or when AWS refuses to be asked.
    """
    account = Account(settings, progress, run)
    if settings.db.host:
        return Plan("redshift", _keep_given(settings), _describe_account(account))
    parts = list_parts(account)
    found = parts[-1].find_own()
    price = find_price(account, found)
    if not found or found["ClusterStatus"] not in READY:
        refuse_price(account, price)
    parts[-1].cost = f"${price.hour:.2f}/h"
    return Plan(
        "redshift",
        (*(part.plan_creation() for part in parts), *_keep_given(settings)),
        _describe_creation(account, price, found["Tags"] if found else []),
        f"Nothing was created. To create it for {price}:\n{HOW}\n{RUN} --yes",
        account.check_login,
        lambda: _finish_creation(account, price),
        " Run again, it goes on where it stopped. What exists by now may cost; look at it with "
        f"{RUN} --status, or remove it with {remove_command(settings)}",
    )


def list_parts(account: Account) -> list[Resource]:
    """Return what a cluster consists of, in the order of creation: the cluster is the last."""
    kinds = [Bucket, Role, SecurityGroup, ParameterGroup, SubnetGroup, Schedule, Cluster]
    if account.settings.iam_role.arn:  # a role made elsewhere pauses nothing
        kinds = [kind for kind in kinds if kind not in (Role, Schedule)]
    if find_vpc(account)["IsDefault"]:
        kinds.remove(SubnetGroup)
    return [kind(account) for kind in kinds]


def list_removable(account: Account) -> list[Resource]:
    """Return what any settings may have created, in the order of removal: the cluster first."""
    kinds = [Cluster, Schedule, SecurityGroup, ParameterGroup, SubnetGroup, Role, Bucket]
    if account.settings.iam_role.arn:
        kinds.remove(Role)
    return [kind(account) for kind in kinds]


def _keep_given(settings: Settings) -> tuple[Step, ...]:
    """Return the steps of what was made elsewhere, and stays as it is."""
    given = {"cluster": settings.db.host, "role": settings.iam_role.arn}
    return tuple(
        Step(kind, name, "made elsewhere", "keep", cost="") for kind, name in given.items() if name
    )


def _describe_account(account: Account) -> tuple[tuple[str, str], ...]:
    bucket = account.settings.data.region
    apart = "" if bucket == account.region else f", the bucket in {bucket}"
    return (("account", f"{account.id}, region {account.region}{apart}"),)


def _describe_creation(account: Account, price: Price, tags: list) -> tuple[tuple[str, str], ...]:
    cidr, whose = find_client_range(account)
    given, hours = account.settings.iam_role.arn, account.settings.cluster.expires_hours
    stays = find_next_expiry(tags) or (tags and given)
    when = format_expiry(tags) if stays else f"{hours} hours after you confirm"
    return (
        *_describe_account(account),
        ("price", f"{price}, and ${PRICES['usd_per_gb_month']} a month for each GB stored"),
        ("", price.source),
        ("open", f"port {account.settings.db.port} to {cidr} only ({whose}), over TLS only"),
        ("expires", f"{when}: {f'{NOT_PAUSED} ([IAM_ROLE] ARN)' if given else PAUSED}"),
    )


def _finish_creation(account: Account, price: Price) -> str:
    """Create again what another run has removed meanwhile, and return the cluster's endpoint."""
    for part in list_parts(account):
        part.ensure()
    host, port = find_endpoint(account.settings, account)
    costs = f"It costs {price}, until it is removed:\n{remove_command(account.settings)}"
    return f"The cluster answers at {host}:{port}.\n{costs}"


def plan_removal(
    settings: Settings,
    progress: Callable[[str], object] = print,
    run: str = "",
    everything: bool = False,
) -> Plan:
    """Return the plan of removing what the run created; nothing is changed by it.

    `everything`: what other runs created too, as long as it carries our tags.
    """
    account = Account(settings, progress, run, everything)
    if settings.db.host:
        return Plan("redshift", _keep_given(settings), _describe_account(account))
    steps = _plan_removals(account)
    days = settings.cluster.final_snapshot_days
    snapshot = f"a final snapshot is kept for {days} days" if days else "no final snapshot is taken"
    loses = ("loses", f"all tables and automatic snapshots; {snapshot}")
    return Plan(
        "redshift",
        (*steps, *_keep_given(settings)),
        (*_describe_account(account), loses),
        f"Nothing was removed. To remove what the plan says:\n{HOW}\n{REMOVE}",
        account.check_login,
        lambda: _verify_removal(account),
        f" Run again, it goes on where it stopped: {remove_command(settings)}",
        _describe_kept(_list_kept(steps)),
    )


def _plan_removals(account: Account) -> list[Step]:
    """Return the steps that remove all parts; a cluster that stays keeps all that it uses."""
    parts = list_removable(account)
    if found := parts[0].find():
        if lost := describe_lost(account, found):
            raise AwsError(lost)
        parts[0].cost = describe_cost(account, found)
    steps = [part.plan_removal() for part in parts]
    if not _list_kept(steps[:1]):
        return steps
    keep = {"action": "keep", "apply": None}
    return [replace(s, **keep, state=f"{s.state}, in use") if s.apply else s for s in steps]


def describe_lost(account: Account, found: dict) -> str:
    """Say that a cluster lacks our tags though it uses what is ours; '' when it does not."""
    groups = [one["ParameterGroupName"] for one in found.get("ClusterParameterGroups", ())]
    if account.is_ours(found["Tags"]) or account.identifier not in groups:
        return ""
    return (
        f"The cluster {account.identifier} uses what this project has created and lacks the tags "
        f"{account.format_tags()}, so neither is removed. It is {found['ClusterStatus']} and costs "
        f"{describe_cost(account, found)}; give it these tags, or remove it in the AWS console, "
        f"then run this again: {remove_command(account.settings)}"
    )


def _list_kept(steps: Iterable[Step]) -> list[tuple[str, str]]:
    """Return name and owner of what is ours and stays."""
    stay = [step for step in steps if step.action == "keep" and step.state != FOREIGN]
    return [(f"{step.resource} {step.name}", step.state) for step in stay]


def _group_by_owner(owned: Iterable[tuple[str, str]]) -> str:
    """Return names by owner, such as "cluster a, role b (of run x by user/ann); bucket c (…)"."""
    names: dict[str, list[str]] = {}
    for name, owner in owned:
        names.setdefault(owner, []).append(name)
    return "; ".join(f"{', '.join(names[owner])} ({owner})" for owner in names)


def _describe_kept(kept: list[tuple[str, str]]) -> str:
    how = "To remove that too, set teardown = True above, or run, with your options:"
    return f"Kept: {_group_by_owner(kept)}.\n{how}\n{REMOVE}" if kept else ""


def _verify_removal(account: Account) -> str:
    """Return what is left; raise AwsError for what should have been removed."""
    found = find_ours(account)
    if left := [name for name, tags in found.items() if account.may_remove(tags)]:
        raise AwsError(f"These are still there: {', '.join(left)}. Run this again.")
    kept = [(name, account.describe(tags)) for name, tags in found.items()]
    what = "of this run" if kept else f"with the tag cluster={account.identifier}"
    snapshots = find_snapshots(account)
    still = f", except for the {', '.join(snapshots)}" if snapshots else ""
    return f"Nothing {what} is left{still}.\n{_describe_kept(kept)}".rstrip()


def find_ours(account: Account) -> dict[str, list[dict]]:
    """Return the tags of each part that is there and carries our tags, by kind and name."""
    found = {f"{part.kind} {part.name}": part.find() for part in list_removable(account)}
    tags = {name: one["Tags"] for name, one in found.items() if one}
    return {name: tags[name] for name in tags if account.is_ours(tags[name])}


def find_snapshots(account: Account) -> list[str]:
    """Return the names of the cluster's snapshots that stay when it is removed."""
    tag = {"TagKeys": ["cluster"], "TagValues": [account.identifier]}
    tagged = account.call("redshift", "describe_tags", **tag)["TaggedResources"]
    names = {one["ResourceName"].split(":", 5)[5] for one in tagged}
    return sorted(name.replace(":", " ") for name in names if name.startswith("snapshot:"))


def describe_end(settings: Settings, run: str, keep: bool, everything: bool) -> str:
    """Return what a run removes at its end and what it keeps, by name, with who created it.

    `keep`: nothing is removed. `everything`: what other runs created is removed too.
    """
    if keep and not everything:
        later = remove_command(settings)
        return f"At the end nothing is removed. This removes everything later:\n{later}"
    account = Account(settings, run=run, everything=everything)
    steps, parts = _plan_removals(account), {part.kind for part in list_parts(account)}
    kept, stays = _list_kept(steps), _list_kept(steps[:1])
    owners = {"missing": "of this run"}  # as this run creates what is missing
    gone = [step for step in steps if step.action != "keep" and step.resource in parts]
    removed = [(f"{s.resource} {s.name}", owners.get(s.state, s.state)) for s in gone if not stays]
    removes = f"this run removes {_group_by_owner(removed)}" if removed else "nothing is removed"
    keeps = f" It keeps {_group_by_owner(kept)}; --teardown removes that too." if kept else ""
    return f"At the end {removes}.{keeps}"


def describe_status(settings: Settings) -> str:
    """Return what carries our tags: since when, in which state, what it has cost, until when."""
    account = Account(settings)
    if settings.db.host:
        return f"The cluster at {settings.db.host} was made elsewhere; look at it there."
    lines = [("target", "redshift"), *_describe_account(account)]
    found = Cluster(account).find()
    if found and account.is_ours(found["Tags"]):
        lines += _describe_cluster(account, found)
    elif found and (lost := describe_lost(account, found)):
        lines.append(("cluster", lost))
    ours = [name for name in find_ours(account) if not name.startswith("cluster ")]
    lines += [("and", name) for name in [*ours, *find_snapshots(account)]]
    if len(lines) == 2:
        lines.append(("", f"nothing with the tag cluster={account.identifier} exists or costs"))
    return align_labels(*lines)


def _describe_cluster(account: Account, found: dict) -> list[tuple[str, str]]:
    """Return what a cluster is, who created it, what it has cost, and when it expires."""
    tags, now = found["Tags"], datetime.now(UTC)
    since = found.get("ClusterCreateTime") or now
    if found["ClusterStatus"] == "paused":  # nodes cost nothing since
        now = min(now, read_expiry(tags) or now)
    hours = (now - since) / timedelta(hours=1)
    nodes = f"{found['NumberOfNodes']} × {found['NodeType']}"
    lines = [
        ("cluster", f"{account.identifier}, {nodes}, {found['ClusterStatus']}"),
        ("", account.describe_owner(tags)),
        ("since", f"{since:%Y-%m-%d %H:%M} UTC, {hours:.1f} hours"),
    ]
    try:
        price = find_price(account, found)
        spent = f"about ${price.hour * hours:.2f} so far, an estimate: hours by price"
        lines += [("price", str(price)), ("", price.source), ("cost", spent)]
    except AwsError as error:
        lines.append(("price", str(error)))
    when, then = format_expiry(tags), PAUSED if Schedule(account).find() else NOT_PAUSED
    if has_expired(tags):
        return [*lines, ("expired", f"{when}; remove it: {remove_command(account.settings)}")]
    return [*lines, ("expires", f"{when}: {then}")]


def describe_running(settings: Settings) -> str:
    """Return what is still running, its owner, price, and how to remove it; '' when nothing is."""
    if settings.db.host:
        return ""
    account = Account(settings)
    found = Cluster(account).find()
    if not found or not account.is_ours(found["Tags"]):
        return describe_lost(account, found) if found else ""
    tags, cost = found["Tags"], describe_cost(account, found)
    expired = f", expired at {format_expiry(tags)}" if has_expired(tags) else ""
    return (
        f"The cluster {account.identifier} ({account.describe_owner(tags)}) is "
        f"{found['ClusterStatus']} in {account.region}{expired} and costs {cost} until it is "
        f"removed: {remove_command(settings)}"
    )
