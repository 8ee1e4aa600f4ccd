"""What is said when AWS can't be asked or refuses: what was tried, why not, and what to do."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ProfileNotFound,
)

from lib import ROOT, aws, config

USER = "User: arn:aws:iam::123456789012:user/analyst is not authorized to perform:"


def settings(**overrides) -> config.Settings:
    return config.read_settings(ROOT / "dwh.cfg.example", environ={}, **overrides)


def refusal(code: str, message: str = "") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "CreateRole")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ProfileNotFound(profile="dwh"), r"\(dwh\) could not be found; name one of ~/.aws/config"),
        (NoCredentialsError(), "no AWS credentials to create a role with; run aws configure or"),
        (refusal("ExpiredToken"), r"has expired \(trying to create a role\); log in again"),
        (refusal("RequestExpired"), "has expired"),
        (refusal("InvalidClientTokenId"), "does not know these credentials .*check the keys"),
        (refusal("SignatureDoesNotMatch"), "does not know these credentials"),
        (EndpointConnectionError(endpoint_url="https://iam"), "can't be reached to create a role"),
        (refusal("LimitExceeded", "too many"), "AWS refused to create a role: .*too many"),
        (
            refusal("AccessDenied", f"{USER} iam:CreateRole on resource: arn:aws:iam::1:role/x"),
            r"lacks the action iam:CreateRole on arn:aws:iam::1:role/x; "
            r"statement CreateRole of docs/iam/provision.json has it\.",
        ),
        (
            refusal("AccessDenied", f"{USER} iam:CreateUser because no policy allows it"),
            r"lacks the action iam:CreateUser; no policy in docs/iam has it\.",
        ),
        (refusal("AccessDenied", "Access Denied"), "compare your permissions with those in docs"),
    ],
)
def test_an_error_becomes_one_sentence_with_what_to_do(error, words):
    with pytest.raises(aws.AwsError, match=words) as failed, aws.explain_errors("create a role"):
        raise error
    assert failed.value.__cause__ is error
    assert "\n" not in str(failed.value)


def test_keys_of_the_configuration_come_before_everything_else(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-the-environment")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-environment")
    own = aws.open_session(settings(aws__key="mine", aws__secret="also mine")).get_credentials()
    assert (own.access_key, own.secret_key) == ("mine", "also mine")
    assert aws.open_session(settings()).get_credentials().access_key == "of-the-environment"


def test_a_new_login_is_seen_after_an_expired_one(monkeypatch, tmp_path):
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    keys = "[default]\naws_access_key_id = {0}\naws_secret_access_key = {0}\n"
    file.write_text(keys.format("old"))
    assert aws.open_session(settings()).get_credentials().access_key == "old"
    file.write_text(keys.format("new"))
    with pytest.raises(aws.AwsError), aws.explain_errors("look"):
        raise refusal("ExpiredToken")
    assert aws.open_session(settings()).get_credentials().access_key == "new"


def test_a_client_asks_in_the_region_of_the_settings():
    own = {"aws__key": "mine", "aws__secret": "mine"}
    assert aws.make_client(settings(aws__region="eu-west-1", **own), "sts").meta.region_name == (
        "eu-west-1"
    )
    assert aws.make_client(settings(**own), "s3", "us-east-1").meta.region_name == "us-east-1"


def test_waiting_says_a_thing_once_and_again_after_half_a_minute(monkeypatch):
    now, said = [0.0], []
    monkeypatch.setattr(aws.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(aws.time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    clock = aws.Clock(said.append)
    while now[0] < 70:
        clock.wait("dwh is creating")
    assert said[0].strip() == "0 s  dwh is creating"
    assert len(said) == 3
    clock.wait("dwh is available")
    assert said[-1].endswith("dwh is available")
