"""The OpenAPI document, and the page that shows it: Swagger UI, served from an installed package.

Operators type admin keys on this page, so it loads nothing from other servers and contains no
inline script: `api.browsers.security_headers` allows scripts and styles from the gateway alone.
"""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import FileResponse, Response

PAGE_PATH: Final = "/docs"
# Relative addresses, so that the page also works behind a proxy that adds a path prefix.
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Infill API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="documentation"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# `validatorUrl: null`: otherwise the page sends the document's address to validator.swagger.io.
_START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#documentation",
  presets: [SwaggerUIBundle.presets.apis],
  deepLinking: true,
  persistAuthorization: false,
  validatorUrl: null,
});
"""
_MAX_AGE: Final = {"cache-control": "public, max-age=3600"}
_JAVASCRIPT: Final = "text/javascript"
# Of the official build of Swagger UI in the package `fastapi_offline`.
_INSTALLED: Final = Path(str(files("fastapi_offline") / "static"))
_MEDIA_TYPES: Final = {"swagger-ui-bundle.js": _JAVASCRIPT, "swagger-ui.css": "text/css"}

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
async def show_document(request: Request) -> Response:
    """Return the OpenAPI document."""
    return Response(request.app.rendered_document(), media_type="application/json")


@router.get(PAGE_PATH)
async def show_page() -> Response:
    """Return the page."""
    return Response(_PAGE, media_type="text/html")


@router.get(f"{PAGE_PATH}/start.js")
async def start_script() -> Response:
    """Return the script that starts Swagger UI with the gateway's OpenAPI document."""
    return Response(_START, media_type=_JAVASCRIPT)


async def _send_file(request: Request) -> Response:
    name = request.url.path.rpartition("/")[2]
    return FileResponse(_INSTALLED / name, media_type=_MEDIA_TYPES[name], headers=_MAX_AGE)


for _name in _MEDIA_TYPES:
    router.get(f"{PAGE_PATH}/{_name}")(_send_file)
