"""Behaviour compared with the OpenAPI document: schemathesis derives requests from the document.

It sends them to a gateway on a real socket, and compares each response with the document.
"""

import asyncio
import json
import sys
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from common.settings import OutboundSettings, Settings
from tests.integration.api.gateways import Gateway, new_key, open_gateway
from tests.integration.api.test_server import served
from tests.support.requests import TEXT2IMG_BODY

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
ADMIN_KEY = "admin-key-of-the-conformance-test"
DELIVERY_ID = "0b9ee8c2-6a5f-4c0e-9d7b-3a52f6f1c2d4"
TEXT2IMG_QUEUE = "standin"
# Nothing listens there.
ADDRESS = "http://127.0.0.1:1/image.png"
# The routes under /openai/ are those under /v1/.
PARTS = ("--include-path-regex=^/admin/", "--exclude-path-regex=^/(admin|openai)/")
LEAST_CASES = 3000
LEAST_JOBS = 300


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Return settings with an admin key, under which no request leaves this machine."""
    settings.gateway = settings.gateway.model_copy(
        update={"admin_key": SecretStr(ADMIN_KEY), "openai_wait_seconds": 0.01}
    )
    settings.outbound = OutboundSettings(
        allowed_ports=frozenset({0}),
        allowed_networks=(IPv4Network("127.0.0.1/32"),),
        denied_hosts=("example.com",),  # of the example in the document
    )
    return settings


async def create_objects(gateway: Gateway) -> None:
    """Create what schemathesis.toml names: jobs, a delivery, tenants and a plan."""
    for _ in range(3):
        await gateway.post("text2img", {**TEXT2IMG_BODY, "webhook": ADDRESS})
    await gateway.finish(await gateway.claim(TEXT2IMG_QUEUE))
    await gateway.run("UPDATE deliveries SET id = CAST($1::text AS uuid)", DELIVERY_ID)
    for name in ("bob", "carol"):
        await new_key(gateway.services, name)
    headers = {"authorization": f"Bearer {ADMIN_KEY}"}
    for name in ("silver", "gold"):
        await gateway.client.post("/admin/v1/plans", json={"name": name}, headers=headers)
    # On a plan of its own, whose limits no request changes.
    await gateway.client.put("/admin/v1/tenants/alice/plan", json={"plan": "gold"}, headers=headers)


async def run_schemathesis(port: int, report: Path, paths: str, key: str) -> tuple[str, Any]:
    """Send the requests for some paths; return what schemathesis printed, and its report."""
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("st"),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"http://127.0.0.1:{port}/openapi.json",
        paths,
        "--report=json",
        f"--report-json-path={report}",
        cwd=report.parent,
        env={
            "SCHEMATHESIS_HOOKS": f"{__package__}.hooks",
            "PYTHONPATH": str(ROOT),
            "PYTHONUTF8": "1",
            "API_KEY": key,
            "ADMIN_KEY": ADMIN_KEY,
            "ADDRESS": ADDRESS,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode(), json.loads(await asyncio.to_thread(report.read_bytes))


@pytest.mark.timeout(600)  # under a minute, but much longer on a busy machine
async def test_the_gateway_behaves_as_documented(settings: Settings, tmp_path: Path) -> None:
    async with open_gateway(settings) as gateway, served(gateway) as port:
        await create_objects(gateway)
        # Two processes, since one waits for the gateway most of the time.
        done = await asyncio.gather(
            *(
                run_schemathesis(port, tmp_path / f"{number}.json", paths, gateway.key)
                for number, paths in enumerate(PARTS)
            )
        )
        jobs = await gateway.count_jobs()
        metrics = (await gateway.client.get("/metrics")).text
    for output, report in done:
        assert report["exit_code"] == 0, output
        assert report["operations"]["tested"] == report["operations"]["selected"], output
    assert sum(report["test_cases"]["generated"] for _, report in done) >= LEAST_CASES
    # With fewer, most requests would have tested nothing but the rejection of their key.
    assert jobs >= LEAST_JOBS
    for outcome in ("success", "failed"):
        assert f'outcome="{outcome}",route="/api/v3/fetch/{{job_id}}"' in metrics
