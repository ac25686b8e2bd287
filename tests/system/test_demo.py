"""`make demo`, as described in the README."""

import asyncio
import re
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

from deploy.local.processes.readiness import wait_until_ready
from tests.system.installation import END_SECONDS, START_SECONDS, alive, descendants, infill
from worker.training.measuring.contours import shape_of
from worker.training.measuring.observation import colours_of
from worker.training.scenes.world import COLOURS

MOMENTS = ("accepted", "started", "generated", "uploaded", "webhook received")


async def run_demo(images: Path) -> str:
    process = await infill("demo", "--images", str(images))
    async with asyncio.timeout(START_SECONDS + END_SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_the_demo_runs_a_job_and_leaves_only_its_images(tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("infill-demo-*"))
    output = await run_demo(tmp_path)
    times = [re.search(rf"{moment}\s+(\d+\.\d) ms", output) for moment in MOMENTS]
    milliseconds = [float(found[1]) for found in times if found]
    assert len(milliseconds) == len(MOMENTS), output
    assert milliseconds == sorted(milliseconds)
    assert ": verified" in output
    assert "coloured shapes" in output
    for name in ("before", "mask", "after", "demo"):
        assert str(tmp_path / f"{name}.png") in output
    assert_only_the_mask_changed(tmp_path)
    assert_a_red_heart_fills_it(tmp_path)
    assert set(Path("/tmp").glob("infill-demo-*")) == before


def assert_only_the_mask_changed(images: Path) -> None:
    opened = (Image.open(images / f"{name}.png") for name in ("before", "mask", "after"))
    before, mask, after = (next(opened).convert(mode) for mode in ("RGB", "L", "RGB"))
    changed = (
        ImageChops.difference(before, after).convert("L").point(lambda level: 255 * (level > 0))
    )
    assert changed.getbbox() is not None
    kept = mask.point(lambda level: 255 * (level == 0))
    assert ImageChops.multiply(changed, kept).getbbox() is None


def assert_a_red_heart_fills_it(images: Path) -> None:
    after = np.asarray(Image.open(images / "after.png").convert("RGB"), dtype=np.float32)
    hole = np.asarray(Image.open(images / "mask.png").convert("L")) > 127
    seen = colours_of(after) == tuple(COLOURS).index("red")
    assert seen[hole].mean() > 0.2
    assert not seen[~hole].any()
    assert shape_of(seen & hole) == "heart"


async def test_an_interrupted_demo_leaves_nothing_running(tmp_path: Path) -> None:
    process = await infill("demo", "--images", str(tmp_path))

    async def has_children() -> bool:
        return any("postgres" in command for command in descendants(process.pid).values())

    await wait_until_ready(has_children, "the demo's Postgres", START_SECONDS)
    children = descendants(process.pid)
    process.terminate()
    async with asyncio.timeout(END_SECONDS):
        output, _ = await process.communicate()
    assert process.returncode == 1
    assert "interrupted; everything has been stopped" in output.decode()
    assert alive(children) == {}
