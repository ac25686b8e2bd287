"""The demo's web server: images to fetch, a webhook to call."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from deploy.local.sample_server import SAMPLES, sample_server
from deploy.local.servers.ports import LOOPBACK


async def test_images_are_served_unchanged() -> None:
    async with (
        sample_server(SAMPLES) as beside,
        httpx2.AsyncClient(base_url=beside.base_url, trust_env=False) as client,
    ):
        for name in ("bench.png", "bench_mask.png"):
            response = await client.get(f"/{name}")
            assert response.headers["content-type"] == "image/png"
            assert response.content == (SAMPLES / name).read_bytes()


async def test_webhooks_are_kept_in_the_order_of_arrival(tmp_path: Path) -> None:
    async with (
        sample_server(tmp_path) as beside,
        httpx2.AsyncClient(base_url=beside.base_url, trust_env=False) as client,
    ):
        for body in (b'{"id": 1}', b'{"id": 2}'):
            response = await client.post("/webhook", content=body, headers={"Webhook-Id": "a"})
            assert response.status_code == 204
        async with asyncio.timeout(10):
            first, second = await beside.calls.get(), await beside.calls.get()
        assert (first.body, second.body) == (b'{"id": 1}', b'{"id": 2}')
        assert first.headers["webhook-id"] == "a"
        assert first.arrived_at <= second.arrived_at


async def test_nothing_listens_afterwards(tmp_path: Path) -> None:
    async with sample_server(tmp_path) as beside:
        port = int(beside.base_url.rsplit(":", 1)[1])
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(LOOPBACK, port)
