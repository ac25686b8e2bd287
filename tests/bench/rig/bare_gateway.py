"""The least that a gateway of this kind has to do, as one bare FastAPI application.

The same body validated by the same model, one asyncpg INSERT into the same table, one LPUSH;
and one single-row read of the same table.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any
from uuid import uuid4

import asyncpg
import orjson
from fastapi import Body, FastAPI, Response
from pydantic import BaseModel
from redis.asyncio import Redis

INSERT = """
INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, cost)
VALUES ($1, $2, 'bare', 3, $3, $4, false, 1.0) RETURNING id
"""


class BareBody(BaseModel):
    """The fields of an inpainting request, as plain types."""

    key: str
    prompt: str
    negative_prompt: str | None = None
    init_image: str
    mask_image: str
    width: int = 512
    height: int = 512
    samples: int = 1
    num_inference_steps: int = 21
    safety_checker: str = "no"
    enhance_prompt: str = "yes"
    guidance_scale: float = 7.5
    strength: float = 0.7
    base64: str = "no"
    seed: int | None = None
    webhook: str | None = None
    track_id: str | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = os.environ  # noqa: TID251 - a program of its own, given by the benchmark
    app.state.redis = Redis.from_url(settings["BARE_REDIS_URL"])
    async with asyncpg.create_pool(settings["BARE_DATABASE_URL"], min_size=10) as pool:
        app.state.pool = pool
        yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/submit")
async def submit(body: Annotated[BareBody, Body()]) -> Response:
    request = orjson.dumps(body.model_dump()).decode()
    inputs = orjson.dumps({"init_image": body.init_image, "mask_image": body.mask_image}).decode()
    tenant = int(body.key)
    job_id = await app.state.pool.fetchval(INSERT, tenant, uuid4(), request, inputs)
    await app.state.redis.lpush("bare", str(job_id))
    return _response({"status": "processing", "id": job_id, "output": []})


@app.post("/read/{job_id}")
async def read(job_id: int) -> Response:
    row = await app.state.pool.fetchrow("SELECT * FROM jobs WHERE id = $1", job_id)
    return _response({"status": row["state"], "id": row["id"], "request": row["request"]})


def _response(body: dict[str, Any]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")
