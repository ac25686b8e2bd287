"""A gateway stopped under load sends a whole response to every request."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import make_url, text

from common.operations.api_keys import issue_key
from common.operations.tenants import create_tenant
from common.postgres.database import Database
from common.settings import DatabaseSettings, StorageSettings
from deploy.local.processes.child_exit import ChildExit
from deploy.local.processes.supervisor import Supervisor
from deploy.local.servers.ports import LOOPBACK, free_port
from deploy.local.stack import gateway_process
from tests.support.operators import OPERATOR, PEPPER
from tests.support.requests import INPAINT_BODY

CALLERS = 8
DEADLINE_SECONDS = 60


@dataclass
class Caller:
    """Sends one request after the other over a kept-alive connection until the server closes it."""

    port: int
    payload: bytes
    responses: list[dict[str, Any]] = field(default_factory=list)
    lost: int = 0

    async def run(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
            except ConnectionRefusedError:
                return
            try:
                while await self._exchange(reader, writer):
                    pass
            finally:
                writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send one and read its response; return False when the server closes the connection."""
        writer.write(self.payload)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
            self.responses.append(json.loads(await reader.readexactly(length)))
        except (OSError, asyncio.IncompleteReadError):
            self.lost += 1
            return False
        return b"connection: close" not in head


def request(path: str, fields: dict[str, Any]) -> bytes:
    body = json.dumps(fields).encode()
    head = (
        f"POST /api/v3/{path} HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(url=SecretStr(database_url)), application="tests")
    yield database
    await database.aclose()


@pytest.fixture
async def key(database: Database) -> str:
    await create_tenant(database, OPERATOR, "alice")
    return (await issue_key(database, OPERATOR, "alice", "first", pepper=PEPPER)).key


@pytest.fixture(autouse=True)
def environment(
    database_url: str, redis_url: str, bucket: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_url(database_url).port
    for name, value in {
        "INFILL_DATABASE_URL": database_url,
        "INFILL_REDIS_URL": redis_url,
        "INFILL_S3_ENDPOINT_URL": str(bucket.endpoint_url),
        "INFILL_S3_BUCKET": bucket.bucket,
        "INFILL_S3_ACCESS_KEY_ID": "none",
        "INFILL_S3_SECRET_ACCESS_KEY": "none",
        "INFILL_API_KEY_PEPPER": PEPPER,
        "INFILL_MODELS_SERVE": '["standin-inpainting", "standin"]',
        # Longer than the test may take: no response is sent because the wait is over.
        "INFILL_SYNC_WAIT_SECONDS": "1000",
    }.items():
        monkeypatch.setenv(name, value)


async def count_jobs(database: Database) -> int:
    async with database.statement() as connection:
        return int((await connection.execute(text("SELECT count(*) FROM jobs"))).scalar_one())


async def stopped(supervisor: Supervisor, pid: int) -> ChildExit:
    os.kill(pid, Signals.SIGTERM)
    async with asyncio.timeout(DEADLINE_SECONDS):
        return await supervisor.wait_for_exit()


async def test_every_request_sent_gets_a_whole_response(
    tmp_path: Path, database: Database, key: str
) -> None:
    port = free_port()
    waiting = [
        Caller(port, request("inpaint", {"key": key, **INPAINT_BODY})) for _ in range(CALLERS)
    ]
    busy = [Caller(port, request("fetch/1", {"key": key})) for _ in range(CALLERS)]
    async with Supervisor(tmp_path) as supervisor:
        pid = await supervisor.start(gateway_process(port))
        tasks = [asyncio.create_task(caller.run()) for caller in (*waiting, *busy)]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await count_jobs(database) < CALLERS or not all(each.responses for each in busy):
                pass  # each check waits for Postgres
        exited = await stopped(supervisor, pid)
        await asyncio.gather(*tasks)
    assert exited.exit_code in {0, -Signals.SIGTERM}
    assert [caller.lost for caller in (*waiting, *busy)] == [0] * 2 * CALLERS
    # Each caller that waited for its job has one response: processing, to be fetched later.
    sent = [response for caller in waiting for response in caller.responses]
    assert len(sent) == await count_jobs(database)
    assert {response["status"] for response in sent} == {"processing"}
    assert len({response["id"] for response in sent}) == len(sent)
