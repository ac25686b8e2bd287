import pytest

from api.errors.api_error import MalformedBodyError
from api.jobs.idempotency import request_digest_of
from tests.support.bodies import parse_content

LEVELS = 1000  # the fast parser takes 1,024 of them


async def test_a_field_nested_too_deeply_for_a_digest_is_rejected() -> None:
    body = b'{"unknown": %s%s}' % (b"[" * LEVELS, b"]" * LEVELS)
    fields = await parse_content(body)
    with pytest.raises(MalformedBodyError) as result:
        request_digest_of("inpaint", fields)
    assert result.value.message == "The JSON is nested too deeply."


def test_a_digest_covers_endpoint_and_fields_but_not_the_key() -> None:
    submitted = request_digest_of("inpaint", {"prompt": "a cat", "seed": 5, "key": "one"})
    assert submitted == request_digest_of(
        "inpaint", {"seed": 5, "prompt": "a cat", "key": "another"}
    )
    assert submitted != request_digest_of("img2img", {"prompt": "a cat", "seed": 5})
    assert submitted != request_digest_of("inpaint", {"prompt": "a cat", "seed": 6})
