"""Security headers and CORS by path, and the documentation page that they allow to work."""

import re
from collections.abc import Mapping
from importlib.resources import files

import pytest

from tests.integration.api.gateways import Gateway

ORIGIN = "https://shop.example.com"
DATA = "default-src 'none'; frame-ancestors 'none'"
PAGE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KEPT = "public, max-age=3600"
# method, path, status, content security policy, cache control, readable from other origins
TABLE = [
    ("POST", "/api/v3/inpaint", 200, DATA, "no-store", True),
    ("GET", "/api/v3/inpaint", 405, DATA, "no-store", True),
    ("GET", "/api/v1/webhooks/deliveries", 401, DATA, "no-store", True),
    ("GET", "/api/v1/nothing", 404, DATA, "no-store", True),
    ("GET", "/admin/v1/tenants", 404, DATA, "no-store", False),
    ("GET", "/healthz", 200, DATA, "no-store", False),
    ("GET", "/readyz", 200, DATA, "no-store", False),
    ("GET", "/metrics", 200, DATA, "no-store", False),
    ("GET", "/.well-known/infill-webhook-keys", 200, DATA, "no-store", False),
    ("GET", "/openapi.json", 200, DATA, "no-store", False),
    ("GET", "/docs", 200, PAGE, "no-store", False),
    ("GET", "/docs/start.js", 200, PAGE, "no-store", False),
    ("GET", "/docs/swagger-ui-bundle.js", 200, PAGE, KEPT, False),
    ("GET", "/docs/nothing.js", 404, PAGE, "no-store", False),
    ("GET", "/nothing", 404, DATA, "no-store", False),
    ("GET", "/api/v3x", 404, DATA, "no-store", False),
    ("GET", "/docsx", 404, DATA, "no-store", False),
]
# What a browser must be told before its script may send a request: whether it may do so.
PREFLIGHTS = [
    ("/api/v3/inpaint", True),
    ("/api/v1/webhooks/test", True),
    ("/admin/v1/tenants", False),
    ("/metrics", False),
    ("/docs", False),
]


def cors_headers(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize(("method", "path", "status", "policy", "cache", "is_shared"), TABLE)
async def test_every_response_has_its_security_headers(
    gateway: Gateway,
    method: str,
    path: str,
    status: int,
    policy: str,
    cache: str,
    is_shared: bool,  # noqa: FBT001 - a column of the table
) -> None:
    response = await gateway.client.request(method, path, headers={"origin": ORIGIN})
    assert response.status_code == status
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["content-security-policy"] == policy
    assert response.headers["cache-control"] == cache
    expected = {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "Retry-After, RateLimit, RateLimit-Policy",
    }
    assert cors_headers(response.headers) == (expected if is_shared else {})


@pytest.mark.parametrize(("path", "is_allowed"), PREFLIGHTS)
async def test_scripts_of_other_origins_may_call_the_tenants_apis_only(
    gateway: Gateway,
    path: str,
    is_allowed: bool,  # noqa: FBT001 - a column of the table
) -> None:
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, content-type",
    }
    response = await gateway.client.options(path, headers=asked)
    if not is_allowed:
        assert response.status_code in {404, 405}
        assert cors_headers(response.headers) == {}
        return
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == "*"
    assert "POST" in response.headers["access-control-allow-methods"]
    assert response.headers["access-control-allow-headers"] == "authorization, content-type"


async def test_a_crash_keeps_the_security_headers(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.health.generate_latest", lambda: 1 / 0)
    response = await gateway.client.get("/metrics")
    assert response.status_code == 500
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-security-policy"] == DATA


async def test_the_documentation_page_loads_its_own_files_only(gateway: Gateway) -> None:
    response = await gateway.client.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = response.text
    assert re.findall(r"<(?:script|style)[^>]*>[^<]+<|\son\w+=|\sstyle=", page) == []
    media_types = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert loaded == ["data:,", "docs/swagger-ui.css", "docs/swagger-ui-bundle.js", "docs/start.js"]
    for address in loaded[1:]:
        asset = await gateway.client.get(f"/{address}")
        assert asset.status_code == 200
        assert asset.headers["content-type"] == media_types[address.rpartition(".")[2]]
    script = (await gateway.client.get("/docs/start.js")).text
    assert 'url: "openapi.json"' in script
    assert "://" not in page + script
    installed = files("fastapi_offline") / "static" / "swagger-ui-bundle.js"
    served = await gateway.client.get("/docs/swagger-ui-bundle.js")
    assert served.content == installed.read_bytes()


async def test_the_style_sheet_loads_nothing_that_the_policy_forbids(gateway: Gateway) -> None:
    style = (await gateway.client.get("/docs/swagger-ui.css")).text
    assert "@import" not in style
    assert re.findall(r"url\((?![\"']?data:image/)[^)]{0,40}", style) == []
