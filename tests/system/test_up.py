"""`infill up`, as described in the README: from the first start to the last."""

import asyncio
import os
import re
import signal
from asyncio.subprocess import PIPE
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from deploy.local.sample_server import SAMPLES
from deploy.local.servers.ports import free_port
from tests.system.installation import Installation, alive, descendants, infill, small_body, up
from worker.training.measuring.contours import shape_of
from worker.training.measuring.observation import colours_of
from worker.training.scenes.shapes import UNSAFE
from worker.training.scenes.world import COLOURS, Pixels

# Of the hole. A triangle covers a quarter of it; noise has less than half as much of any colour.
MIN_SHARE = 0.2
PARTS = ("postgres", "redis-server", "serve s3", "deploy.cli gateway", "worker", "dispatcher")


async def post(running: Installation, path: str, **fields: object) -> dict[str, object]:
    credentials = running.credentials
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        response = await client.post(
            f"{credentials['base_url']}/api/v3/{path}",
            json={"key": credentials["api_key"], **fields},
        )
    assert response.status_code == 200
    result: dict[str, object] = response.json()
    return result


async def fetch_image(result: dict[str, object]) -> bytes:
    output = result["output"]
    assert isinstance(output, list)
    async with httpx2.AsyncClient(trust_env=False) as client:
        fetched = (await client.get(output[0])).raise_for_status()
    assert fetched.headers["content-type"] == "image/png"
    return fetched.content


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.png").read_bytes()


def inpaint_body(prompt: str, **fields: object) -> dict[str, object]:
    """Return the v3 body of a request to fill the hole of the sample image."""
    return {
        "prompt": prompt,
        "init_image": b64encode(sample("scene")).decode(),
        "mask_image": b64encode(sample("scene_mask")).decode(),
        "width": 256,
        "height": 256,
        "guidance_scale": 2,
        "seed": 7,
        **fields,
    }


def pixels(content: bytes) -> Pixels:
    return np.asarray(Image.open(BytesIO(content)).convert("RGB"), dtype=np.float32)


async def test_up_starts_every_process_and_writes_the_credentials(
    installation: Installation,
) -> None:
    commands = " ".join(descendants(installation.process.pid).values())
    assert [part for part in PARTS if part not in commands] == []
    assert set(installation.credentials) == {"base_url", "api_key", "webhook_secret", "admin_key"}
    assert (installation.home / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert "RANDOM weights" in "".join(installation.output)


async def test_the_printed_curl_command_works_unchanged(installation: Installation) -> None:
    line = next(line for line in installation.output if line.startswith("curl "))
    shell = await asyncio.create_subprocess_exec("bash", "-c", line, stdout=PIPE)
    output, _ = await shell.communicate()
    assert b'"status":"success"' in output.replace(b" ", b"")


async def test_an_image_can_be_fetched_by_its_link(installation: Installation) -> None:
    result = await post(installation, "text2img", **small_body())
    assert result["status"] == "success"
    assert (await fetch_image(result)).startswith(b"\x89PNG")


@pytest.mark.parametrize(("colour", "shape"), [("green", "triangle"), ("red", "square")])
async def test_the_hole_is_filled_according_to_the_prompt(
    installation: Installation, colour: str, shape: str
) -> None:
    result = await post(installation, "inpaint", **inpaint_body(f"a {colour} {shape}"))
    assert result["status"] == "success"
    filled = pixels(await fetch_image(result))
    init, hole = pixels(sample("scene")), pixels(sample("scene_mask"))[..., 0] > 127
    seen = (colours_of(filled) == tuple(COLOURS).index(colour)) & hole
    assert seen.sum() > MIN_SHARE * hole.sum()
    assert shape_of(seen) == shape
    assert (filled[~hole] == init[~hole]).all()


async def test_an_unsafe_image_is_black_if_the_safety_checker_is_on(
    installation: Installation,
) -> None:
    results = [
        await post(installation, "inpaint", **inpaint_body(f"a red {shape}", safety_checker="yes"))
        for shape in (UNSAFE, "square")
    ]
    assert [result["nsfw_content_detected"] for result in results] == [True, False]
    unsafe, safe = [pixels(await fetch_image(result)) for result in results]
    assert not unsafe.any()
    assert safe.any()


async def test_a_bad_request_gets_an_error_for_each_field(installation: Installation) -> None:
    result = await post(installation, "inpaint", **small_body(samples=9, width="wide"))
    assert result["status"] == "error"
    assert isinstance(result["message"], dict)
    assert set(result["message"]) == {"init_image", "mask_image", "samples", "width"}


async def test_a_second_start_in_the_same_folder_is_rejected(installation: Installation) -> None:
    process = await infill("up", "--home", str(installation.home), "--port", str(free_port()))
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert "in use by another Infill" in output.decode()


async def test_data_outlive_a_restart_and_redis_can_be_given_by_url(
    tmp_path: Path, redis_url: str
) -> None:
    home, port = tmp_path / "home", free_port()
    async with up(home, port) as first:
        before = first.credentials
        job = await post(first, "text2img", **small_body())
        children = descendants(first.process.pid)
        first.process.send_signal(signal.SIGINT)
        assert await first.end() == 0, "".join(first.output)
    assert alive(children) == {}
    assert not (home / "credentials.json").exists()

    async with up(home, port, {"INFILL_REDIS_URL": redis_url}) as second:
        commands = " ".join(descendants(second.process.pid).values())
        assert "redis-server" not in commands
        assert second.credentials == before
        again = await post(second, f"fetch/{job['id']}")
        assert again["status"] == "success"
        assert await fetch_image(job) == await fetch_image(again)  # earlier links still work
        assert (await post(second, "text2img", **small_body()))["status"] == "success"

        children = descendants(second.process.pid)
        gateway = next(pid for pid, command in children.items() if "deploy.cli gateway" in command)
        os.kill(gateway, signal.SIGKILL)
        assert await second.end() == 1
    output = "".join(second.output)
    assert re.search(r"gateway was ended by SIGKILL", output)
    assert "The other processes have been stopped" in output
    assert alive(children) == {}


async def test_a_used_port_is_reported_at_once(tmp_path: Path, installation: Installation) -> None:
    process = await infill(
        "up", "--home", str(tmp_path / "other"), "--port", str(installation.port)
    )
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert f"127.0.0.1:{installation.port}" in output.decode()
