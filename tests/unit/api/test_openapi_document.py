"""The OpenAPI document is valid, complete, and describes the rules that the gateway checks."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from api.app import create_app
from api.documentation.document import correct_document
from api.documentation.page import PAGE_PATH
from common.settings import GatewaySettings, Settings

NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
UNDOCUMENTED = ("/openapi.json", PAGE_PATH)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    settings = Settings()
    settings.gateway = GatewaySettings(api_key_pepper="pepper of the unit tests")
    return create_app(settings)


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def references(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from references(item)
    elif isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for item in part.values():
            yield from references(item)


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_reference_names_a_component(document: dict[str, Any]) -> None:
    components = document["components"]["schemas"]
    named = set(references(document))
    assert {"#/components/schemas/V3Success", "#/components/schemas/Problem"} <= named
    assert named <= {f"#/components/schemas/{name}" for name in components}
    assert set(components) <= {reference.rpartition("/")[2] for reference in named}
    assert "$defs" not in str(document)


def test_exactly_the_routes_are_documented(app: FastAPI, document: dict[str, Any]) -> None:
    served = {
        (method, route.path)
        for route in app.router.routes
        if isinstance(route, Route)
        for method in route.methods or ()
        if not route.path.startswith(UNDOCUMENTED)
    }
    documented = {
        (method.upper(), path) for path, methods in document["paths"].items() for method in methods
    }
    assert served == documented
    assert all(isinstance(route, Route) for route in app.router.routes)


def test_every_response_has_a_schema(document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                if status != "204":
                    (content,) = list(response["content"].values())[:1]
                    assert content["schema"], (path, status)


def test_the_metrics_are_text(document: dict[str, Any]) -> None:
    responses = document["paths"]["/metrics"]["get"]["responses"]
    assert responses["200"]["content"] == {"text/plain": {"schema": {"type": "string"}}}


@pytest.mark.parametrize(
    ("path", "method", "status", "headers"),
    [
        ("/admin/v1/tenants", "get", "401", {"WWW-Authenticate"}),
        ("/admin/v1/tenants", "get", "503", {"Retry-After"}),
        ("/admin/v1/tenants", "get", "200", set()),
        ("/api/v1/webhooks/test", "post", "200", {"RateLimit", "RateLimit-Policy"}),
        ("/api/v1/webhooks/redeliver", "post", "202", {"RateLimit", "RateLimit-Policy"}),
        (
            "/api/v1/webhooks/test",
            "post",
            "429",
            {"Retry-After", "RateLimit", "RateLimit-Policy"},
        ),
        ("/api/v3/inpaint", "post", "200", {"Retry-After", "RateLimit", "RateLimit-Policy"}),
        ("/api/v3/system_load", "post", "200", set()),
        ("/api/v3/system_load", "post", "503", {"Retry-After"}),
    ],
)
def test_response_headers_are_documented(
    document: dict[str, Any], path: str, method: str, status: str, headers: set[str]
) -> None:
    response = document["paths"][path][method]["responses"][status]
    assert set(response.get("headers", {})) == headers


def test_names_limits_and_cursors_have_their_rules(document: dict[str, Any]) -> None:
    paths = document["paths"]
    made = paths["/admin/v1/tenants"]["post"]["requestBody"]["content"]["application/json"]
    assert made["schema"]["properties"]["name"]["pattern"] == NAME
    (tenant,) = paths["/admin/v1/tenants/{tenant}"]["get"]["parameters"]
    assert tenant["schema"]["pattern"] == NAME
    change = paths["/admin/v1/plans/{plan}/limits"]["put"]["requestBody"]["content"]
    limits = change["application/json"]["schema"]["properties"]["limits"]
    assert limits["additionalProperties"] is False
    assert limits["properties"]["max_running"] == {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 2**31 - 1,
    }
    limit, cursor = paths["/admin/v1/tenants"]["get"]["parameters"]
    assert (limit["schema"]["minimum"], limit["schema"]["maximum"]) == (1, 200)
    assert cursor["schema"]["pattern"] == "^[A-Za-z0-9_-]+$"
    assert cursor["schema"]["type"] == "string"


def test_v3_responses_are_told_apart_by_their_status(document: dict[str, Any]) -> None:
    response = document["paths"]["/api/v3/fetch/{job_id}"]["post"]["responses"]["200"]
    schemas = document["components"]["schemas"]
    kinds = [
        schemas[kind["$ref"].rpartition("/")[2]]["properties"]["status"]["const"]
        for kind in response["content"]["application/json"]["schema"]["oneOf"]
    ]
    assert kinds == ["success", "processing", "failed", "error"]


def test_two_schemas_of_one_name_are_an_error() -> None:
    document = {
        "paths": {},
        "components": {"schemas": {"A": {"type": "string"}}},
        "extra": {"$defs": {"A": {"type": "integer"}}},
    }
    with pytest.raises(ValueError, match="two different schemas called A"):
        correct_document(document)
