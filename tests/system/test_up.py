"""`infill up`, as the README promises it: from the first start to the last."""

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
from tests.system.installation import Installation, alive, body, descendants, infill, up
from worker.training.measuring.contours import shape_of
from worker.training.measuring.observation import colours_of
from worker.training.scenes.shapes import UNSAFE
from worker.training.scenes.world import COLOURS, Pixels

# Of the hole. A triangle covers a quarter of it; noise has less than half of that of any colour.
LEAST_SEEN = 0.2
PARTS = ("postgres", "redis-server", "serve s3", "deploy.cli gateway", "worker", "dispatcher")


async def post(running: Installation, path: str, **fields: object) -> dict[str, object]:
    given = running.credentials
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.post(
            f"{given['base_url']}/api/v3/{path}", json={"key": given["api_key"], **fields}
        )
    assert answer.status_code == 200
    told: dict[str, object] = answer.json()
    return told


async def picture(answer: dict[str, object]) -> bytes:
    output = answer["output"]
    assert isinstance(output, list)
    async with httpx2.AsyncClient(trust_env=False) as client:
        fetched = (await client.get(output[0])).raise_for_status()
    assert fetched.headers["content-type"] == "image/png"
    return fetched.content


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.png").read_bytes()


def asked(prompt: str, **fields: object) -> dict[str, object]:
    """Ask for something in the hole of the sample scene."""
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


async def test_it_runs_every_part_and_says_how_to_reach_it(installation: Installation) -> None:
    commands = " ".join(descendants(installation.process.pid).values())
    assert [part for part in PARTS if part not in commands] == []
    assert set(installation.credentials) == {"base_url", "api_key", "webhook_secret", "admin_key"}
    assert (installation.home / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert "RANDOM weights" in "".join(installation.said)


async def test_the_printed_curl_line_works_as_it_is(installation: Installation) -> None:
    line = next(line for line in installation.said if line.startswith("curl "))
    shell = await asyncio.create_subprocess_exec("bash", "-c", line, stdout=PIPE)
    output, _ = await shell.communicate()
    assert b'"status":"success"' in output.replace(b" ", b"")


async def test_a_picture_can_be_fetched_by_its_link(installation: Installation) -> None:
    answer = await post(installation, "text2img", **body())
    assert answer["status"] == "success"
    assert (await picture(answer)).startswith(b"\x89PNG")


@pytest.mark.parametrize(("colour", "shape"), [("green", "triangle"), ("red", "square")])
async def test_the_hole_is_filled_with_what_was_asked_for(
    installation: Installation, colour: str, shape: str
) -> None:
    answer = await post(installation, "inpaint", **asked(f"a {colour} {shape}"))
    assert answer["status"] == "success"
    drawn = pixels(await picture(answer))
    scene, hole = pixels(sample("scene")), pixels(sample("scene_mask"))[..., 0] > 127
    seen = (colours_of(drawn) == tuple(COLOURS).index(colour)) & hole
    assert seen.sum() > LEAST_SEEN * hole.sum()
    assert shape_of(seen) == shape
    assert (drawn[~hole] == scene[~hole]).all()


async def test_what_is_unsafe_is_withheld_when_that_is_asked_for(
    installation: Installation,
) -> None:
    answers = [
        await post(installation, "inpaint", **asked(f"a red {shape}", safety_checker="yes"))
        for shape in (UNSAFE, "square")
    ]
    assert [answer["nsfw_content_detected"] for answer in answers] == [True, False]
    withheld, shown = [pixels(await picture(answer)) for answer in answers]
    assert not withheld.any()
    assert shown.any()


async def test_a_wrong_request_is_told_what_is_wrong(installation: Installation) -> None:
    answer = await post(installation, "inpaint", **body(samples=9, width="wide"))
    assert answer["status"] == "error"
    assert isinstance(answer["message"], dict)
    assert set(answer["message"]) == {"init_image", "mask_image", "samples", "width"}


async def test_a_second_start_on_the_same_folder_is_refused(installation: Installation) -> None:
    process = await infill("up", "--home", str(installation.home), "--port", str(free_port()))
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert "in use by another Infill" in output.decode()


async def test_data_stay_and_parts_can_be_given_by_url(tmp_path: Path, redis_url: str) -> None:
    home, port = tmp_path / "home", free_port()
    async with up(home, port) as first:
        before = first.credentials
        job = await post(first, "text2img", **body())
        children = descendants(first.process.pid)
        first.process.send_signal(signal.SIGINT)
        assert await first.end() == 0, "".join(first.said)
    assert alive(children) == {}
    assert not (home / "credentials.json").exists()

    async with up(home, port, {"INFILL_REDIS_URL": redis_url}) as second:
        commands = " ".join(descendants(second.process.pid).values())
        assert "redis-server" not in commands
        assert second.credentials == before
        again = await post(second, f"fetch/{job['id']}")
        assert again["status"] == "success"
        assert await picture(job) == await picture(again)  # links of before still work
        assert (await post(second, "text2img", **body()))["status"] == "success"

        children = descendants(second.process.pid)
        gateway = next(pid for pid, command in children.items() if "deploy.cli gateway" in command)
        os.kill(gateway, signal.SIGKILL)
        assert await second.end() == 1
    told = "".join(second.said)
    assert re.search(r"gateway was ended by SIGKILL", told)
    assert "The other processes have been stopped" in told
    assert alive(children) == {}


async def test_a_taken_port_is_told_of_at_once(tmp_path: Path, installation: Installation) -> None:
    process = await infill(
        "up", "--home", str(tmp_path / "other"), "--port", str(installation.port)
    )
    output, _ = await process.communicate()
    assert process.returncode == 1
    assert f"127.0.0.1:{installation.port}" in output.decode()
