"""Who asks AWS, and what is said when it refuses: one session, one sentence for each failure."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import cache

from lib import ROOT, UserError
from lib.config import Aws, Settings

POLICIES = ROOT / "docs" / "iam"  # what the operator may do, one JSON file a role
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
POLL = 1.0  # seconds between two looks at first; longer the longer it takes
LONGEST = 15.0
PATIENCE = 45 * 60  # seconds after which waiting is given up
UNKNOWN = {
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
CLIENTS: dict[tuple, object] = {}  # making one takes as long as several calls
DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}


class AwsError(UserError):
    """AWS can't be asked, or has refused."""


def session(settings: Settings):
    """Return the boto3 session of [AWS]: its keys, else its profile, else the default chain."""
    ours = ("AWS_", "HOME")
    environment = tuple(pair for pair in sorted(os.environ.items()) if pair[0].startswith(ours))
    return _session(settings.aws, environment)


@cache  # one session reads AWS's descriptions of its services once, which takes most of the time
def _session(aws: Aws, environment: tuple):
    import boto3

    keys = {"aws_access_key_id": aws.key, "aws_secret_access_key": aws.secret} if aws.key else {}
    with asking("find your credentials"):
        return boto3.Session(profile_name=aws.profile or None, region_name=aws.region, **keys)


def client(settings: Settings, service: str, region: str = "", **config):
    """Return a client of an AWS service that retries what is throttled; threads can share it.

    `region`: that of [AWS] unless given. `config`: as of botocore.config.Config.
    """
    from botocore.config import Config

    region, used = region or settings.aws.region, session(settings)
    key = used, service, region, repr(sorted(config.items()))
    if key not in CLIENTS:
        retried = {"retries": {"mode": "adaptive", "max_attempts": 8}, "connect_timeout": 10}
        about = Config(**(retried | config))
        CLIENTS[key] = used.client(service, region_name=region, config=about)
    return CLIENTS[key]


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Turn what boto3 raises within into an AwsError that says what `doing` failed, and why."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        if code(error) in EXPIRED | UNKNOWN:
            _session.cache_clear()  # so that a new login is seen
        raise AwsError(sentence(error, doing)) from error


def code(error: Exception) -> str:
    """Return AWS's own code for an error, such as ClusterNotFound; '' when it has none."""
    response = getattr(error, "response", None) or {}
    return response.get("Error", {}).get("Code", "")


def sentence(error: Exception, doing: str) -> str:
    """Return what happened while `doing` something in AWS, and what to do about it."""
    from botocore import exceptions as botocore

    if isinstance(error, botocore.ProfileNotFound):
        return f"{error}; name one of ~/.aws/config in [AWS] PROFILE."
    if isinstance(error, (botocore.TokenRetrievalError, botocore.SSOError)) or (
        code(error) in EXPIRED
    ):
        return (
            f"Your AWS session has expired (trying to {doing}); log in again, such as with "
            "aws sso login, then run this again."
        )
    if isinstance(error, (botocore.NoCredentialsError, botocore.PartialCredentialsError)):
        return (
            f"There are no AWS credentials to {doing} with; run aws configure or aws sso login, "
            "or name a profile in [AWS] PROFILE."
        )
    if code(error) in UNKNOWN:
        return (
            f"AWS does not know these credentials (trying to {doing}, {code(error)}); check the "
            "keys or the profile, and that the region is enabled in your account."
        )
    if code(error) in DENIED:
        return f"AWS has denied to {doing}: {denial(str(error))}"
    if isinstance(error, botocore.ConnectionError):
        return f"AWS can't be reached to {doing}: {error}; check the network and the region's name."
    return f"AWS refused to {doing}: {error}"


def denial(message: str) -> str:
    """Return which action was denied on what, and the policy statement that would allow it."""
    found = re.search(r"not authorized to perform: (\S+)(?: on resource: (\S+))?", message)
    if not found:
        return f"{message}; compare your permissions with those in docs/iam."
    action, resource = found[1], found[2]
    on = f" on {resource}" if resource else ""
    allowed_by = statement_for(action)
    where = f"statement {allowed_by} has it" if allowed_by else "no policy in docs/iam has it"
    return f"your user or role lacks the action {action}{on}; {where}."


def statement_for(action: str) -> str:
    """Return "Sid of docs/iam/FILE.json" for each file with a statement that allows `action`, the
    first of it; '' for none."""
    found = []
    for file in sorted(POLICIES.glob("*.json")):
        if file.stem in ("boundary", "provision-without-role"):
            continue  # the one allows nothing by itself, the other only what provision.json has
        for statement in json.loads(file.read_text())["Statement"]:
            actions = statement["Action"]
            actions = [actions] if isinstance(actions, str) else actions
            if any(fnmatchcase(action.lower(), allowed.lower()) for allowed in actions):
                found.append(f"{statement['Sid']} of {file.relative_to(ROOT)}")
                break
    return " or ".join(found)


class Account:
    """An account and a region of AWS, asked and written to as the settings say.

    Before every write the account is compared with the one that this was made with.
    """

    def __init__(self, settings: Settings, progress: Callable[[str], object] = print):
        self.settings, self.progress = settings, progress
        identity = self.ask("sts", "get_caller_identity")
        self.id, self.arn = identity["Account"], identity["Arn"]
        self.partition = self.arn.split(":")[1]
        self.region, self.identifier = settings.aws.region, settings.cluster.identifier
        if settings.aws.account not in ("", self.id):
            raise AwsError(
                f"These credentials are of account {self.id}, and [AWS] ACCOUNT is "
                f"{settings.aws.account}; choose another PROFILE or log in to that account."
            )

    def ask(self, service: str, operation: str, absent: tuple = (), **arguments):
        """Return AWS's answer; None when its error is one of the codes `absent`."""
        from botocore.exceptions import ClientError

        with asking(operation.replace("_", " ")):
            try:
                return getattr(self._client(service), operation)(**arguments)
            except ClientError as error:
                if code(error) in absent:
                    return None
                raise

    def write(self, service: str, operation: str, passing=(), slow: str = "", **arguments):
        """Change something, in the planned account only.

        `passing`: codes of errors that mean it is done already. `slow`: words of an error that
        AWS gives while it is letting go of something, after which it is tried again.
        """
        clock = Clock(self.progress)
        while True:
            self._compare()
            try:
                return self.ask(service, operation, passing, **arguments)
            except AwsError as error:
                if not slow or slow not in str(error.__cause__):
                    raise
                clock.wait(f"waiting to {operation.replace('_', ' ')}")

    def _compare(self) -> None:
        now = self.ask("sts", "get_caller_identity")["Account"]
        if now != self.id:
            raise AwsError(
                f"The credentials are of account {now} by now, and the plan was for {self.id}; "
                "nothing was changed since. Log in to that account again."
            )

    def _client(self, service: str):
        regions = {"s3": self.settings.data.region, "pricing": "us-east-1"}
        brief = {"retries": {"max_attempts": 1}, "connect_timeout": 3, "read_timeout": 5}
        about = brief if service == "pricing" else {}
        return client(self.settings, service, regions.get(service, ""), **about)


class Clock:
    """Waits between two looks and says, now and then, how long it has been and for what."""

    def __init__(self, progress: Callable[[str], object]):
        self.progress, self.start, self.said, self.said_at = progress, time.monotonic(), "", 0.0

    def wait(self, what: str) -> None:
        """Wait a little; raise AwsError when it has been too long."""
        seconds = time.monotonic() - self.start
        if seconds > PATIENCE:
            raise AwsError(
                f"Still {what} after {seconds / 60:.0f} minutes; look at it in the AWS console, "
                "then run this again."
            )
        if what != self.said or seconds - self.said_at >= 30:
            self.progress(f"{seconds:5.0f} s  {what}")
            self.said, self.said_at = what, seconds
        time.sleep(min(POLL * (1 + seconds / 10), LONGEST))
