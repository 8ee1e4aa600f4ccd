"""AWS without anything in it, for the tests of provisioning."""

from __future__ import annotations

import pytest

from lib import aws
from tests.standin.aws import Aws


@pytest.fixture(scope="module")
def started():
    with Aws() as cloud:
        yield cloud


@pytest.fixture
def cloud(started, monkeypatch):
    """AWS without anything in it, reached by boto3 as its environment says."""
    started.reset()
    for name, value in started.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(aws, "POLL", 0)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", no_delay)
    return started


def no_delay(*_) -> float:
    return 0
