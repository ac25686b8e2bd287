"""Jobs of loaded models are claimed first, and nobody waits for that longer than the patience."""

import pytest

from common.domain.generation import GenerationRequest
from common.settings import WorkerSettings
from tests.integration.repositories.conftest import make_tenant
from tests.integration.worker.harness.engine import ControlledEngine
from tests.integration.worker.harness.worker_harness import WorkerHarness
from worker.engine.images.inputs import InputImages
from worker.engine.interface import UNWATCHED, GenerationCallback, GenerationResult

LONG = 1000.0


class RoomForOne(ControlledEngine):
    """Has one model loaded: that of the last picture."""

    loaded = ("one",)

    def generate(
        self, request: GenerationRequest, pixels: InputImages, watch: GenerationCallback = UNWATCHED
    ) -> GenerationResult:
        self.loaded = (request.model,)
        return super().generate(request, pixels, watch)


@pytest.mark.parametrize(
    ("patience", "expected"),
    [
        (LONG, ["one", "one", "one", "one", "two", "two"]),
        (0.0, ["one", "two", "one", "two", "one", "one"]),
    ],
    ids=["patient", "not at all"],
)
async def test_jobs_of_the_loaded_model_go_first_for_as_long_as_is_patience(
    harness: WorkerHarness, patience: float, expected: list[str]
) -> None:
    """Whoever waits for another model is another tenant: it is asked for as soon as that."""
    bob = harness.replace(books=await make_tenant(harness.database, "bob"))
    for _ in range(4):
        await harness.queue_text2img(model="one")
    for _ in range(2):
        await bob.queue_text2img(model="two")
    assert await models_drawn(harness, patience) == expected


async def test_tenants_of_the_same_model_share_it_as_before(harness: WorkerHarness) -> None:
    bob = harness.replace(books=await make_tenant(harness.database, "bob"))
    for _ in range(3):
        await harness.queue_text2img(model="one", prompt="alice")
    await bob.queue_text2img(model="one", prompt="bob")
    await models_drawn(harness, LONG)
    assert "bob" in [order.prompt for order in harness.engine_control.generations[:2]]


async def models_drawn(harness: WorkerHarness, patience: float) -> list[str]:
    """Run all jobs one at a time, from a ring of queue two; give their models in order."""
    places = WorkerSettings(concurrency=1, model_patience_seconds=patience)
    engine = RoomForOne(harness.engine_control.folder)
    async with harness.replace(worker_settings=places).worker(engine=engine) as worker:
        await worker.runner.run_waiting_jobs("two")
    assert not await harness.jobs_in_state("queued")
    return [order.model for order in harness.engine_control.generations]
