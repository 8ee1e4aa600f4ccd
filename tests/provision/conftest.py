"""AWS without anything in it, for the tests of provisioning."""

from __future__ import annotations

import pytest


@pytest.fixture
def cloud(aws, monkeypatch):
    """AWS without anything in it, reached by boto3 as its environment says."""
    restore, endpoint = aws.keep(), aws.endpoint  # of the double that other tests use
    aws.reset()
    aws.endpoint = None
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("lib.aws.POLL", 0)
    delay = "botocore.retries.standard.ExponentialBackoff.delay_amount"
    monkeypatch.setattr(delay, lambda *_: 0)
    yield aws
    aws.reset()
    restore()
    aws.endpoint = endpoint
