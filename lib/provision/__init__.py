"""What a target needs to exist: the plan of creating it, the plan of removing it, its status.

A plan is shown before it is applied. On `local` creating is free and done at once; removing, and
anything on `redshift`, is done only when confirmed.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from lib import UserError, warehouse
from lib.config import Settings
from lib.provision import local, redshift
from lib.provision.plan import Plan


def plan_creation(settings: Settings, run: str = "") -> Plan:
    """Return the plan of creating what the target lacks: a database or a cluster, the sample.

    `run`: the name of the run that is to own it; empty for a notebook that a person steps through.
    Raises WarehouseError when the database file is not ours, AwsError when something can't be
    created or AWS refuses.
    """
    data = local.plan_data(settings)
    if settings.dwh.target == "redshift":
        plan = redshift.plan_creation(settings, run=run)
        return replace(plan, steps=(*data, *plan.steps))
    return Plan("local", (local.plan_database(settings), *data))


def plan_removal(settings: Settings, run: str = "", everything: bool = False) -> Plan:
    """Return the plan of removing what the project made: the database or cluster, the sample.

    `run`: on `redshift` only what that run created is removed, unless `everything` is.
    Raises ProvisionError when the database file holds tables that this project did not make.
    """
    if settings.dwh.target == "redshift":
        return redshift.plan_removal(settings, run=run, everything=everything)
    return local.plan_removal(settings)


def describe_end(settings: Settings, run: str, keep: bool, everything: bool) -> str:
    """Return what the run removes from AWS at its end and what it keeps; '' on `local`.

    `keep`: the end removes nothing. `everything`: it removes also what other runs created.
    """
    if settings.dwh.target != "redshift" or settings.db.host:
        return ""
    return redshift.describe_end(settings, run, keep, everything)


def describe_status(settings: Settings) -> str:
    """Return what exists of the target, what it costs, and what was loaded into it.

    Raises WarehouseError, with all that can be said, when the warehouse can't be opened.
    """
    if settings.dwh.target == "redshift":
        text, exists = redshift.describe_status(settings), bool(redshift.describe_running(settings))
    else:
        text, exists = local.describe_database(settings), settings.database.exists()
    return _add_loaded(text, settings) if exists else text


def _add_loaded(text: str, settings: Settings) -> str:
    try:
        with closing(warehouse.connect(settings, read_only=True)) as opened:
            return "\n  ".join([text, *opened.summary()])
    except UserError as error:  # of the warehouse, or of AWS when the cluster is paused
        raise warehouse.WarehouseError(f"{text}\n  {error}") from None
