"""Creation and removal that are killed after every single call converge when they are repeated."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from lib import ROOT
from lib.provision import redshift
from tests.provision.helpers import (
    BUCKET,
    CIDR,
    DATA,
    NAMES,
    OTHERS,
    actions,
    described,
    made,
    place,
    rules,
    silent,
)
from tests.standin.aws import Aws

WORKER = r"""
import os, sys, traceback
from lib import aws, config
from lib.provision import redshift
aws.POLL = 0
given = dict(pair.split("=", 1) for pair in sys.argv[1:])
settings = config.read_settings("dwh.cfg.example", environ={}, **given)
made = {}
for service in ("sts", "redshift", "ec2", "iam", "s3", "pricing"):
    made[service] = aws.make_client(settings, service)  # of one region, not connected
aws.make_client = lambda settings, service, *_, **__: made[service]
while kind := os.read(0, 1):
    pid = os.fork()
    if not pid:
        os.read(0, 1)  # until the cloud knows whom to kill
        try:
            plan = {b"c": redshift.plan_creation, b"r": redshift.plan_removal}[kind](settings, len)
            plan.apply(True)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.write(1, b"%d\n" % pid)
    os.write(1, b"%d\n" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


class Worker:
    """A warm process that forks one child for each creation or removal."""

    def __init__(self, cloud: Aws, settings: dict):
        self.cloud = cloud
        given = [f"{key}={value}" for key, value in settings.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *given],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd=ROOT,
            env=os.environ | cloud.environment,
        )

    def run(self, kind: bytes, kill_after: int = 0) -> int:
        """Return the exit code of a creation (c) or removal (r), killed after so many calls."""
        self.process.stdin.write(kind)
        self.cloud.victim = int(self.process.stdout.readline())
        self.cloud.kill_after = len(self.cloud.calls) + kill_after if kill_after else 0
        self.process.stdin.write(b"!")
        code = int(self.process.stdout.readline())
        self.cloud.kill_after = 0  # that process is no more
        return code

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def worker(cloud):
    worker = Worker(cloud, {"target": "redshift", "client_cidr": CIDR} | DATA)
    yield worker
    worker.stop()


def settle(cloud: Aws) -> dict:
    """Create what is somebody else's, and return all that is known of it."""
    for kind in NAMES:
        name = "payroll-bucket" if kind == "bucket" else "payroll"
        place(cloud, kind, name, OTHERS)
    for _ in range(4):
        cloud.client("redshift").describe_clusters(ClusterIdentifier="payroll")
    return cloud.inventory()


def walk(worker: Worker, kind: bytes, start: Callable[[], None]) -> Iterator[int]:
    """Again and again `start`, a run killed after one call, and a whole run: yield the number of
    that call, for each call that changes something.

    A kill after another call leaves what the kill before it left.
    """
    start()
    worker.cloud.changing_calls = []
    assert worker.run(kind) == 0
    for number in worker.cloud.changing_calls:
        start()
        assert worker.run(kind, kill_after=number) == -signal.SIGKILL
        assert worker.run(kind) == 0, f"killed after {number}"
        yield number


def test_creation_killed_after_any_call_converges_when_repeated(cloud, worker):
    ours, theirs, number = set(NAMES.items()), settle(cloud), 0
    for number in walk(worker, b"c", cloud.keep()):
        found = cloud.inventory()
        assert found.keys() == theirs.keys() | ours, f"killed after {number}"
        assert theirs.items() <= found.items(), f"killed after {number}"
        assert rules(cloud) == [("tcp", 5439, 5439, CIDR)]
        assert described(cloud)["ClusterStatus"] == "available"
    assert number > 40  # the last call that changes something
    assert set(actions(redshift.plan_creation(made(), silent)).values()) == {"keep"}


def test_removal_killed_after_any_call_converges_when_repeated(cloud, worker):
    theirs, number = settle(cloud), 0
    assert worker.run(b"c") == 0
    cloud.client("s3").put_object(Bucket=BUCKET, Key="loads/manifest", Body=b"{}")
    for number in walk(worker, b"r", cloud.keep()):
        assert cloud.inventory() == theirs, f"killed after {number}"
    assert number > 30
    assert cloud.inventory() == theirs
