"""The gateway behind a real server and a socket."""

import asyncio
import socket
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import SecretStr

from api.server import connection_options, create_table
from common.settings import Settings, StorageSettings, WebhookSettings
from common.standard_webhooks.keys import load_signing_key, new_signing_key
from tests.integration.api.gateways import IMAGE, Gateway, make_settings, open_gateway
from tests.support.requests import INPAINT_BODY


@asynccontextmanager
async def served(gateway: Gateway) -> AsyncIterator[int]:
    """Serve a gateway on a free loopback port, and yield the port."""
    options = connection_options(create_table(gateway.services.settings.http))
    config = uvicorn.Config(gateway.app, lifespan="off", loop="none", **options)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        # As on sockets that uvicorn opens itself; without it, each response waits for 40 ms.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.create_task(server._serve([listening]))  # `serve` would take the signals
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def exchange(port: int, *pieces: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.writelines(pieces)
    response = await reader.read(65536)
    writer.close()
    return response


async def test_a_chunked_body_that_is_too_large_is_cut_off(gateway: Gateway) -> None:
    head = (
        b"POST /api/v3/inpaint HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
    async with served(gateway) as port:
        response = await exchange(port, head, chunk, chunk, chunk)
    assert response.startswith(b"HTTP/1.1 413")
    assert b'"status":"error"' in response


async def test_an_error_before_the_body_was_read_reaches_urllib(gateway: Gateway) -> None:
    def send(port: int, path: str) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", b"x" * 3_000_000)
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)  # noqa: S310 - our own server
        caught.value.read()
        return caught.value.code

    async with served(gateway) as port:
        assert await asyncio.to_thread(send, port, "/nowhere") == 404
        assert await asyncio.to_thread(send, port, "/api/v3/inpaint") == 413


async def test_a_multipart_body_as_dotnet_sends_it_is_accepted(gateway: Gateway) -> None:
    parts = (
        b'--"\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Disposition: form-data; name=key\r\n\r\n" + gateway.key.encode() + b"\r\n"
        b'--"\r\n'
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Disposition: form-data; name=prompt\r\n\r\na cat\r\n"
        b'--"\r\n'
        b"Content-Disposition: form-data; name=init_image; filename=a.png; "
        b"filename*=utf-8''a.png\r\n\r\n" + IMAGE + b'\r\n--"--\r\n'
    ).replace(b'--"', b"--6a1b-4c3d")
    head = (
        b"POST /api/v3/img2img HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b'Content-Type: multipart/form-data; boundary="6a1b-4c3d"\r\nConnection: close\r\n\r\n'
    )
    chunks = [b"%x\r\n%b\r\n" % (len(part), part) for part in (parts[:150], parts[150:])]
    async with served(gateway) as port:
        response = await exchange(port, head, *chunks, b"0\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 200")
    assert b'"status":"processing"' in response
    assert await gateway.count_jobs() == 1


async def test_a_disconnected_caller_is_not_waited_for(
    database_url: str, redis_url: str, bucket: StorageSettings
) -> None:
    settings = make_settings(database_url, redis_url, bucket, sync_wait_seconds=60)
    async with open_gateway(settings) as gateway, served(gateway) as port:
        payload = gateway.client.build_request(
            "POST", "/", json={"key": gateway.key, **INPAINT_BODY}
        ).content
        head = (
            "POST /api/v3/inpaint HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            f"content-length: {len(payload)}\r\n\r\n"
        )
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + payload)
        listening = gateway.services.completions._waiting  # to know that the caller waits
        async with asyncio.timeout(10):
            while not await gateway.count_jobs():
                pass
            assert listening
            writer.close()
            while listening:
                await gateway.count_jobs()


async def test_health_metrics_and_documentation_are_served(gateway: Gateway) -> None:
    await gateway.post("inpaint", INPAINT_BODY)
    await gateway.post("inpaint", {})
    ready = await gateway.client.get("/readyz")
    assert ready.json() == {"status": "ok", "database": "ok", "redis": "ok"}
    numbers = (await gateway.client.get("/metrics")).text
    route = 'route="/api/v3/inpaint"'
    for outcome in ("processing", "invalid_fields"):
        assert f'infill_requests_total{{outcome="{outcome}",{route}}}' in numbers
    assert "infill_submit_seconds_count" in numbers
    documentation = (await gateway.client.get("/openapi.json")).json()
    described = documentation["paths"]["/api/v3/inpaint"]["post"]["requestBody"]["content"]
    assert len(described) == 3
    assert (await gateway.client.get("/docs")).status_code == 200


async def test_an_unknown_path_is_no_metric_label(gateway: Gateway) -> None:
    await gateway.client.get("/some-made-up-path")
    assert "some-made-up-path" not in (await gateway.client.get("/metrics")).text


async def test_the_public_signing_key_is_published(settings: Settings) -> None:
    signing_key = new_signing_key()
    settings.webhooks = WebhookSettings(signing_key=SecretStr(signing_key))
    async with open_gateway(settings) as gateway:
        (key,) = (await gateway.client.get("/.well-known/infill-webhook-keys")).json()["keys"]
    assert key["alg"] == "ed25519"
    assert key["public_key"].startswith("whpk_")
    public = b64decode(key["public_key"].removeprefix("whpk_"))
    private = load_signing_key(signing_key)
    Ed25519PublicKey.from_public_bytes(public).verify(private.sign(b"content"), b"content")


async def test_no_public_key_is_published_without_a_signing_key(gateway: Gateway) -> None:
    response = await gateway.client.get("/.well-known/infill-webhook-keys")
    assert response.json() == {"keys": []}
