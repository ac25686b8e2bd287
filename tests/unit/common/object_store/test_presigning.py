"""Presigned links, compared with those of boto3."""

from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from common.object_store.credentials import AccessKey
from common.object_store.presigning import Presigner

NOW = datetime(2013, 5, 24, 0, 0, 0, tzinfo=UTC)


ACCESS_KEY = AccessKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
OTHER_KEY = AccessKey("ASIAOTHER", "another secret", "a/session+token==")
ENDPOINT = "https://s3.amazonaws.com"
DAY_SECONDS = 86_400


def make(endpoint: str = ENDPOINT, *, virtual: bool = False) -> Presigner:
    return Presigner(
        endpoint_url=endpoint, bucket="examplebucket", region="us-east-1", virtual=virtual
    )


def sign(presigner: Presigner, *, access_key: AccessKey = ACCESS_KEY, now: datetime = NOW) -> str:
    return presigner.link("a", access_key=access_key, seconds=DAY_SECONDS, now=now)


@pytest.mark.parametrize("access_key", [ACCESS_KEY, OTHER_KEY], ids=["fixed", "temporary"])
@pytest.mark.parametrize("style", ["path", "virtual"])
@pytest.mark.parametrize(
    "endpoint", [ENDPOINT, "http://store.example:9000", "https://r2.example/base/"]
)
@pytest.mark.parametrize("key", ["test.txt", "1/generations/a b+c-0.png", "ä/~ß%.png"])
def test_links_equal_those_of_boto3(
    access_key: AccessKey,
    style: Literal["path", "virtual"],
    endpoint: str,
    key: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: NOW.replace(tzinfo=None))
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access_key.key_id,
        aws_secret_access_key=access_key.secret,
        aws_session_token=access_key.token,
        config=Config(signature_version="s3v4", s3={"addressing_style": style}),
    )
    theirs = client.generate_presigned_url(
        "get_object", Params={"Bucket": "examplebucket", "Key": key}, ExpiresIn=DAY_SECONDS
    )
    ours = make(endpoint, virtual=style == "virtual").link(
        key, access_key=access_key, seconds=DAY_SECONDS, now=NOW
    )
    # boto3 adds the token behind the signed parameters, whose order in the URL means nothing.
    assert ours.partition("?")[0] == theirs.partition("?")[0]
    assert parse_qs(urlsplit(ours).query) == parse_qs(urlsplit(theirs).query)


def test_a_new_day_has_a_new_key() -> None:
    kept = make()
    sign(kept)
    tomorrow = NOW + timedelta(days=1)
    assert sign(kept, now=tomorrow) == sign(make(), now=tomorrow)


def test_a_renewed_access_key_has_a_new_key() -> None:
    kept = make()
    sign(kept)
    assert sign(kept, access_key=OTHER_KEY) == sign(make(), access_key=OTHER_KEY)
    assert sign(kept) == sign(make())


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [
        (timedelta(days=7), DAY_SECONDS),
        (timedelta(hours=1), 3600),
        (timedelta(seconds=-5), 1),
    ],
)
def test_a_link_ends_with_temporary_credentials(lifetime: timedelta, seconds: int) -> None:
    """Otherwise it would promise a day, and stop working earlier without a reason in it."""
    expiring = AccessKey("ASIAOTHER", "secret", "token", NOW + lifetime)
    link = sign(make(), access_key=expiring)
    assert parse_qs(urlsplit(link).query)["X-Amz-Expires"] == [str(seconds)]


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_a_link_of_any_key_is_a_plain_url(key: str) -> None:
    assert make().link(key, access_key=ACCESS_KEY, seconds=1, now=NOW).isascii()
