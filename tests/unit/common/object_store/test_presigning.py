from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

from common.object_store.presigning import Presigner

NOW = datetime(2013, 5, 24, 0, 0, 0, tzinfo=UTC)


def make(endpoint: str, bucket: str = "examplebucket") -> Presigner:
    return Presigner(
        endpoint_url=endpoint,
        bucket=bucket,
        region="us-east-1",
        access_key_id="AKIAIOSFODNN7EXAMPLE",
        secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    )


@pytest.mark.parametrize(
    "endpoint", ["https://s3.amazonaws.com", "http://127.0.0.1:9000", "https://r2.example/base/"]
)
@pytest.mark.parametrize("key", ["test.txt", "1/generations/a b+c-0.png", "ä/~ß%.png"])
def test_links_equal_those_of_boto3(
    endpoint: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: NOW.replace(tzinfo=None))
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
        aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )
    theirs = client.generate_presigned_url(
        "get_object", Params={"Bucket": "examplebucket", "Key": key}, ExpiresIn=86400
    )
    assert make(endpoint).link(key, seconds=86400, now=NOW) == theirs


def test_a_new_day_has_a_new_key() -> None:
    kept, fresh = make("https://s3.amazonaws.com"), make("https://s3.amazonaws.com")
    kept.link("a", seconds=1, now=NOW)
    tomorrow = NOW + timedelta(days=1)
    assert kept.link("a", seconds=1, now=tomorrow) == fresh.link("a", seconds=1, now=tomorrow)


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=40))
def test_a_link_of_any_key_is_a_plain_url(key: str) -> None:
    assert make("https://s3.amazonaws.com").link(key, seconds=1, now=NOW).isascii()
