"""A gateway with an admin API, and requests of an operator."""

from dataclasses import dataclass
from typing import Any

from tests.integration.api.gateways import Gateway

KEY = "operator's key"
OPEN = {"authorization": f"Bearer {KEY}"}
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class AdminHarness:
    """One gateway, and requests to its admin API."""

    gateway: Gateway

    async def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """Send a request as an operator; return the status and the body, None without one."""
        given = {**OPEN, **headers}
        content = {"json": body} if body is not None else {}
        response = await self.gateway.client.request(
            method, f"/admin/v1/{path}", headers=given, **content
        )
        if response.status_code >= 400:
            result = response.json()
            assert response.headers["content-type"] == PROBLEM
            assert result["status"] == response.status_code
            assert result["type"].startswith("urn:infill:problem:")
            assert result["title"]
            assert result["detail"]
        return response.status_code, response.json() if response.content else None

    async def get(self, path: str, **headers: str) -> Any:
        """GET a path that must exist; return its body."""
        code, body = await self.ask("GET", path, **headers)
        assert code == 200, body
        return body
