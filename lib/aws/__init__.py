"""Call AWS: one cached session and client per account, and each failure as one sentence."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from lib import ROOT, UserError
from lib.config import Aws, Settings

POLICIES = ROOT / "docs" / "iam"
OF_THE_OPERATOR = ("analyse", "load", "provision")  # the policies that a person can hold
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
UNKNOWN = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}
POLL = 1.0  # seconds between two attempts at first; more as time passes
LONGEST_POLL = 15.0
PATIENCE = 45 * 60  # seconds
CLIENTS: dict[tuple, object] = {}  # creating a client takes as long as several calls


class AwsError(UserError):
    """AWS can't be reached, has refused a call, or lacks what is needed."""


def open_session(settings: Settings):
    """Return the boto3 session of [AWS]: its keys, else its profile, else the default chain."""
    relevant = ("AWS_", "HOME")
    environment = tuple(pair for pair in sorted(os.environ.items()) if pair[0].startswith(relevant))
    return _cache_session(settings.aws, environment)


@cache  # a session reads the descriptions of AWS's services once, which takes most of the time
def _cache_session(aws: Aws, environment: tuple):
    import boto3

    keys = {"aws_access_key_id": aws.key, "aws_secret_access_key": aws.secret} if aws.key else {}
    with explain_errors("find your credentials"):
        return boto3.Session(profile_name=aws.profile or None, region_name=aws.region, **keys)


def make_client(settings: Settings, service: str, region: str = "", **config):
    """Return a thread-safe client of an AWS service, which retries when AWS throttles it.

    `region`: that of [AWS] unless given. `config`: options of botocore.config.Config.
    """
    from botocore.config import Config

    region, opened = region or settings.aws.region, open_session(settings)
    key = opened, service, region, repr(sorted(config.items()))
    if key not in CLIENTS:
        defaults = {"retries": {"mode": "adaptive", "max_attempts": 8}, "connect_timeout": 10}
        options = Config(**(defaults | config))
        CLIENTS[key] = opened.client(service, region_name=region, config=options)
    return CLIENTS[key]


@contextmanager
def explain_errors(doing: str) -> Iterator[None]:
    """Turn boto3's exceptions into an AwsError that says which action failed, and why.

    `doing`: the action as an infinitive, such as "create role".
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        if read_code(error) in EXPIRED | UNKNOWN:
            _cache_session.cache_clear()  # the next call sees a new login
        raise AwsError(explain_error(error, doing)) from error


def read_code(error: BaseException | None) -> str:
    """Return AWS's error code, such as ClusterNotFound; '' when there is none."""
    response = getattr(error, "response", None) or {}
    return response.get("Error", {}).get("Code", "")


def explain_error(error: Exception, doing: str) -> str:
    """Return one sentence: what failed while `doing` something in AWS, why, and what to do."""
    from botocore import exceptions as botocore

    if isinstance(error, botocore.ProfileNotFound):
        return f"{error}; name one of ~/.aws/config in [AWS] PROFILE."
    logged_out = isinstance(error, (botocore.TokenRetrievalError, botocore.SSOError))
    if logged_out or read_code(error) in EXPIRED:
        return (
            f"Your AWS session has expired (trying to {doing}); log in again, such as with "
            "aws sso login, then run this again."
        )
    if isinstance(error, (botocore.NoCredentialsError, botocore.PartialCredentialsError)):
        return (
            f"There are no AWS credentials to {doing} with; run aws configure or aws sso login, "
            "or name a profile in [AWS] PROFILE."
        )
    if read_code(error) in UNKNOWN:
        return (
            f"AWS does not know these credentials (trying to {doing}, {read_code(error)}); check "
            "the keys or the profile, and that the region is enabled in your account."
        )
    if read_code(error) in DENIED:
        return f"AWS denied the permission to {doing}: {explain_denial(str(error))}"
    if isinstance(error, botocore.ConnectionError):
        return f"AWS can't be reached to {doing}: {error}; check the network and the region's name."
    return f"AWS refused to {doing}: {error}"


def explain_denial(message: str) -> str:
    """Return which action was denied on which resource, and the policy that would allow it."""
    found = re.search(r"not authorized to perform: (\S+)(?: on resource: (\S+))?", message)
    if not found:
        return f"{message}; compare your permissions with those in docs/iam."
    action, resource = found[1], found[2]
    on = f" on {resource}" if resource else ""
    allowed_by = find_statements(action)
    where = f"statement {allowed_by} has it" if allowed_by else "no policy in docs/iam has it"
    return f"your user or role lacks the action {action}{on}; {where}."


def find_statements(action: str) -> str:
    """Return the policy statements that allow `action`, such as "Bucket of docs/iam/load.json".

    The first statement of each file; '' when no file allows it.
    """
    found = []
    for name in OF_THE_OPERATOR:
        file = POLICIES / f"{name}.json"
        for statement in json.loads(file.read_text())["Statement"]:
            actions = statement["Action"]
            actions = [actions] if isinstance(actions, str) else actions
            if action in actions:
                found.append(f"{statement['Sid']} of {file.relative_to(ROOT)}")
                break
    return " or ".join(found)


class Clock:
    """Wait between attempts, and show from time to time how long it has been and for what."""

    def __init__(self, progress: Callable[[str], object]):
        self.progress, self.start, self.shown, self.shown_at = progress, time.monotonic(), "", 0.0

    def wait(self, what: str) -> None:
        """Wait for some seconds; raise AwsError when it has been too long."""
        seconds = time.monotonic() - self.start
        if seconds > PATIENCE:
            raise AwsError(
                f"Still {what} after {seconds / 60:.0f} minutes; look at it in the AWS console, "
                "then run this again."
            )
        if what != self.shown or seconds - self.shown_at >= 30:
            self.progress(f"{seconds:5.0f} s  {what}")
            self.shown, self.shown_at = what, seconds
        time.sleep(min(POLL * (1 + seconds / 10), LONGEST_POLL))
