"""Access keys from the settings and from boto3's credential chain."""

import boto3
import pytest
from pydantic import SecretStr

from common.domain.errors import ConfigurationError
from common.object_store.credentials import AccessKey, AccessKeys
from common.settings import StorageSettings

GIVEN = {"access_key_id": "id", "secret_access_key": SecretStr("secret")}


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the credentials of the machine that runs the tests."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")


def access_keys(**given: object) -> AccessKeys:
    return AccessKeys(boto3.session.Session(), StorageSettings.model_validate(given))


def test_keys_of_the_settings_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "theirs")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "theirs")
    keys = access_keys(**GIVEN, session_token=SecretStr("token"))
    assert keys.read() == AccessKey("id", "secret", "token")
    assert not keys.is_refresh_needed()


def test_keys_of_the_environment_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
    assert access_keys().read() == AccessKey("id", "secret", "token")


def test_missing_credentials_are_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match=r"INFILL_S3_ACCESS_KEY_ID.*AWS_ACCESS_KEY_ID"):
        access_keys()


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(AccessKey("id", "secret", "secret token"))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"access_key_id": "id"}, "INFILL_S3_SECRET_ACCESS_KEY"),
        ({"secret_access_key": "secret"}, "INFILL_S3_ACCESS_KEY_ID"),
        ({"session_token": "token"}, "INFILL_S3_SESSION_TOKEN"),
        ({"addressing_style": "virtual", "bucket": "a.b"}, "bucket of lower-case letters"),
        ({"addressing_style": "virtual", "endpoint_url": "http://127.0.0.1:9000"}, "host name"),
        (
            {"addressing_style": "virtual", "presigned_endpoint_url": "https://[2001:db8::1]"},
            "host name",
        ),
        ({"addressing_style": "auto"}, "INFILL_S3_ADDRESSING_STYLE"),
    ],
)
def test_contradictory_settings_are_rejected(given: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as caught:
        StorageSettings(**given)  # type: ignore[arg-type] # as the environment has them
    assert "'secret'" not in f"{caught.value.message} {caught.value.__cause__}"
