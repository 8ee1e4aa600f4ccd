"""IAM's evaluation of one identity-based policy, as far as docs/iam uses it: Allow statements,
wildcards, and the conditions StringEquals and StringLike, which fail for a key that is not given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from lib import ROOT

PLACES = {  # what docs/redshift.md lets a reader fill in, the longest name first
    "DATA_BUCKET": "*",
    "DATA_REGION": "us-west-2",
    "IDENTIFIER": "sparkify-dwh",
    "DATABASE": "sparkify",
    "ACCOUNT": "123456789012",
    "DB_USER": "dwh_admin",
    "REGION": "us-west-2",
    "ROLE": "sparkify-dwh-copy",
}


def statements(name: str, **places: str) -> list[dict]:
    """Return the statements of docs/iam/`name`.json, filled in."""
    text = (ROOT / "docs" / "iam" / f"{name}.json").read_text()
    for placeholder, value in (PLACES | places).items():
        text = text.replace(placeholder, value)
    return json.loads(text)["Statement"]


def permits(
    policy: Iterable[dict],
    action: str,
    resource: str | None = None,
    context: Mapping[str, str] | None = None,
) -> bool:
    """Whether a statement allows an action; on a resource of any name, in any context, if None."""
    return any(
        _is_listed(action.lower(), map(str.lower, as_list(one["Action"])))
        and (resource is None or _is_listed(resource, as_list(one["Resource"])))
        and (context is None or _is_met(one.get("Condition", {}), context))
        for one in policy
        if one["Effect"] == "Allow"
    )


def as_list(value: str | list[str]) -> list[str]:
    """Return one value or several as a list."""
    return [value] if isinstance(value, str) else value


def _is_listed(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_met(conditions: Mapping, context: Mapping[str, str]) -> bool:
    for operator, keys in conditions.items():
        if operator not in ("StringEquals", "StringLike"):
            raise NotImplementedError(operator)
        for key, wanted in keys.items():
            same = operator == "StringEquals"
            values = [w.replace("*", "[*]") if same else w for w in as_list(wanted)]
            if key not in context or not _is_listed(context[key], values):
                return False
    return True
