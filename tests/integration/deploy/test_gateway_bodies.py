"""A gateway process that receives hostile and large bodies: its responses, and its peak memory."""

import asyncio
import base64
import gzip
import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from httpx2 import AsyncClient
from pydantic import SecretStr
from types_boto3_s3 import S3Client

from common.domain.api_key import new_key
from common.operations.api_keys import issue_key
from common.operations.tenants import create_tenant
from common.postgres.database import Database
from common.settings import DatabaseSettings, StorageSettings
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.stack import gateway_process
from tests.support.operators import OPERATOR, PEPPER
from tests.support.requests import IMAGE_URL, INPAINT_BODY

MEGABYTE: Final = 1_000_000
PEAK_BYTES: Final = 600 * MEGABYTE
FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"
IMAGE: Final = bytes(number * 7 % 256 for number in range(256)) * 78_000  # 20 MB
WRONG_KEY: Final = "Invalid Api Key"
MALFORMED: Final = "Invalid API Request"


def items(item: bytes, separator: bytes, size: int) -> bytes:
    return separator.join([item] * (size // (len(item) + len(separator))))


def hostile_bodies() -> Iterator[tuple[str, str, bytes, str]]:
    """Yield what a body is, its content type, the body, and the message of the response."""
    large = 55 * MEGABYTE
    yield "a form of escapes", FORM, b"a=" + b"%41" * (large // 3), WRONG_KEY
    yield "millions of objects", JSON, b'{"a":[' + items(b"{}", b",", large) + b"]}", MALFORMED
    names = b",".join(b'"%x":1' % number for number in range(4 * MEGABYTE))
    yield "millions of names", JSON, b"{" + names + b"}", MALFORMED
    yield "a broken end", JSON, b'{"a":"' + b"x" * large + b'",}', WRONG_KEY
    yield "one long number", JSON, b'{"a":' + b"1" * large, WRONG_KEY
    yield "blanks", JSON, b" " * large, WRONG_KEY
    yield "texts like keys", JSON, b'{"a":"' + b"inf_" * (large // 4), WRONG_KEY
    keys = ",".join(new_key() for _ in range(20_000)).encode()
    yield "unknown keys", JSON, b'{"a":"' + keys.replace(b",", b" "), WRONG_KEY
    for charset in ("punycode", "undefined", "idna", "utf-16", "rot13", "zlib"):
        kind = f"multipart/form-data; boundary=edge; charset={charset}"
        part = b'--edge\r\ncontent-disposition: form-data; name="%s"\r\n\r\n%s\r\n'
        body = part % (b"key", b"inf_x") + part % (b"a", b"x-" * 20_000) + b"--edge--"
        yield f"the charset {charset}", kind, body, WRONG_KEY
        yield f"a large body with {charset}", kind, body.replace(b"x-", b"x-" * 200), WRONG_KEY
    yield "boundaries", "multipart/form-data; boundary=e", b"--e\r\n" * MEGABYTE, WRONG_KEY


@pytest.fixture
async def gateway(
    tmp_path: Path,
    database_url: str,
    redis_url: str,
    bucket: StorageSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator["GatewayProcess"]:
    assert bucket.fixed_keys
    access_key_id, secret_access_key = bucket.fixed_keys
    for name, value in {
        "INFILL_DATABASE_URL": database_url,
        "INFILL_REDIS_URL": redis_url,
        "INFILL_S3_ENDPOINT_URL": str(bucket.endpoint_url),
        "INFILL_S3_BUCKET": bucket.bucket,
        "INFILL_S3_ACCESS_KEY_ID": access_key_id,
        "INFILL_S3_SECRET_ACCESS_KEY": secret_access_key,
        "INFILL_API_KEY_PEPPER": PEPPER,
        "INFILL_MODELS_SERVE": '["standin-inpainting", "standin"]',
        "INFILL_SYNC_WAIT_SECONDS": "0",
    }.items():
        monkeypatch.setenv(name, value)
    database = Database(DatabaseSettings(url=SecretStr(database_url)), application="tests")
    await create_tenant(database, OPERATOR, "alice")
    key = (await issue_key(database, OPERATOR, "alice", "first", pepper=PEPPER)).key
    await database.aclose()
    port = free_port()
    async with (
        Supervisor(tmp_path) as supervisor,
        AsyncClient(base_url=f"http://{LOOPBACK}:{port}", timeout=120) as client,
    ):
        pid = await supervisor.start(gateway_process(port))
        yield GatewayProcess(pid, key, client)


class GatewayProcess:
    """A running gateway, a tenant's key and a client."""

    def __init__(self, pid: int, key: str, client: AsyncClient) -> None:
        self.pid = pid
        self.key = key
        self.client = client

    def peak_bytes(self) -> int:
        """Return the largest resident memory that the process has had."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def open_files(self) -> list[str]:
        """Return the temporary files that the process has open."""
        links = Path(f"/proc/{self.pid}/fd").iterdir()
        return [target for link in links if "(deleted)" in (target := str(link.readlink()))]

    async def send(self, content_type: str, body: bytes, **headers: str) -> Any:
        response = await self.client.post(
            "/api/v3/inpaint", content=body, headers={"content-type": content_type, **headers}
        )
        return response.json()

    async def send_small_requests(self, done: asyncio.Event) -> int:
        """Send small requests, one after the other, until `done`; return their number."""
        sent = 0
        while not done.is_set():
            response = await self.send(JSON, json.dumps({"key": self.key}).encode())
            assert set(response["message"]) == {"prompt", "init_image", "mask_image"}
            sent += 1
        return sent


async def test_hostile_bodies_are_rejected_within_bounded_memory(gateway: GatewayProcess) -> None:
    done = asyncio.Event()
    healthy = asyncio.create_task(gateway.send_small_requests(done))
    for what, content_type, body, message in hostile_bodies():
        response = await gateway.send(content_type, body)
        assert response["message"] == message, what
        if message == MALFORMED:
            assert "more than" in response["tip"], what
        # With a key, the body is parsed.
        response = await gateway.send(content_type, body, authorization=f"Bearer {gateway.key}")
        assert response["status"] == "error", what
    done.set()
    assert await healthy
    assert gateway.peak_bytes() < PEAK_BYTES
    assert gateway.open_files() == []


def large_bodies(key: str) -> Iterator[tuple[str, str, bytes]]:
    """Yield images of 20 MB in each format, with the key behind them."""
    text = base64.b64encode(IMAGE).decode()
    fields = {"init_image": text, "mask_image": text, "prompt": "a cat", "key": key}
    yield "JSON", JSON, json.dumps(fields).encode()
    yield "JSON of PHP", JSON, json.dumps(fields).replace("/", "\\/").encode()
    form = {**fields, "mask_image": IMAGE_URL}
    yield "a form", FORM, urlencode(form).encode()
    yield "a form without escapes", FORM, "&".join(f"{name}={form[name]}" for name in form).encode()
    edge = b"--edge\r\ncontent-disposition: form-data; name="
    yield (
        "multipart",
        "multipart/form-data; boundary=edge; charset=undefined",
        b"".join(
            [
                edge + b'"init_image"; filename="a.png"\r\n\r\n' + IMAGE + b"\r\n",
                edge + b'"mask_image"; filename="b.png"\r\n\r\n' + IMAGE + b"\r\n",
                edge + b'"prompt"\r\n\r\na cat\r\n' + edge + b'"key"\r\n\r\n' + key.encode(),
                b"\r\n--edge--\r\n",
            ]
        ),
    )


async def test_large_images_are_stored_from_every_format(
    gateway: GatewayProcess, bucket: StorageSettings, s3_client: S3Client
) -> None:
    done = asyncio.Event()
    healthy = asyncio.create_task(gateway.send_small_requests(done))
    for what, content_type, body in large_bodies(gateway.key):
        response = await gateway.send(content_type, body)
        assert response["status"] == "processing", (what, response)
    done.set()
    assert await healthy
    stored = s3_client.list_objects_v2(Bucket=bucket.bucket)["Contents"]
    assert [entry["Size"] for entry in stored] == [len(IMAGE)] * 8
    for entry in stored:
        found = s3_client.get_object(Bucket=bucket.bucket, Key=entry["Key"])
        assert found["Body"].read() == IMAGE
    assert gateway.peak_bytes() < PEAK_BYTES
    assert gateway.open_files() == []


async def test_a_wrong_key_in_a_header_is_rejected_before_the_body_arrives(
    gateway: GatewayProcess,
) -> None:
    port = gateway.client.base_url.port
    assert port is not None
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    head = (
        "POST /api/v3/inpaint HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {new_key()}\r\ncontent-length: 50000000\r\n\r\n"
    )
    writer.write(head.encode())
    async with asyncio.timeout(60):
        await reader.readuntil(b"\r\n\r\n")
        assert WRONG_KEY.encode() in await reader.readuntil(b"}")
    writer.close()


async def test_gzip_bodies_are_read(gateway: GatewayProcess) -> None:
    fields = {
        "key": gateway.key,
        **INPAINT_BODY,
        "extra": base64.b64encode(IMAGE[:70_000]).decode(),
    }
    body = gzip.compress(json.dumps(fields).encode())
    response = await gateway.send(JSON, body, **{"content-encoding": "gzip"})
    assert response["status"] == "processing", response
    bomb = gzip.compress(bytes(50 * MEGABYTE))
    response = await gateway.send(JSON, bomb, **{"content-encoding": "gzip"})
    assert response["tip"] == "The gzip body expands to more than 100 times its size."
    response = await gateway.send(JSON, body, **{"content-encoding": "br"})
    assert response["tip"] == "Send the body compressed with gzip, or uncompressed."
