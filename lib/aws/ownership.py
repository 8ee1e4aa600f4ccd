"""Whose a resource in AWS is: ours when it carries our tags, which its creation sets.

What has the same name without them is never adopted, changed or deleted.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property

from lib.aws import AwsError
from lib.config import Settings

PROJECT = "sparkify-dwh"
FOREIGN = "not ours"  # the state of a resource that lacks our tags


class Ownership:
    """The tags of this project's cluster and of this run, and what they allow.

    `identity`: AWS's answer to GetCallerIdentity. `run`: the name of the run that asks, '' for a
    notebook that a person steps through. `everything`: what other runs of this project created may
    be removed too.
    """

    def __init__(self, settings: Settings, identity: dict, run: str, everything: bool):
        self.settings, self.everything = settings, everything
        self.region, self.identifier = settings.aws.region, settings.cluster.identifier
        self.id, self.partition = identity["Account"], identity["Arn"].split(":")[1]
        self.required_tags = {"project": PROJECT, "cluster": self.identifier, "region": self.region}
        owner = name_owner(identity["Arn"])
        self.owner_tags = {"owner": owner, "run": clean_tag(run) or "interactive"}

    @cached_property
    def expires(self) -> datetime:
        """When everything that is created now expires."""
        return datetime.now(UTC) + timedelta(hours=self.settings.cluster.expires_hours)

    @property
    def tags(self) -> list[dict]:
        """The tags of everything that is created now."""
        tags = self.required_tags | self.owner_tags
        tags["expires"] = f"{self.expires:%Y-%m-%dT%H:%MZ}"
        return [{"Key": key, "Value": value} for key, value in tags.items()]

    def is_ours(self, tags: list[dict]) -> bool:
        """Whether the tags are those of this project's cluster of that name in this region."""
        return self.required_tags.items() <= read_tags(tags).items()

    def format_tags(self) -> str:
        """Return the tags that make a resource ours, as KEY=value with commas between."""
        return ", ".join(f"{key}={value}" for key, value in self.required_tags.items())

    def is_of_this_run(self, tags: list[dict]) -> bool:
        """Whether this run created what has the tags."""
        return self.is_ours(tags) and self.owner_tags.items() <= read_tags(tags).items()

    def may_remove(self, tags: list[dict]) -> bool:
        """Whether what has the tags is this run's, or ours where everything may be removed."""
        return self.is_of_this_run(tags) or (self.everything and self.is_ours(tags))

    def describe_owner(self, tags: list[dict]) -> str:
        """Return who created what has the tags, such as "of run 1 by user/ann"."""
        named = {"run": "unknown", "owner": "unknown"} | read_tags(tags)
        region = named.get("region")
        if not (self.required_tags | {"region": region}).items() <= named.items():
            return FOREIGN
        elsewhere = "" if region == self.region else f" in [AWS] REGION {region}"
        return f"of run {named['run']} by {named['owner']}{elsewhere}"

    def describe(self, tags: list[dict]) -> str:
        """Return "of this run", else who created what has the tags."""
        return "of this run" if self.is_of_this_run(tags) else self.describe_owner(tags)

    def refuse_foreign(self, kind: str, name: str, found: dict | None) -> dict | None:
        """Return a resource that was looked for; raise AwsError when it lacks our tags."""
        if found and not self.is_ours(found["Tags"]):
            key = "[IAM_ROLE] NAME" if kind == "role" else "[CLUSTER] IDENTIFIER"
            raise AwsError(
                f"The {kind} {name} in account {self.id} belongs to somebody else (it lacks the "
                f"tags {self.format_tags()}) and is left alone; choose another {key}."
            )
        return found

    def require(self, kind: str, name: str, found: dict | None) -> dict:
        """Return a resource that was looked for; raise AwsError when it is missing or foreign."""
        if not self.refuse_foreign(kind, name, found):
            raise AwsError(
                f"There is no {kind} {name} in account {self.id}, region {self.region}; "
                "run 01_provision first."
            )
        return found


def read_tags(tags: list[dict]) -> dict[str, str]:
    """Return AWS's list of tags as a mapping."""
    return {tag["Key"]: tag["Value"] for tag in tags}


def clean_tag(text: str) -> str:
    """Return `text` with what a tag can't hold replaced, and without blanks; its end if long."""
    return re.sub(r"[^\w+=.:/@-]", "_", text)[-256:]


def name_owner(arn: str) -> str:
    """Return whom an ARN names, such as user/ann or assumed-role/Admin/ann@example.com.

    For a session that a client named after the time (botocore-session-1764000000), which has a
    new name in each process, return the role alone.
    """
    who = arn.split(":", 5)[5]
    return clean_tag(re.sub(r"^(assumed-role/.+)/[\w-]*\d{10}$", r"\1", who))


def read_expiry(tags: list[dict]) -> datetime | None:
    """Return when what has the tags expires; None when the tags have no valid time."""
    with suppress(ValueError):
        expiry = datetime.fromisoformat(read_tags(tags).get("expires", ""))
        return expiry if expiry.tzinfo else expiry.replace(tzinfo=UTC)  # as a person may write it
    return None


def find_next_expiry(tags: list[dict]) -> datetime | None:
    """Return when what has the tags will expire; None when that is past or unknown."""
    expiry = read_expiry(tags)
    return expiry if expiry and expiry > datetime.now(UTC) else None


def has_expired(tags: list[dict]) -> bool:
    """Whether what has the tags has expired."""
    return bool(read_expiry(tags)) and not find_next_expiry(tags)


def format_expiry(tags: list[dict]) -> str:
    """Return when what has the tags expires, such as "2026-11-24 10:00 UTC", or "never"."""
    expiry = read_expiry(tags)
    return f"{expiry.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if expiry else "never"
