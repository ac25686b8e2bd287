"""The examples callers copy have to work."""

import json

import pytest
from jsonschema_rs import Draft202012Validator

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
    padding = fields["mask_padding"]["anyOf"][0]
    assert (padding["minimum"], padding["maximum"]) == (0, 256)
    assert "DPM++ 2M Karras" in fields["scheduler"]["description"]
    seed = fields["seed"]["anyOf"][0]
    assert (seed["minimum"], seed["exclusiveMaximum"]) == (-1, 2**32)


@pytest.mark.parametrize(
    ("field", "value", "is_valid"),
    [
        ("width", 512, True),
        ("width", "512", True),
        ("width", None, True),
        ("width", "", True),
        ("width", 513, False),
        ("width", "wide", False),
        ("guidance_scale", "7.5", True),
        ("guidance_scale", 21, False),
        ("safety_checker", "no", True),
        ("safety_checker", "Yes", True),
        ("safety_checker", False, True),
        ("safety_checker", "maybe", False),
        ("seed", "17", True),
        ("seed", None, True),
        ("seed", -1, True),
        ("seed", -2, False),
        ("track_id", "order 17", True),
        ("track_id", 17, True),
        ("prompt", None, False),
        ("prompt", "", False),
    ],
)
def test_fields_are_documented_as_clients_send_them(
    field: str,
    value: object,
    is_valid: bool,  # noqa: FBT001 - a column of the table
) -> None:
    body = document_route("inpaint")["openapi_extra"]["requestBody"]["content"]
    schema = body["application/json"]["schema"]
    assert Draft202012Validator(schema).is_valid({**REQUESTS["inpaint"], field: value}) is is_valid


@pytest.mark.parametrize("name", BODIES)
def test_the_query_string_may_contain_all_fields_but_the_key(name: str) -> None:
    extra = document_route(name)["openapi_extra"]
    (parameter,) = extra["parameters"]
    body = extra["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert parameter["schema"]["properties"].keys() == body.keys() - {"key"}
    assert (parameter["in"], parameter["style"], parameter["explode"]) == ("query", "form", True)


@pytest.mark.parametrize("name", REQUESTS)
def test_the_examples_match_their_schemas(name: str) -> None:
    documented = document_route(name)
    request = documented["openapi_extra"]["requestBody"]["content"]["application/json"]
    Draft202012Validator(request["schema"]).validate(request["example"])
    response = documented["responses"][200]["content"]["application/json"]
    # In the document, the definitions are components.
    schema = json.loads(json.dumps(response["schema"]).replace("#/components/schemas", "#/$defs"))
    for example in response["examples"].values():
        Draft202012Validator(schema).validate(example["value"])


@pytest.mark.parametrize("name", BODIES)
def test_responses_of_every_kind_are_documented(name: str) -> None:
    statuses = {response["status"] for response in RESPONSES[name].values()}
    assert statuses == {"success", "processing", "failed", "error"}


def test_rate_limit_headers_are_documented_where_jobs_are_made() -> None:
    for name in REQUESTS:
        headers = document_route(name)["responses"][200]["headers"]
        assert ("RateLimit" in headers) == (name in BODIES)
