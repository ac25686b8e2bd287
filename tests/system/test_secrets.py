"""What nobody may read in logs and numbers, however much is logged: three real processes."""

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
from tests.system.installation import STAND_INS, body
from tests.system.scene import NEGATIVE, PROMPT, Scene, open_scene

DEADLINE_SECONDS = 60.0

PROCESSES = ("gateway", "worker", "dispatcher")


@pytest.fixture
async def redis_password(redis_url: str) -> AsyncIterator[str]:
    """Let a user of that name in by a password."""
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
async def scene(
    servers: Servers,
    database_url: str,
    redis_password: str,
    bucket: StorageSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Scene]:
    secrets = {
        "admin key": new_key(KeyKind.ADMIN),
        "pepper": uuid4().hex,
        "signing key": new_signing_key(),
        "password of Postgres": str(make_url(database_url).password),
        "password of Redis": redis_password,
        "secret of S3": bucket.secret_access_key.get_secret_value(),
    }
    settings = {
        "INFILL_LOG_LEVEL": "DEBUG",
        "INFILL_DATABASE_URL": database_url,
        "INFILL_REDIS_URL": f"redis://marked:{redis_password}@{LOOPBACK}:{servers.redis.port}/0",
        "INFILL_S3_ENDPOINT_URL": str(bucket.endpoint_url),
        "INFILL_S3_BUCKET": bucket.bucket,
        "INFILL_S3_ACCESS_KEY_ID": bucket.access_key_id,
        "INFILL_S3_SECRET_ACCESS_KEY": secrets["secret of S3"],
        "INFILL_API_KEY_PEPPER": secrets["pepper"],
        "INFILL_ADMIN_KEY": secrets["admin key"],
        "INFILL_WEBHOOK_SIGNING_KEY": secrets["signing key"],
        "INFILL_MODELS_SERVE": orjson.dumps(STAND_INS).decode(),
        "INFILL_MODELS_DIRECTORY": str(tmp_path / "models"),
        "INFILL_OUTBOUND_ALLOWED_NETWORKS": f'["{LOOPBACK}/32"]',
        "INFILL_SYNC_WAIT_SECONDS": "0",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    async with open_scene(tmp_path / "logs", secrets) as opened:
        yield opened


async def succeed(scene: Scene) -> dict[str, Any]:
    """Draw with pictures fetched by URL and with one that came in the body."""
    page, url = scene.hook("drawn")
    images = {
        "init_image": scene.picture("init.png", INIT),
        "mask_image": scene.moved("moved.png", scene.picture("mask.png", MASK)),
    }
    first = await scene.draw("inpaint", **images, webhook=url, track_id="track-marker")
    await scene.image_host.wait_for_request(page)
    page, url = scene.hook("drawn-too")
    sent = base64.b64encode(INIT).decode()
    await scene.draw("img2img", init_image=sent, webhook=url, base64="yes")
    await scene.image_host.wait_for_request(page)
    return first


async def fail(scene: Scene) -> None:
    page, url = scene.hook("failed")
    await scene.draw("img2img", init_image=scene.picture("missing.png"), webhook=url)
    await scene.image_host.wait_for_request(page)


async def cancel(scene: Scene) -> None:
    page, url = scene.hook("canceled")
    slow = "slow.png?token=picture-token-marker"
    hold = scene.image_host.hold(slow)
    job = await scene.draw("img2img", init_image=scene.image_host.url(slow), webhook=url)
    await scene.image_host.wait_for_request(slow)
    await scene.administer(f"jobs/{job['id']}/cancel")
    await scene.image_host.wait_for_request(page)
    hold.set()


async def fetch(scene: Scene, job_id: int) -> None:
    for number in (job_id, 10**9, "prompt-marker"):
        told = await scene.client.post(
            f"/api/v3/fetch/{number}?key={scene.key}", headers=scene.bearer(scene.key)
        )
        assert (number == job_id) == ("X-Amz-Signature=" in told.text), told.text


async def be_refused(scene: Scene) -> None:
    """Send what cannot be read, is not allowed, or does not exist."""
    strangers = {f"key of nobody {kind}": new_key(kind) for kind in KeyKind}
    scene.secrets |= strangers
    client, right = scene.client, {"key": scene.key, "prompt": PROMPT}
    url = scene.image_host.url("init.png", host="user:password-marker@127.0.0.1")
    bodies = [
        *({**right, "key": key} for key in (*strangers.values(), "inf_key-marker")),
        {**right, "negative_prompt": [NEGATIVE], "samples": "prompt-marker", "webhook": url},
        {**right, "init_image": url, "mask_image": "not-a-picture-marker"},
    ]
    for asked in bodies:
        told = (await client.post("/api/v3/inpaint", json=asked)).json()
        assert told["status"] == "error", told
    for text in (f'{{"key": "{scene.key}", "prompt": "{PROMPT}",', f"key={scene.key} {PROMPT}"):
        told = await client.post(
            "/api/v3/inpaint", content=text, headers={"content-type": "application/json"}
        )
        assert told.json()["status"] == "error"
    for key in (*strangers.values(), scene.key, "adm_key-marker"):
        refused = await client.get("/admin/v1/tenants", headers=scene.bearer(key))
        assert refused.status_code == 401
    lost = await client.get(f"/nowhere/{scene.key}?prompt=prompt-marker")
    assert lost.status_code == 404


async def crash(scene: Scene, database_url: str) -> None:
    """Let Postgres refuse rows, as only faults of ours can make it; it quotes the whole of them."""
    page, picture = "last.png?token=picture-token-marker", scene.picture("last.png", INIT)
    connection = await asyncpg.connect(database_url)
    await connection.execute("ALTER TABLE jobs ADD CHECK (state <> 'succeeded') NOT VALID")
    await scene.draw("img2img", init_image=picture, webhook=scene.hook("never")[1])
    await scene.image_host.wait_for_request(page)
    await connection.execute("ALTER TABLE jobs ADD CHECK (queue <> 'standin') NOT VALID")
    await connection.close()
    asked = body(key=scene.key, prompt="prompt-marker", webhook=scene.hook("never")[1])
    assert (await scene.client.post("/api/v3/text2img", json=asked)).status_code == 500
    async with asyncio.timeout(DEADLINE_SECONDS):
        while "job_loop_failed" not in (scene.logs / "worker.log").read_text():
            await scene.numbers()  # each look waits for the worker


def assert_told_nothing(pages: dict[str, str], secrets: dict[str, str]) -> None:
    hidden = secrets | {
        "word of the tenant": "-marker",
        "signed link": "X-Amz-Signature",
        "credential of a signed link": "X-Amz-Credential",
    }
    told = [
        f"{page} holds a {name}: {text[max(0, text.index(secret) - 300) :][:600]}"
        for page, text in pages.items()
        for name, secret in hidden.items()
        if secret in text
    ]
    assert told == []


@pytest.mark.timeout(180)
async def test_nothing_secret_is_told_at_any_level(scene: Scene, database_url: str) -> None:
    first = await succeed(scene)
    await fail(scene)
    await cancel(scene)
    await fetch(scene, first["id"])
    await be_refused(scene)
    await crash(scene, database_url)
    pages = await scene.numbers()
    assert all("infill_" in page for page in pages.values())
    await scene.supervisor.stop_all()

    logs = {name: (scene.logs / f"{name}.log").read_text() for name in PROCESSES}
    told_of: set[int] = set()
    for name, text in logs.items():
        lines = [orjson.loads(line) for line in text.splitlines()]
        assert {line["process"] for line in lines} == {name}
        # The dispatcher has nothing more to say.
        assert name == "dispatcher" or any(line["level"] == "debug" for line in lines), name
        told_of |= {line["job_id"] for line in lines if "job_id" in line}
    assert told_of >= set(scene.jobs)
    assert "request_crashed" in logs["gateway"]
    assert "job_loop_failed" in logs["worker"]
    assert_told_nothing(pages | logs, scene.secrets)
