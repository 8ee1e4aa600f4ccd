"""An AWS account and region, with the credentials of [AWS]: every call to AWS goes through it."""

from __future__ import annotations

from collections.abc import Callable

from lib import aws
from lib.aws import AwsError
from lib.aws.ownership import Ownership
from lib.config import Settings


class Account(Ownership):
    """An account and a region of AWS, with the credentials of [AWS].

    `run`, `everything`: as for Ownership.
    `progress`: called with one line at a time while something is waited for.
    Raises AwsError when [AWS] ACCOUNT names another account than the credentials.
    """

    def __init__(
        self,
        settings: Settings,
        progress: Callable[[str], object] = print,
        run: str = "",
        everything: bool = False,
    ):
        self.settings, self.progress = settings, progress
        super().__init__(settings, self.call("sts", "get_caller_identity"), run, everything)
        if settings.aws.account not in ("", self.id):
            raise AwsError(
                f"These credentials are of account {self.id}, and [AWS] ACCOUNT is "
                f"{settings.aws.account}; choose another PROFILE or log in to that account."
            )

    def call(self, service: str, operation: str, passing: tuple = (), slow: str = "", **arguments):
        """Call AWS and return its answer; None when it is an error whose code is in `passing`.

        `slow`: words of an error that AWS gives while another change is still under way; the call
        is then repeated.
        """
        from botocore.exceptions import ClientError

        doing, clock = operation.replace("_", " "), aws.Clock(self.progress)
        while True:
            with aws.explain_errors(doing):
                try:
                    return getattr(self._get_client(service), operation)(**arguments)
                except ClientError as error:
                    if aws.read_code(error) in passing:
                        return None
                    if not slow or slow not in str(error):
                        raise
            clock.wait(f"waiting to {doing}")

    def check_login(self) -> None:
        """Raise AwsError when the credentials have become those of another account."""
        now = self.call("sts", "get_caller_identity")["Account"]
        if now != self.id:
            raise AwsError(
                f"The credentials are now of account {now}, and the plan was for {self.id}; "
                "nothing was changed. Log in to that account again."
            )

    def _get_client(self, service: str):
        if service == "pricing":  # in this region only; without an answer there is another price
            brief = {"retries": {"max_attempts": 1}, "connect_timeout": 3, "read_timeout": 5}
            return aws.make_client(self.settings, service, "us-east-1", **brief)
        region = self.settings.data.region if service == "s3" else ""
        return aws.make_client(self.settings, service, region)
