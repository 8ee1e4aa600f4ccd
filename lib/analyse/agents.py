"""What people listen on: user agents as platforms and browsers, by ua-parser."""

from __future__ import annotations

from pandas import DataFrame

PARTS = {"platform": "parse_os", "browser": "parse_user_agent"}
UNKNOWN = "unknown"


def by_agent(frame: DataFrame, part: str, least: int) -> DataFrame:
    """Count users, plays and events by platform or browser.

    frame: columns user_agent, user_id ('' when logged out), plays and events, as the analysis
    by_platform gives them.
    `part`: "platform" or "browser", families without versions, such as Windows and Firefox.
    `least`: platforms of fewer users are one row, and so are those not known.
    Returns the columns `part`, users (different people), plays, events and `groups`, how many
    platforms are in the row; the most users first.
    """
    agents = frame["user_agent"].fillna("")
    families = agents.map({agent: _family(agent, part) for agent in agents.unique()})
    people = frame["user_id"].where(frame["user_id"] != "")
    users = people.groupby(families).nunique()
    few = users.index[(users < least) & (users.index != UNKNOWN)]
    label = families.where(~families.isin(few), f"others, under {least} users each").rename(part)
    rows = frame.assign(user_id=people, family=families).groupby(label, as_index=False)
    counts = {"plays": ("plays", "sum"), "events": ("events", "sum")}
    counted = rows.agg(users=("user_id", "nunique"), **counts, groups=("family", "nunique"))
    return counted.sort_values(["users", part], ascending=[False, True], ignore_index=True)


def _family(agent: str, part: str) -> str:
    import ua_parser

    found = getattr(ua_parser, PARTS[part])(agent)
    return found.family if found else UNKNOWN
