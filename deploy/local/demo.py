"""`infill demo`: the main job from end to end, on a stack of its own."""

import asyncio
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from standardwebhooks.webhooks import Webhook

from common.domain.errors import ConfigurationError
from common.domain.record import JobRecord
from common.postgres.database import Database
from common.postgres.repositories.jobs.read import read_job
from common.postgres.repositories.tenants.tenants import find_tenant
from deploy.local.credentials import TENANT
from deploy.local.processes.interrupt import run_until_interrupted
from deploy.local.processes.supervisor import Supervisor
from deploy.local.sample_server import SAMPLES, Call, SampleServer, sample_server
from deploy.local.servers.ports import free_port
from deploy.local.stack import Stack, start_stack
from worker.engine.images.side_by_side import side_by_side

STEPS = 9  # how often `report` is called: three servers, migration, processes, four below
ANSWER_SECONDS = 120.0
TRACK_ID = "demo-1"
PROMPT = "a red heart"
# What suits the small model: more exaggerates its colours.
GUIDANCE = 1.5
OWN_WORLD = (
    "Drawn by the small model that ships with the project: "
    "it knows coloured shapes and nothing else."
)


@dataclass(frozen=True, slots=True)
class Shown:
    """What there is to show: the job, its webhook, what fetch said, and the picture."""

    job: JobRecord
    call: Call
    fetched: dict[str, Any]
    after: bytes


def demo(pictures: Path) -> None:
    """Run the main job and print what happened when; pictures are left in `pictures`.

    Raises:
        ConfigurationError: a part could not start, or something was not as it should be.
    """
    console = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn("{task.description:<32}"), BarColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="infill-demo-") as home,
        Progress(*columns, console=console) as progress,
    ):
        task = progress.add_task("starting", total=STEPS)

        def report(step: str) -> None:
            progress.update(task, advance=1, description=step)

        shown = asyncio.run(run_until_interrupted(_main_job(Path(home), report)))
        progress.update(task, completed=STEPS, description="done" if shown else "interrupted")
    if shown is None:
        raise ConfigurationError("interrupted; everything has been stopped")
    _print_timeline(console, shown)
    _leave_pictures(console, pictures, shown.after)


async def _main_job(home: Path, report: Any) -> Shown:
    async with Supervisor(home / "logs") as supervisor, sample_server(SAMPLES) as beside:
        stack = await start_stack(home, free_port(), supervisor, report)
        async with httpx2.AsyncClient(
            base_url=stack.credentials.base_url, timeout=ANSWER_SECONDS, trust_env=False
        ) as client:
            report("sending the request")
            answer = await _post(client, "/api/v3/inpaint", example_request(stack, beside))
            report("waiting for the webhook")
            async with asyncio.timeout(ANSWER_SECONDS):
                call = await beside.calls.get()
            report("verifying its signature")
            Webhook(stack.credentials.webhook_secret).verify(call.body, call.headers)
            _require(json.loads(call.body)["track_id"] == TRACK_ID, "the webhook's track_id")
            report("fetching the job")
            key = {"key": stack.credentials.api_key}
            fetched = await _post(client, f"/api/v3/fetch/{answer['id']}", key)
            _require(fetched["status"] == "success", f"the job's end: {fetched}")
            after = (await client.get(fetched["output"][0])).raise_for_status().content
        return Shown(await _job(stack, answer["id"]), call, fetched, after)


def example_request(stack: Stack, beside: SampleServer) -> dict[str, Any]:
    """Give the hosted service's example, with what the small model knows to draw."""
    return {
        "key": stack.credentials.api_key,
        "prompt": PROMPT,
        "negative_prompt": None,
        "init_image": f"{beside.base_url}/scene.png",
        "mask_image": f"{beside.base_url}/scene_mask.png",
        "width": "256",
        "height": "256",
        "samples": "1",
        "num_inference_steps": "30",
        "safety_checker": "no",
        "enhance_prompt": "yes",
        "guidance_scale": GUIDANCE,
        "strength": 0.7,
        "base64": "no",
        "seed": None,
        "webhook": f"{beside.base_url}/webhook",
        "track_id": TRACK_ID,
    }


async def _post(client: httpx2.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = (await client.post(path, json=body)).raise_for_status().json()
    _require(answer["status"] in {"success", "processing"}, f"{path} answered {answer}")
    return answer


async def _job(stack: Stack, job_id: int) -> JobRecord:
    database = Database(stack.settings.database, application="infill-demo")
    try:
        async with database.statement() as connection:
            tenant_id = await find_tenant(connection, TENANT)
            view = await read_job(connection, tenant_id=tenant_id or 0, job_id=job_id)
    finally:
        await database.aclose()
    if view is None:
        raise ConfigurationError(f"job {job_id} is not in the database")
    return view.job


def _require(holds: bool, what: str) -> None:  # noqa: FBT001 a statement, not an option
    if not holds:
        raise ConfigurationError(f"the demo failed: not as expected: {what}")


def _print_timeline(console: Console, shown: Shown) -> None:
    accepted = shown.job.created_at.timestamp()
    moments = shown.job.result.timeline if shown.job.result else {}
    rows = {
        "accepted": accepted,
        "started": moments["generation_started"],
        "generated": moments["generated"],
        "uploaded": moments["uploaded"],
        "webhook received": shown.call.arrived_at.timestamp(),
    }
    console.print(f"\njob {shown.job.id}, seed {shown.fetched['meta']['seed']}")
    for name, moment in rows.items():
        console.print(f"  {name:<17}{(moment - accepted) * 1000:>9.1f} ms")
    console.print(f"signature of webhook {shown.call.headers['webhook-id']}: verified")
    console.print(f"prompt as drawn: {shown.fetched['meta']['prompt']}", markup=False)


def _leave_pictures(console: Console, pictures: Path, after: bytes) -> None:
    pictures.mkdir(parents=True, exist_ok=True)
    contents = {
        "before": (SAMPLES / "scene.png").read_bytes(),
        "mask": (SAMPLES / "scene_mask.png").read_bytes(),
        "after": after,
    }
    for name, content in contents.items():
        path = pictures / f"{name}.png"
        path.write_bytes(content)
        console.print(f"{name + ':':<8}{path}")
    together = pictures / "demo.png"
    together.write_bytes(side_by_side(list(contents.values())))
    console.print(f"{'all:':<8}{together}")
    console.print(OWN_WORLD)
