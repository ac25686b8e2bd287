"""Jobs of loaded models are claimed first, as long as no other queue waits too long."""

import pytest

from common.domain.generation import GenerationRequest
from common.settings import WorkerSettings
from tests.integration.repositories.conftest import make_tenant
from tests.integration.worker.harness.engine import ControlledEngine
from tests.integration.worker.harness.worker_harness import WorkerHarness
from worker.engine.images.inputs import InputImages
from worker.engine.interface import NO_CALLBACK, GenerationCallback, GenerationResult

LONG = 1000.0


class RoomForOne(ControlledEngine):
    """An engine that keeps one model loaded: that of the last generation."""

    loaded = ("one",)

    def generate(
        self,
        request: GenerationRequest,
        inputs: InputImages,
        callback: GenerationCallback = NO_CALLBACK,
    ) -> GenerationResult:
        self.loaded = (request.model,)
        return super().generate(request, inputs, callback)


@pytest.mark.parametrize(
    ("patience", "expected"),
    [
        (LONG, ["one", "one", "one", "one", "two", "two"]),
        (0.0, ["one", "two", "one", "two", "one", "one"]),
    ],
    ids=["patient", "not at all"],
)
async def test_jobs_of_the_loaded_model_are_claimed_first_until_another_queue_waited_too_long(
    harness: WorkerHarness, patience: float, expected: list[str]
) -> None:
    """The jobs of the other model belong to another tenant, so only the queue order decides."""
    bob = harness.replace(tenant=await make_tenant(harness.database, "bob"))
    for _ in range(4):
        await harness.queue_text2img(model="one")
    for _ in range(2):
        await bob.queue_text2img(model="two")
    assert await generated_models(harness, patience) == expected


async def test_tenants_of_the_loaded_model_are_still_served_in_fair_order(
    harness: WorkerHarness,
) -> None:
    bob = harness.replace(tenant=await make_tenant(harness.database, "bob"))
    for _ in range(3):
        await harness.queue_text2img(model="one", prompt="alice")
    await bob.queue_text2img(model="one", prompt="bob")
    await generated_models(harness, LONG)
    assert "bob" in [order.prompt for order in harness.engine_control.generations[:2]]


async def generated_models(harness: WorkerHarness, patience: float) -> list[str]:
    """Run all jobs one at a time, from a ring of queue two; return their models in order."""
    settings = WorkerSettings(concurrency=1, unloaded_model_wait_seconds=patience)
    engine = RoomForOne(harness.engine_control.folder)
    async with harness.replace(worker_settings=settings).worker(engine=engine) as worker:
        await worker.runner.run_waiting_jobs("two")
    assert not await harness.jobs_in_state("queued")
    return [order.model for order in harness.engine_control.generations]
