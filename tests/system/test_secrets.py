"""Secrets are in no log line and no metric of the real processes, at any log level."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis
from sqlalchemy import make_url

from common.domain.api_key import KeyKind, new_key
from common.settings import StorageSettings
from common.standard_webhooks.keys import new_signing_key
from deploy.local.servers.ports import LOOPBACK
from tests.conftest import Servers
from tests.integration.worker.harness.image_host import INIT, MASK
from tests.system.installation import STAND_INS, small_body
from tests.system.logging_stack import NEGATIVE, PROMPT, LoggingStack, open_logging_stack

DEADLINE_SECONDS = 60.0

PROCESSES = ("gateway", "worker", "dispatcher")


@pytest.fixture
async def redis_password(redis_url: str) -> AsyncIterator[str]:
    """Create a Redis user with a password; yield the password."""
    password = uuid4().hex
    async with Redis.from_url(redis_url) as client:
        await client.acl_setuser(
            "marked",
            enabled=True,
            passwords=[f"+{password}"],
            keys=["*"],
            channels=["*"],
            commands=["+@all"],
        )
        yield password
        await client.acl_deluser("marked")


@pytest.fixture
async def stack(
    servers: Servers,
    database_url: str,
    redis_password: str,
    bucket: StorageSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[LoggingStack]:
    key_id, secret = bucket.fixed_keys or ("", "")
    secrets = {
        "admin key": new_key(KeyKind.ADMIN),
        "pepper": uuid4().hex,
        "signing key": new_signing_key(),
        "password of Postgres": str(make_url(database_url).password),
        "password of Redis": redis_password,
        "secret of S3": secret,
    }
    settings = {
        "INFILL_LOG_LEVEL": "DEBUG",
        "INFILL_DATABASE_URL": database_url,
        "INFILL_REDIS_URL": f"redis://marked:{redis_password}@{LOOPBACK}:{servers.redis.port}/0",
        "INFILL_S3_ENDPOINT_URL": str(bucket.endpoint_url),
        "INFILL_S3_BUCKET": bucket.bucket,
        "INFILL_S3_ACCESS_KEY_ID": key_id,
        "INFILL_S3_SECRET_ACCESS_KEY": secrets["secret of S3"],
        "INFILL_API_KEY_PEPPER": secrets["pepper"],
        "INFILL_ADMIN_KEY": secrets["admin key"],
        "INFILL_WEBHOOK_SIGNING_KEY": secrets["signing key"],
        "INFILL_MODELS_SERVE": orjson.dumps(STAND_INS).decode(),
        "INFILL_MODELS_DIRECTORY": str(tmp_path / "models"),
        "INFILL_OUTBOUND_ALLOWED_NETWORKS": f'["{LOOPBACK}/32"]',
        "INFILL_SYNC_WAIT_SECONDS": "0",
        "INFILL_ALLOW_KEY_IN_QUERY": "true",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    async with open_logging_stack(tmp_path / "logs", secrets) as opened:
        yield opened


async def run_successful_jobs(stack: LoggingStack) -> dict[str, Any]:
    """Run a job with images by URL and one with an image in the body; return the first."""
    page, url = stack.webhook_page("succeeded")
    images = {
        "init_image": stack.image_url("init.png", INIT),
        "mask_image": stack.redirecting_url("moved.png", stack.image_url("mask.png", MASK)),
    }
    first = await stack.submit("inpaint", **images, webhook=url, track_id="track-marker")
    await stack.image_host.wait_for_request(page)
    page, url = stack.webhook_page("succeeded-too")
    init = base64.b64encode(INIT).decode()
    await stack.submit("img2img", init_image=init, webhook=url, base64="yes")
    await stack.image_host.wait_for_request(page)
    return first


async def run_failing_job(stack: LoggingStack) -> None:
    page, url = stack.webhook_page("failed")
    await stack.submit("img2img", init_image=stack.image_url("missing.png"), webhook=url)
    await stack.image_host.wait_for_request(page)


async def run_canceled_job(stack: LoggingStack) -> None:
    page, url = stack.webhook_page("canceled")
    slow = "slow.png?token=image-token-marker"
    hold = stack.image_host.hold(slow)
    job = await stack.submit("img2img", init_image=stack.image_host.url(slow), webhook=url)
    await stack.image_host.wait_for_request(slow)
    await stack.post_admin(f"jobs/{job['id']}/cancel")
    await stack.image_host.wait_for_request(page)
    hold.set()


async def fetch_jobs(stack: LoggingStack, job_id: int) -> None:
    for number in (job_id, 10**9, "prompt-marker"):
        for method in ("GET", "POST"):
            url = f"/api/v3/fetch/{number}?key={stack.key}"
            response = await stack.client.request(method, url)
            assert (number == job_id) == ("X-Amz-Signature=" in response.text), response.text


async def send_bad_requests(stack: LoggingStack) -> None:
    """Send requests that cannot be read, are not allowed, or name nothing that exists."""
    unknown = {f"unknown key {kind}": new_key(kind) for kind in KeyKind}
    stack.secrets |= unknown
    client, right = stack.client, {"key": stack.key, "prompt": PROMPT}
    url = stack.image_host.url("init.png", host="user:password-marker@127.0.0.1")
    bodies = [
        *({**right, "key": key} for key in (*unknown.values(), "inf_key-marker")),
        {**right, "negative_prompt": [NEGATIVE], "samples": "prompt-marker", "webhook": url},
        {**right, "init_image": url, "mask_image": "not-an-image-marker"},
    ]
    for body in bodies:
        result = (await client.post("/api/v3/inpaint", json=body)).json()
        assert result["status"] == "error", result
    for text in (f'{{"key": "{stack.key}", "prompt": "{PROMPT}",', f"key={stack.key} {PROMPT}"):
        response = await client.post(
            "/api/v3/inpaint", content=text, headers={"content-type": "application/json"}
        )
        assert response.json()["status"] == "error"
    for key in (*unknown.values(), stack.key, "adm_key-marker"):
        response = await client.get("/admin/v1/tenants", headers=stack.bearer(key))
        assert response.status_code == 401
    missing = await client.get(f"/nowhere/{stack.key}?prompt=prompt-marker")
    assert missing.status_code == 404


async def crash(stack: LoggingStack, database_url: str) -> None:
    """Make Postgres reject rows, as a defect of ours would; its errors quote the rows."""
    page, url = "last.png?token=image-token-marker", stack.image_url("last.png", INIT)
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE jobs ADD CHECK (state <> 'succeeded') NOT VALID")
    await stack.submit("img2img", init_image=url, webhook=stack.webhook_page("never")[1])
    await stack.image_host.wait_for_request(page)
    await connection.execute("ALTER TABLE jobs ADD CHECK (queue <> 'standin') NOT VALID")
    await connection.close()
    body = small_body(key=stack.key, prompt="prompt-marker", webhook=stack.webhook_page("never")[1])
    assert (await stack.client.post("/api/v3/text2img", json=body)).status_code == 500
    async with asyncio.timeout(DEADLINE_SECONDS):
        while "job_loop_failed" not in (stack.logs / "worker.log").read_text():
            await stack.read_metrics()  # each read waits for the worker


def assert_nothing_secret(pages: dict[str, str], secrets: dict[str, str]) -> None:
    hidden = secrets | {
        "word of the tenant": "-marker",
        "signed link": "X-Amz-Signature",
        "credential of a signed link": "X-Amz-Credential",
    }
    leaks = [
        f"{page} contains a {name}: {text[max(0, text.index(secret) - 300) :][:600]}"
        for page, text in pages.items()
        for name, secret in hidden.items()
        if secret in text
    ]
    assert leaks == []


@pytest.mark.timeout(180)
async def test_logs_and_metrics_contain_no_secret_at_any_level(
    stack: LoggingStack, database_url: str
) -> None:
    first = await run_successful_jobs(stack)
    await run_failing_job(stack)
    await run_canceled_job(stack)
    await fetch_jobs(stack, first["id"])
    await send_bad_requests(stack)
    await crash(stack, database_url)
    pages = await stack.read_metrics()
    assert all("infill_" in page for page in pages.values())
    await stack.supervisor.stop_all()

    logs = {name: (stack.logs / f"{name}.log").read_text() for name in PROCESSES}
    logged_jobs: set[int] = set()
    for name, text in logs.items():
        lines = [orjson.loads(line) for line in text.splitlines()]
        assert {line["process"] for line in lines} == {name}
        # The dispatcher logs nothing at the level debug.
        assert name == "dispatcher" or any(line["level"] == "debug" for line in lines), name
        logged_jobs |= {line["job_id"] for line in lines if "job_id" in line}
    assert logged_jobs >= set(stack.jobs)
    assert "request_crashed" in logs["gateway"]
    assert "job_loop_failed" in logs["worker"]
    assert_nothing_secret(pages | logs, stack.secrets)
