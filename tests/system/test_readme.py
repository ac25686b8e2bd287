"""The snippets of the README run unchanged against a real installation."""

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from deploy.local.processes.readiness import wait_until_ready
from deploy.local.servers.ports import LOOPBACK, free_port
from tests.system.installation import Installation, small_body
from worker.training.measuring.observation import colours_of
from worker.training.scenes.world import COLOURS

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 60.0
LEAST_GREEN = 0.05  # of the image; the init image has none


def snippet(language: str, holding: str) -> str:
    """Return the one snippet in that language that contains `holding`."""
    texts = [
        text
        for found, text in FENCE.findall((ROOT / "README.md").read_text())
        if found == language and holding in text
    ]
    assert len(texts) == 1, f"{len(texts)} {language} snippets contain {holding!r}"
    return str(texts[0])


@pytest.fixture
def folder(tmp_path: Path, installation: Installation) -> Path:
    """Return a folder with what snippets expect of the repository: samples, home, environment."""
    shutil.copytree(ROOT / "deploy/local/samples", tmp_path / "deploy/local/samples")
    (tmp_path / ".infill").symlink_to(installation.home)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    return tmp_path


def environment(installation: Installation, **more: str) -> dict[str, str]:
    credentials = installation.credentials
    return {
        **os.environ,  # noqa: TID251 - what Python needs to start
        "INFILL_URL": credentials["base_url"],
        "INFILL_KEY": credentials["api_key"],
        "WEBHOOK_SECRET": credentials["webhook_secret"],
        **more,
    }


async def start(*command: str, folder: Path, settings: dict[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=settings, stdout=PIPE, stderr=STDOUT
    )


async def output_of(process: Process) -> str:
    async with asyncio.timeout(SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_the_exports_and_the_curl_request_succeed(
    installation: Installation, folder: Path
) -> None:
    script = snippet("sh", "export INFILL_URL") + snippet("sh", "curl -s")
    settings = environment(installation)
    del settings["INFILL_URL"], settings["INFILL_KEY"]
    output = await output_of(await start("bash", "-c", script, folder=folder, settings=settings))
    assert '"status":"success"' in output.replace(" ", "")


async def test_the_python_request_generates_a_green_triangle(
    installation: Installation, folder: Path
) -> None:
    program = (sys.executable, "-c", snippet("python", "/api/v3/inpaint"))
    settings = environment(installation)
    output = await output_of(await start(*program, folder=folder, settings=settings))
    assert re.match(r"job \d+, seed 7, \d+\.\d\d s", output)
    with Image.open(folder / "green-triangle.png") as image:
        colours = colours_of(np.asarray(image.convert("RGB"), dtype=np.float32))
    assert (colours == tuple(COLOURS).index("green")).mean() > LEAST_GREEN


async def test_the_webhook_receiver_verifies_deliveries(
    installation: Installation, folder: Path
) -> None:
    port = free_port()
    settings = environment(installation, PORT=str(port))
    program = (sys.executable, "-c", snippet("python", "webhook.verify"))
    receiver = await start(*program, folder=folder, settings=settings)
    assert receiver.stdout is not None

    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await wait_until_ready(listens, "the receiver", SECONDS)
        url = f"http://{LOOPBACK}:{port}"
        async with httpx2.AsyncClient(trust_env=False, timeout=SECONDS) as client:
            forged = await client.post(f"{url}/", content=b"{}")
            assert forged.status_code == 400
            fields = {"webhook": f"{url}/", "track_id": "order-17"}
            body = small_body(key=settings["INFILL_KEY"], **fields)
            await client.post(f"{settings['INFILL_URL']}/api/v3/text2img", json=body)
        async with asyncio.timeout(SECONDS):
            while b"order-17 success" not in (line := await receiver.stdout.readline()):
                assert line, "the receiver ended"
    finally:
        receiver.kill()
        await receiver.communicate()
