"""Liveness, readiness and metrics endpoints of the gateway."""

import asyncio
from dataclasses import dataclass
from typing import Final, Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError
from starlette.responses import PlainTextResponse

from api.body.json_response import json_response
from api.services import Services
from common.postgres.errors import is_unavailable

CHECK_TIMEOUT_SECONDS: Final = 2.0
PROBED_LIST: Final = "infill:ready"  # never created

router = APIRouter(tags=["health"])


@dataclass(frozen=True, slots=True)
class Health:
    """Response body: the process is alive."""

    status: Literal["ok"]


@dataclass(frozen=True, slots=True)
class Readiness:
    """Response body: the state of the gateway, and of the servers that it needs."""

    status: Literal["ok", "degraded", "unavailable", "not ready"]
    database: Literal["ok", "unavailable", "not ready"]
    redis: Literal["ok", "unavailable"]
    reason: str | None = None  # why the database is not ready, for operators


_NOT_READY: Final = {
    "model": Readiness,
    "description": "Postgres is down, its schema is not that of this release, or row-level "
    "security is not in force",
}


@router.get("/healthz", response_model=Health)
async def healthz() -> Response:
    """Respond with 200 as long as the process is alive."""
    return json_response({"status": "ok"})


@router.get("/readyz", response_model=Readiness, responses={503: _NOT_READY})
async def readyz(request: Request) -> Response:
    """Respond with 503 if Postgres cannot be used, else 200; `degraded` if only Redis is down."""
    services: Services = request.app.state.services
    (database, reason), redis = await asyncio.gather(
        _check_database(services), _check_redis(services)
    )
    parts = {"database": database, "redis": redis}
    if database != "ok":
        why = {} if reason is None else {"reason": reason}
        return json_response({"status": database, **parts, **why}, status=503)
    return json_response({"status": "ok" if redis == "ok" else "degraded", **parts})


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics() -> Response:
    """Return the metrics of this process in the Prometheus text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _check_database(services: Services) -> tuple[str, str | None]:
    """Return the state of the database, and the reason if it responds but cannot be used."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS), services.database.direct() as connection:
            problem = await services.schema_check.find_problem(connection)
    except Exception as error:
        if not isinstance(error, TimeoutError) and not is_unavailable(error):
            raise
        problem = services.database.rejection
        if problem is None:
            return "unavailable", None
    return ("ok", None) if problem is None else ("not ready", problem)


async def _check_redis(services: Services) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            # A write that changes nothing: a read-only server would respond to a ping.
            await services.redis.lpushx(PROBED_LIST, "")
    except (RedisError, OSError):
        return "unavailable"
    return "ok"
