"""Whether the process lives, whether it can serve, and its numbers."""

import asyncio
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError
from sqlalchemy import literal, select

from api.body.json_response import json_response
from api.services import Services
from common.postgres.database import is_unavailable

PROBE_SECONDS: Final = 2.0
QUESTION: Final = select(literal(1).label("one"))

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> Response:
    """Tell that the process is alive."""
    return json_response({"status": "ok"})


@router.get("/readyz")
async def readyz(request: Request) -> Response:
    """Tell whether requests can be served: without Postgres no, without Redis yes but later."""
    services: Services = request.app.state.services
    database, redis = await asyncio.gather(_database(services), _redis(services))
    parts = {"database": database, "redis": redis}
    if database != "ok":
        return json_response({"status": "unavailable", **parts}, status=503)
    return json_response({"status": "ok" if redis == "ok" else "degraded", **parts})


@router.get("/metrics")
async def metrics() -> Response:
    """Give the numbers as Prometheus reads them."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def _database(services: Services) -> str:
    try:
        async with asyncio.timeout(PROBE_SECONDS), services.database.direct() as connection:
            await connection.execute(QUESTION, {})
    except Exception as error:
        if not is_unavailable(error):
            raise
        return "away"
    return "ok"


async def _redis(services: Services) -> str:
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            await services.redis.ping()
    except (RedisError, OSError):
        return "away"
    return "ok"
