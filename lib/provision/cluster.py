"""The Redshift cluster: plan, creation, connection, status, removal.

What it is made of is in resources.py. Nothing that costs or deletes happens without a plan
that was confirmed, and what does not carry our tags is never adopted, changed or deleted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lib import aws
from lib.config import Settings
from lib.provision.plan import Plan, Step, labelled
from lib.provision.resources import (
    FOREIGN,
    PROJECT,
    READY,
    REMOVE,
    RUN,
    Bucket,
    ClusterError,
    Firewall,
    Parameters,
    Resource,
    Role,
    Schedule,
    Site,
    Subnets,
    Warehouse,
    copy_role,
    expiry_of,
    remove_command,
    upcoming,
)

READER = "dwh_reader"  # the database user that 02_schema makes for questions
PAUSED = "AWS pauses it then, and only storage costs"
HOW = "set confirm = True above and run this notebook again, or run, with your options:"
PRICES = json.loads(Path(__file__).with_name("prices.json").read_text())


class Secret(str):
    """A text that does not show itself in a repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'hidden'"


@dataclass(frozen=True)
class Price:
    """What a cluster costs per hour in US dollars, and who says so."""

    hour: float
    source: str

    def __str__(self) -> str:
        return f"${self.hour:.2f} an hour, ${self.hour * 24:.2f} a day"


def creation(settings: Settings, progress: Callable[[str], object] = print, run: str = "") -> Plan:
    """Return the plan of creating the cluster and what it needs; nothing is changed by it.

    `run`: the name of the run that is to own it; empty for a notebook that a person steps through.
    Raises ClusterError for what must not be created, AwsError when AWS refuses to be asked.
    """
    account = Site(settings, progress, run)
    if settings.db.host:
        return Plan("redshift", _elsewhere(settings), _place(account))
    cluster = Warehouse(account)
    found = cluster.owned()
    price = price_of(account, found)
    if not found:
        _refuse_unless_offered(account)
    if not found or found["ClusterStatus"] not in READY:
        _refuse_if_dear(account, price)
    cluster.cost = f"${price.hour:.2f}/h"
    steps = tuple(part.creation() for part in _parts(account, cluster))
    steps += _elsewhere(settings)
    return Plan(
        "redshift",
        steps,
        _header(account, price, found),
        f"Nothing was created. To create it for {price}:\n{HOW}\n{RUN} --yes",
        lambda: _finish(account, cluster, price),
        " Run again, it goes on where it stopped. What exists by now may cost; look at it with "
        f"{RUN} --status, or remove it with {remove_command(settings)}",
    )


def _parts(account: Site, cluster: Warehouse) -> list[Resource]:
    """Return what is to be made, in the order in which it is needed."""
    own_role = not account.settings.iam_role.arn
    role, schedule = ([Role(account)], [Schedule(account)]) if own_role else ([], [])
    subnets = [] if account.vpc["IsDefault"] else [Subnets(account)]
    group = [Firewall(account), Parameters(account), *subnets]
    return [Bucket(account), *role, *group, *schedule, cluster]


def _elsewhere(settings: Settings) -> tuple[Step, ...]:
    """Return what was made elsewhere, and stays as it is."""
    named = {"cluster": settings.db.host, "role": settings.iam_role.arn}
    return tuple(
        Step(kind, name, "made elsewhere", "keep", cost="") for kind, name in named.items() if name
    )


def _place(account: Site) -> tuple[tuple[str, str], ...]:
    bucket = account.settings.data.region
    apart = "" if bucket == account.region else f", the bucket in {bucket}"
    return (("account", f"{account.id}, region {account.region}{apart}"),)


def _header(account: Site, price: Price, found: dict | None) -> tuple[tuple[str, str], ...]:
    cidr, whose = account.reach
    port = account.settings.db.port
    return (
        *_place(account),
        ("price", f"{price}, and ${PRICES['usd_per_gb_month']} a month for each GB stored"),
        ("", price.source),
        ("open", f"port {port} to {cidr} only ({whose}), over TLS only"),
        ("expires", _describe_expiry(account, found)),
    )


def _describe_expiry(account: Site, found: dict | None) -> str:
    """Return when the cluster expires once the plan is carried out, and what happens then."""
    given, tags = account.settings.iam_role.arn, (found or {"Tags": []})["Tags"]
    hours = account.settings.cluster.expires_hours
    as_is = upcoming(tags) or (found and given)
    when = _expiry(tags) if as_is else f"{hours} hours after you confirm"
    then = "nothing stops it by itself ([IAM_ROLE] ARN)" if given else PAUSED
    return f"{when}: {then}"


def _expiry(tags: list[dict]) -> str:
    when = expiry_of(tags)
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if when else "never"


def _finish(account: Site, cluster: Warehouse, price: Price) -> str:
    """Make again what another run has removed meanwhile, and say where the cluster answers."""
    for part in _parts(account, cluster):
        part.ensure()
    host, port = endpoint(account.settings, account)
    remove = remove_command(account.settings)
    return (
        f"The cluster answers at {host}:{port}.\nIt costs {price}, until it is removed:\n{remove}"
    )


def _refuse_unless_offered(account: Site) -> None:
    wanted = account.settings.cluster.node_type
    ask = "describe_orderable_cluster_options"
    if account.ask("redshift", ask, NodeType=wanted)["OrderableClusterOptions"]:
        return
    options = account.ask("redshift", ask)["OrderableClusterOptions"]
    offered = ", ".join(sorted({option["NodeType"] for option in options}))
    raise ClusterError(
        f"The node type {wanted} is not offered in {account.region}; set [CLUSTER] NODE_TYPE to "
        f"one that is: {offered}."
    )


def _refuse_if_dear(account: Site, price: Price) -> None:
    most = account.settings.cluster.max_hourly_usd
    if price.hour > most:
        raise ClusterError(
            f"The cluster would cost {price} ({price.source}), and [CLUSTER] MAX_HOURLY_USD is "
            f"{most}; choose a smaller NODE_TYPE or NUM_NODES, or raise it."
        )


def price_of(account: Site, found: dict | None) -> Price:
    """Return the price of the cluster that was found, else of the one that the settings ask for."""
    wanted = account.settings.cluster
    kind, nodes = wanted.node_type, wanted.num_nodes
    if found:
        kind, nodes = found["NodeType"], found["NumberOfNodes"]
    try:
        hour = _listed_price(account, kind)
        return Price(hour * nodes, f"verified by the price list API, {datetime.now(UTC):%Y-%m-%d}")
    except (aws.AwsError, LookupError, ValueError) as error:
        cause = error.__cause__
        why = (cause and aws.code(cause)) or "no answer"
    if kind not in PRICES["usd_per_node_hour"]:
        raise ClusterError(
            f"The price of {kind} could not be asked ({why}) and is not known here, so that it "
            "can't be compared with [CLUSTER] MAX_HOURLY_USD; let yourself ask it (statement "
            f"{aws.statement_for('pricing:GetProducts')}), or use ra3.large."
        )
    hour = PRICES["usd_per_node_hour"][kind]
    source = f"bundled price of {PRICES['date']} for us-east-1, unverified (price list: {why})"
    return Price(hour * nodes, source)


def _listed_price(account: Site, kind: str) -> float:
    """Return the price of a node per hour. Raises LookupError when the list does not have it."""
    where = {
        "regionCode": account.region,
        "instanceType": kind,
        "productFamily": "Compute Instance",
    }
    filters = [{"Type": "TERM_MATCH", "Field": key, "Value": where[key]} for key in where]
    arguments = {"ServiceCode": "AmazonRedshift", "Filters": filters}
    listed = account.ask("pricing", "get_products", **arguments)["PriceList"]
    prices = [
        float(dimension["pricePerUnit"]["USD"])
        for product in map(json.loads, listed)
        for term in product["terms"]["OnDemand"].values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] == "Hrs"
    ]
    if not any(prices):
        raise LookupError(kind)
    return max(prices)


def removal(
    settings: Settings,
    progress: Callable[[str], object] = print,
    run: str = "",
    everything: bool = False,
) -> Plan:
    """Return the plan of removing what the run created; nothing is changed by it.

    `everything`: what other runs created too, as long as it carries our tags.
    """
    account = Site(settings, progress, run, everything)
    if settings.db.host:
        return Plan("redshift", _elsewhere(settings), _place(account))
    cluster = Warehouse(account)
    parts = [cluster, Schedule(account), Firewall(account), Parameters(account), Subnets(account)]
    parts += [Bucket(account)] if settings.iam_role.arn else [Role(account), Bucket(account)]
    steps = _removals(account, cluster, parts)
    days = settings.cluster.final_snapshot_days
    kept = f"a final snapshot is kept for {days} days" if days else "no final snapshot is taken"
    return Plan(
        "redshift",
        (*steps, *_elsewhere(settings)),
        (*_place(account), ("loses", f"all tables and automatic snapshots; {kept}")),
        f"Nothing was removed. To remove what the plan says:\n{HOW}\n{REMOVE}",
        lambda: _verify_absent(account),
        f" Run again, it goes on where it stopped: {remove_command(settings)}",
        _describe_kept(_kept(steps)),
    )


def _removals(account: Site, cluster: Warehouse, parts: list[Resource]) -> list[Step]:
    """Return the steps that remove the parts; a cluster that stays keeps all that it uses."""
    if found := cluster.find():
        cluster.cost = _cost(account, found)
        if lost := _describe_lost(account, found):
            raise ClusterError(lost)
    steps = [part.removal() for part in parts]
    if not _kept(step for step in steps if step.resource == cluster.kind):
        return steps
    in_use = {"action": "keep", "apply": None}
    return [
        replace(step, **in_use, state=f"{step.state}, in use") if step.apply else step
        for step in steps
    ]


def _describe_lost(account: Site, found: dict) -> str:
    """Say that a cluster lacks our tags though it uses what is ours; '' when it does not."""
    groups = [one["ParameterGroupName"] for one in found.get("ClusterParameterGroups", ())]
    if account.is_ours(found["Tags"]) or account.identifier not in groups:
        return ""
    wanted = ", ".join(f"{key}={value}" for key, value in account.wanted.items())
    return (
        f"The cluster {account.identifier} uses what this project has created and lacks the tags "
        f"{wanted}, so neither is removed. It is {found['ClusterStatus']} and costs "
        f"{_cost(account, found)}; give it these tags, or remove it in the AWS console, then run "
        f"this again: {remove_command(account.settings)}"
    )


def _kept(steps: Iterable[Step]) -> list[tuple[str, str]]:
    """Return what is ours and stays: each one's name and who created it."""
    stay = [step for step in steps if step.action == "keep" and step.state != FOREIGN]
    return [(f"{step.resource} {step.name}", step.state) for step in stay]


def _group(made: Iterable[tuple[str, str]]) -> str:
    """Return names by who created them: "cluster a, role b (of run x by user/ann); bucket c …"."""
    names: dict[str, list[str]] = {}
    for name, maker in made:
        names.setdefault(maker, []).append(name)
    return "; ".join(f"{', '.join(names[maker])} ({maker})" for maker in names)


def _describe_kept(kept: list[tuple[str, str]]) -> str:
    if not kept:
        return ""
    how = "To remove that too, set teardown = True above, or run, with your options:"
    return f"Kept: {_group(kept)}.\n{how}\n{REMOVE}"


def describe_end(settings: Settings, run: str, keep: bool, everything: bool) -> str:
    """Return what a run removes at its end and what it keeps, by name, with who created it.

    `keep`: the end removes nothing. `everything`: it removes also what other runs created.
    """
    if settings.db.host:
        return ""
    account = Site(settings, run=run, everything=everything)
    cluster = Warehouse(account)
    if keep and not everything:
        later = remove_command(settings)
        return f"At the end nothing is removed. This removes everything later:\n{later}"
    steps = _removals(account, cluster, _parts(account, cluster))
    kept, gone = _kept(steps), []
    if not any(name == f"cluster {cluster.name}" for name, _ in kept):
        gone = [step for step in steps if step.action != "keep"]
    made = [
        (f"{step.resource} {step.name}", "of this run" if step.state == "missing" else step.state)
        for step in gone
    ]
    removes = f"this run removes {_group(made)}" if made else "nothing is removed"
    keeps = f" It keeps {_group(kept)}; --teardown removes that too." if kept else ""
    return f"At the end {removes}.{keeps}"


def _cost(account: Site, found: dict) -> str:
    if found["ClusterStatus"] == "paused":
        return f"${PRICES['usd_per_gb_month']}/GB-month"
    try:
        return f"${price_of(account, found).hour:.2f}/h"
    except ClusterError:
        return "unknown"


def _verify_absent(account: Site) -> str:
    found = tagged(account)
    snapshots = [name for name in found if name.startswith("snapshot")]
    rest = {name: tags for name, tags in found.items() if name not in snapshots}
    if left := [name for name, tags in rest.items() if account.may_remove(tags)]:
        raise ClusterError(
            f"These still carry the tag cluster={account.identifier}: {', '.join(left)}. Run this "
            "again; if the settings were others when they were made, with those."
        )
    kept = [(name, account.describe(tags)) for name, tags in rest.items()]
    what = "of this run" if kept else f"with the tag cluster={account.identifier}"
    still = f", except for the {', '.join(snapshots)}" if snapshots else ""
    return f"Nothing {what} is left{still}.\n{_describe_kept(kept)}".rstrip()


def tagged(account: Site) -> dict[str, list[dict]]:
    """Return the tags of all that carries ours, by its name, asking each service for it."""
    tags: dict[str, list] = {}
    wanted = {"TagKeys": ["project", "cluster"], "TagValues": [PROJECT, account.identifier]}
    for one in account.ask("redshift", "describe_tags", **wanted)["TaggedResources"]:
        tags.setdefault(one["ResourceName"].split(":", 5)[5], []).append(one["Tag"])
    filters = [{"Name": "tag:cluster", "Values": [account.identifier]}]
    groups = account.ask("ec2", "describe_security_groups", Filters=filters)["SecurityGroups"]
    tags |= {f"security group {group['GroupId']}": group["Tags"] for group in groups}
    roles = account.ask("iam", "list_roles", PathPrefix=f"/{PROJECT}/")["Roles"]
    for name in [role["RoleName"] for role in roles]:
        answer = account.ask("iam", "list_role_tags", ("NoSuchEntity",), RoleName=name)
        tags[f"role {name}"] = (answer or {"Tags": []})["Tags"]
    prefix = f"{account.identifier}-{account.id}-"
    buckets = account.ask("s3", "list_buckets", Prefix=prefix)["Buckets"]
    for name in [bucket["Name"] for bucket in buckets]:
        lacking = ("NoSuchBucket", "NoSuchTagSet")
        own = {"Bucket": name, "ExpectedBucketOwner": account.id}
        answer = account.ask("s3", "get_bucket_tagging", lacking, **own)
        tags[f"bucket {name}"] = (answer or {"TagSet": []})["TagSet"]
    schedule = Schedule(account)
    tags[f"schedule {schedule.name}"] = (schedule.find() or {"Tags": []})["Tags"]
    return {
        re.sub(r"^(\w+?)(group)?:", r"\1 \2 ", name).replace("  ", " "): own
        for name, own in tags.items()
        if account.is_ours(own)
    }


def status(settings: Settings) -> str:
    """Return what carries our tags: since when, in which state, what it has cost, until when."""
    account = Site(settings)
    if settings.db.host:
        return f"The cluster at {settings.db.host} was made elsewhere; look at it there."
    lines = [("target", "redshift"), *_place(account)]
    found = Warehouse(account).find()
    if found and account.is_ours(found["Tags"]):
        lines += _lived(account, found)
    elif found and (lost := _describe_lost(account, found)):
        lines.append(("cluster", lost))
    lines += [("and", name) for name in tagged(account) if not name.startswith("cluster ")]
    if len(lines) == 2:
        lines.append(("", f"nothing with the tag cluster={account.identifier} exists or costs"))
    return labelled(*lines)


def _lived(account: Site, found: dict) -> list[tuple[str, str]]:
    """Return what a cluster is, who created it, what it costs, and when it is to go."""
    now, since = datetime.now(UTC), found.get("ClusterCreateTime") or datetime.now(UTC)
    if found["ClusterStatus"] == "paused":  # nodes cost nothing since
        now = min(now, expiry_of(found["Tags"]) or now)
    hours = (now - since) / timedelta(hours=1)
    nodes = f"{found['NumberOfNodes']} × {found['NodeType']}"
    what = f"{account.identifier}, {nodes}, {found['ClusterStatus']}"
    lines = [("cluster", what), ("", account.name_maker(found["Tags"]))]
    lines.append(("since", f"{since:%Y-%m-%d %H:%M} UTC, {hours:.1f} hours"))
    try:
        price = price_of(account, found)
        spent = f"about ${price.hour * hours:.2f} so far, an estimate: hours by price"
        lines += [("price", str(price)), ("", price.source), ("cost", spent)]
    except ClusterError as error:
        lines.append(("price", str(error)))
    when = _expiry(found["Tags"])
    if _since_expiry(found):
        return [*lines, ("expired", f"{when}; remove it: {remove_command(account.settings)}")]
    then = PAUSED if Schedule(account).find() else "nothing stops it by itself"
    return [*lines, ("expires", f"{when}: {then}")]


def running(settings: Settings) -> str:
    """Return what is still running, who created it, what it costs, and how to remove it; '' when
    nothing does."""
    if settings.db.host:
        return ""
    account = Site(settings)
    found = Warehouse(account).find()
    if not found or not account.is_ours(found["Tags"]):
        return _describe_lost(account, found) if found else ""
    return (
        f"The cluster {account.identifier} ({account.name_maker(found['Tags'])}) is "
        f"{found['ClusterStatus']} in {account.region}{_since_expiry(found)} and costs "
        f"{_cost(account, found)} until it is removed: {remove_command(settings)}"
    )


def _since_expiry(found: dict) -> str:
    """Return the words that a cluster has expired; '' when it has not."""
    over = expiry_of(found["Tags"]) and not upcoming(found["Tags"])
    return f", expired at {_expiry(found['Tags'])}" if over else ""


def endpoint(settings: Settings, account: Site | None = None) -> tuple[str, int]:
    """Return the host and port to connect to. Raises ClusterError when it can't be connected to."""
    if settings.db.host:
        return settings.db.host, settings.db.port
    account = account or Site(settings)
    found = Warehouse(account).needed()
    where, expired = found.get("Endpoint") or {}, _since_expiry(found)
    how = remove_command(settings)
    if found["ClusterStatus"] not in READY or not where.get("Address"):
        remove = f"; or remove it: {how}" if expired else "."
        raise ClusterError(
            f"The cluster {settings.cluster.identifier} is {found['ClusterStatus']}{expired}; run "
            f"01_provision, which brings it up and waits for it{remove}"
        )
    if expired:
        name = settings.cluster.identifier
        account.progress(f"The cluster {name} has {expired.lstrip(', ')}; remove it: {how}")
    return where["Address"], where["Port"]


def role_arn(settings: Settings) -> str:
    """Return the ARN of the role that COPY reads with."""
    return settings.iam_role.arn or copy_role(Site(settings))


def bucket(settings: Settings) -> dict[str, str]:
    """Return what names the bucket for a load's manifests and uploads to S3: it, and its owner."""
    own = Bucket(Site(settings))
    if not (settings.db.host and own.find()):  # or made by hand, as the cluster was
        own.needed()
    return own.named


def credentials(settings: Settings, read_only: bool = False) -> tuple[str, str]:
    """Return a user and a password that last for a quarter of an hour: of [DB] USER, or of the
    reader."""
    answer = Site(settings).ask(
        "redshift",
        "get_cluster_credentials",
        ("ClusterNotFound",),
        DbUser=READER if read_only else settings.db.user,
        DbName=settings.db.name,
        ClusterIdentifier=settings.cluster.identifier,
        AutoCreate=False,
        DurationSeconds=900,
    )
    if not answer:
        raise ClusterError(
            f"There is no cluster {settings.cluster.identifier} in {settings.aws.region}; "
            "run 01_provision first."
        )
    return answer["DbUser"], Secret(answer["DbPassword"])
