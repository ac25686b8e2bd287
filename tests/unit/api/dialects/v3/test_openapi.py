"""The examples callers copy have to work."""

import json

import pytest

from api.dialects.v3.openapi import BODIES, REQUESTS, RESPONSES, document_route
from tests.unit.api.dialects.v3.test_schemas import read


@pytest.mark.parametrize("name", BODIES)
def test_the_example_requests_are_valid(name: str) -> None:
    assert read(REQUESTS[name], BODIES[name]).width == 512
    assert set(REQUESTS[name]) - {"key"} <= {
        field.alias or key for key, field in BODIES[name].model_fields.items()
    }


@pytest.mark.parametrize("name", REQUESTS)
def test_every_route_documents_three_content_types_and_all_responses(name: str) -> None:
    result = document_route(name)
    content_types = result["openapi_extra"]["requestBody"]["content"]
    assert set(content_types) == {
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    }
    assert all(
        "key" in content_type["schema"]["properties"] for content_type in content_types.values()
    )
    assert result["responses"][200]["content"]["application/json"]["examples"].keys() == (
        RESPONSES[name].keys()
    )
    assert json.dumps(result)


def test_the_schema_has_the_limits_of_every_field() -> None:
    result = document_route("inpaint")["openapi_extra"]["requestBody"]["content"]
    fields = result["application/json"]["schema"]["properties"]
    limits = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")
    kept = {
        name: {limit: field[limit] for limit in limits if limit in field}
        for name, field in fields.items()
    }
    assert kept["width"] == {"minimum": 64, "maximum": 1024, "multipleOf": 8}
    assert kept["samples"] == {"minimum": 1, "maximum": 4}
    assert kept["height"] == kept["width"]
    assert kept["priority"] == {"minimum": -100, "maximum": 100}
    assert kept["num_inference_steps"] == {"minimum": 1, "maximum": 51}
    assert kept["guidance_scale"] == {"minimum": 1, "maximum": 20}
    assert kept["strength"] == {"exclusiveMinimum": 0, "maximum": 1}
    assert kept["mask_grow"] == {"minimum": -64, "maximum": 64}
    assert kept["mask_blur"] == {"minimum": 0, "maximum": 64}
    assert fields["mask_padding"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 256}
    assert "DPM++ 2M Karras" in fields["scheduler"]["description"]
    assert fields["seed"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 0,
        "exclusiveMaximum": 2**32,
    }


@pytest.mark.parametrize("name", BODIES)
def test_responses_of_every_kind_are_documented(name: str) -> None:
    statuses = {response["status"] for response in RESPONSES[name].values()}
    assert statuses == {"success", "processing", "failed", "error"}


def test_rate_limit_headers_are_documented_where_jobs_are_made() -> None:
    for name in REQUESTS:
        headers = document_route(name)["responses"][200]["headers"]
        assert ("RateLimit" in headers) == (name in BODIES)
