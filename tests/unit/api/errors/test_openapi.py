"""Every route of the problem dialects documents its request, its responses and its errors."""

from collections.abc import Iterator
from typing import Any

import pytest

from api.admin.dependencies import PREFIX as ADMIN_PREFIX
from api.app import create_app
from api.dialects.v1.dependencies import PREFIX as V1_PREFIX
from api.errors.problem_details import MEDIA_TYPE
from common.settings import GatewaySettings, Settings


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    settings = Settings()
    settings.gateway = GatewaySettings(api_key_pepper="pepper of the unit tests")
    return create_app(settings).openapi()


def operations(described: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        if path.startswith((ADMIN_PREFIX, V1_PREFIX)):
            for method, operation in methods.items():
                yield f"{method} {path}", operation


def test_every_response_has_a_schema(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        (code,) = (code for code in operation["responses"] if code.startswith("2"))
        content = operation["responses"][code].get("content", {})
        assert code == "204" or content["application/json"]["schema"].get("$ref"), name
        assert operation["description"], name


def test_every_error_is_documented_as_a_problem(described: dict[str, Any]) -> None:
    for name, operation in operations(described):
        problems = {
            code: result for code, result in operation["responses"].items() if code >= "400"
        }
        assert {"401", "404", "422", "503"} <= set(problems), name
        for result in problems.values():
            assert list(result["content"]) == [MEDIA_TYPE], name
        if not name.split()[1].startswith(ADMIN_PREFIX):
            assert "429" in problems, name
    assert "HTTPValidationError" not in str(list(operations(described)))


def test_every_body_has_a_schema_and_every_route_an_authentication(
    described: dict[str, Any],
) -> None:
    for name, operation in operations(described):
        is_admin = name.split()[1].startswith(ADMIN_PREFIX)
        keys = ["admin_key"] if is_admin else ["api_key", "api_key_header"]
        assert operation["security"] == [{key: []} for key in keys], name
        if "requestBody" in operation:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            assert schema["additionalProperties"] is False, name
            assert {"400", "413", "415"} <= set(operation["responses"]), name
