"""What a cluster costs, by AWS's price list or as known here, and the limit of its price."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lib.aws import AwsError, find_statements, read_code
from lib.aws.account import Account

PRICES = json.loads(Path(__file__).with_name("prices.json").read_text())


@dataclass(frozen=True)
class Price:
    """What a cluster costs per hour in US dollars, and where that comes from."""

    hour: float
    source: str

    def __str__(self) -> str:
        return f"${self.hour:.2f} an hour, ${self.hour * 24:.2f} a day"


def find_price(account: Account, found: dict | None) -> Price:
    """Return the price of the cluster that was found, else of the one that the settings ask for."""
    wanted = account.settings.cluster
    kind, nodes = wanted.node_type, wanted.num_nodes
    if found:
        kind, nodes = found["NodeType"], found["NumberOfNodes"]
    try:
        hour = ask_price(account, kind)
        return Price(hour * nodes, f"verified by the price list API, {datetime.now(UTC):%Y-%m-%d}")
    except (AwsError, LookupError, ValueError) as error:
        why = read_code(error.__cause__) or "no answer"
    if kind not in PRICES["usd_per_node_hour"]:
        raise AwsError(
            f"The price of {kind} could not be asked ({why}), so it can't be compared with "
            "[CLUSTER] MAX_HOURLY_USD; let yourself ask it (statement "
            f"{find_statements('pricing:GetProducts')}), or use ra3.large."
        )
    hour = PRICES["usd_per_node_hour"][kind]
    source = f"bundled price of {PRICES['date']} for us-east-1, unverified (price list: {why})"
    return Price(hour * nodes, source)


def ask_price(account: Account, kind: str) -> float:
    """Return the price of a node per hour. Raises LookupError when the price list lacks it."""
    fields = (
        ("regionCode", account.region),
        ("instanceType", kind),
        ("productFamily", "Compute Instance"),
    )
    filters = [{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in fields]
    listed = account.call("pricing", "get_products", ServiceCode="AmazonRedshift", Filters=filters)
    prices = [
        float(dimension["pricePerUnit"]["USD"])
        for product in map(json.loads, listed["PriceList"])
        for term in product["terms"]["OnDemand"].values()
        for dimension in term["priceDimensions"].values()
        if dimension["unit"] == "Hrs"
    ]
    if not any(prices):
        raise LookupError(kind)
    return max(prices)


def describe_cost(account: Account, found: dict) -> str:
    """Return what a cluster that was found costs, such as "$0.54/h"."""
    if found["ClusterStatus"] == "paused":
        return f"${PRICES['usd_per_gb_month']}/GB-month"
    try:
        return f"${find_price(account, found).hour:.2f}/h"
    except AwsError:
        return "unknown"


def refuse_price(account: Account, price: Price) -> None:
    """Raise AwsError when the price is above [CLUSTER] MAX_HOURLY_USD."""
    most = account.settings.cluster.max_hourly_usd
    if price.hour > most:
        raise AwsError(
            f"The cluster would cost {price} ({price.source}), and [CLUSTER] MAX_HOURLY_USD is "
            f"{most}; choose a smaller NODE_TYPE or NUM_NODES, or raise it."
        )
