"""The OpenAPI document: what FastAPI derives from the routes, corrected where it is wrong."""

from collections.abc import Iterator
from typing import Any, Final

import orjson
from fastapi import FastAPI

# Names of FastAPI's own schemas, for errors in a format that the gateway never sends.
_UNUSED_SCHEMAS: Final = ("HTTPValidationError", "ValidationError")
_JSON: Final = "application/json"
# Wherever tenants may send a bearer token, they may send this header instead.
_BEARER_KEY: Final[dict[str, Any]] = {"api_key": []}
_HEADER_KEY: Final[dict[str, Any]] = {"api_key_header": []}
_HEADER_SCHEME: Final = {
    "type": "apiKey",
    "in": "header",
    "name": "key",
    "description": "`inf_…`",
}


class DocumentedApp(FastAPI):
    """A FastAPI application whose OpenAPI document describes the gateway's real behaviour."""

    _rendered: bytes | None = None

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, built at the first call."""
        if self.openapi_schema is None:
            self.openapi_schema = correct_document(super().openapi())
        return self.openapi_schema

    def rendered_document(self) -> bytes:
        """Return the OpenAPI document as JSON, rendered at the first call."""
        if self._rendered is None:
            self._rendered = orjson.dumps(self.openapi())
        return self._rendered


def correct_document(document: dict[str, Any]) -> dict[str, Any]:
    """Correct a document of FastAPI's in place, and return it."""
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    components.setdefault("securitySchemes", {})[next(iter(_HEADER_KEY))] = _HEADER_SCHEME
    for operation in _operations(document):
        _remove_validation_error(operation)
        _remove_null_from_parameters(operation)
        _document_rate_limit_of_success(operation)
        if _BEARER_KEY in operation.get("security", ()):
            operation["security"].append(_HEADER_KEY)
    for name in _UNUSED_SCHEMAS:
        schemas.pop(name, None)
    _move_definitions(document, schemas)
    return document


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def _remove_validation_error(operation: dict[str, Any]) -> None:
    """Remove the response that FastAPI documents for every route with parameters."""
    content = operation["responses"].get("422", {}).get("content", {})
    schema = content.get(_JSON, {}).get("schema", {})
    if schema.get("$ref", "").endswith(f"/{_UNUSED_SCHEMAS[0]}"):
        del operation["responses"]["422"]


def _remove_null_from_parameters(operation: dict[str, Any]) -> None:
    """Remove `null` from the types of optional parameters: a query string cannot contain it."""
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            del schema["anyOf"]
            schema |= kinds[0]


def _document_rate_limit_of_success(operation: dict[str, Any]) -> None:
    """Document the rate limit headers of an operation's error 429 for its success, too."""
    responses = operation["responses"]
    headers = {
        name: header
        for name, header in responses.get("429", {}).get("headers", {}).items()
        if name.startswith("RateLimit")
    }
    if headers:
        (success,) = (code for code in responses if code.startswith("2"))
        responses[success]["headers"] = headers


def _move_definitions(part: Any, schemas: dict[str, Any]) -> None:
    """Move the definitions (`$defs`) in all schemas to the components, where references point.

    Raises:
        ValueError: two different definitions have the same name.
    """
    if isinstance(part, list):
        for item in part:
            _move_definitions(item, schemas)
    if not isinstance(part, dict):
        return
    for name, definition in part.pop("$defs", {}).items():
        if schemas.setdefault(name, definition) != definition:
            raise ValueError(f"the OpenAPI document has two different schemas called {name}")
    for item in list(part.values()):
        _move_definitions(item, schemas)
