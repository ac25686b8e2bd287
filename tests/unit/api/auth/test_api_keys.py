import pytest

from api.auth.api_keys import find_field_key, find_header_key
from tests.support.requests import make_request


@pytest.mark.parametrize(
    ("fields", "headers", "key"),
    [
        ({"key": " abc "}, {}, "abc"),
        ({"key": ""}, {"key": "abc"}, "abc"),
        ({}, {"authorization": "Bearer abc"}, "abc"),
        ({}, {"authorization": "bearer  abc"}, "abc"),
        ({"key": "body"}, {"key": "header", "authorization": "Bearer token"}, "body"),
        ({"key": 5}, {"authorization": "Bearer abc"}, "abc"),
        ({"key": " "}, {}, None),
        ({}, {"authorization": "Basic abc"}, None),
        ({}, {}, None),
    ],
)
def test_a_key_is_found_in_body_header_or_bearer_token(
    fields: dict[str, object], headers: dict[str, str], key: str | None
) -> None:
    assert (find_field_key(fields) or find_header_key(make_request(**headers))) == key
