"""Creation and removal that are cut off after any change converge when they are repeated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import pytest
from botocore.client import BaseClient

from lib.provision import redshift
from tests.provision.helpers import (
    BUCKET,
    CIDR,
    NAMES,
    OTHERS,
    actions,
    create,
    described,
    made,
    place,
    remove,
    rules,
    silent,
)
from tests.standin.aws import Aws, is_write


class Killed(BaseException):
    """Ends what runs as SIGKILL does: no `except Exception` catches it."""


@pytest.fixture
def killed(cloud, monkeypatch):
    """End what runs after its nth change of the account; return whether it came so far."""
    make_call = BaseClient._make_api_call

    def run(do: Callable[[], str], last: int) -> bool:
        changes = 0

        def call(client, operation, parameters):
            nonlocal changes
            if changes < last:  # after that, what cleans up can't call either
                answer = make_call(client, operation, parameters)
                changes += is_write(f"service:{operation}")
            if changes == last:
                raise Killed
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(BaseClient, "_make_api_call", call)
            with suppress(Killed):
                do()
        return changes == last

    return run


def settle(cloud: Aws) -> dict:
    """Create what is somebody else's, and return all that is known of it."""
    for kind in NAMES:
        name = "payroll-bucket" if kind == "bucket" else "payroll"
        place(cloud, kind, name, OTHERS)
    for _ in range(4):
        cloud.client("redshift").describe_clusters(ClusterIdentifier="payroll")
    return cloud.inventory()


def walk(killed, do: Callable[[], str], start: Callable[[], None]) -> Iterator[int]:
    """Again and again `start`, a run that is cut off after one change, and a whole run: yield the
    number of that change. A run that is cut off elsewhere leaves what one of these leaves."""
    for number in count(1):
        start()
        if not killed(do, number):
            return
        do()
        yield number


def test_creation_killed_after_any_change_converges_when_repeated(cloud, killed):
    ours, theirs, number = set(NAMES.items()), settle(cloud), 0
    restore, bucket = cloud.keep(), ("bucket", BUCKET)
    create()

    def show_bucket() -> str:
        return re.sub(r"[\d-]+T\d\d:\d\dZ", "", cloud.inventory()[bucket])

    whole = show_bucket()
    for number in walk(killed, create, restore):
        found = cloud.inventory()
        assert found.keys() == theirs.keys() | ours, f"killed after {number}"
        assert theirs.items() <= found.items(), f"killed after {number}"
        assert show_bucket() == whole, f"killed after {number}"
        assert rules(cloud) == [("tcp", 5439, 5439, CIDR)]
        assert described(cloud)["ClusterStatus"] == "available"
    assert number > 8
    assert set(actions(redshift.plan_creation(made(), silent)).values()) == {"keep"}


def test_removal_killed_after_any_change_converges_when_repeated(cloud, killed):
    theirs, number = settle(cloud), 0
    create()
    restore = cloud.keep()

    def start():
        restore()
        cloud.client("s3").put_object(Bucket=BUCKET, Key="loads/manifest", Body=b"{}")

    for number in walk(killed, remove, start):
        assert cloud.inventory() == theirs, f"killed after {number}"
    assert number > 5
