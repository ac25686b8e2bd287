"""Jobs of loaded models are claimed first, and nobody waits for that longer than the patience."""

import pytest

from common.domain.generation import GenerationRequest
from common.settings import WorkerSettings
from tests.integration.repositories.conftest import make_tenant
from tests.integration.worker.harness.engine import StudioEngine
from tests.integration.worker.harness.workshop import WorkerHarness
from worker.engine.images.inputs import InputImages
from worker.engine.interface import UNWATCHED, GenerationCallback, GenerationResult

LONG = 1000.0


class RoomForOne(StudioEngine):
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
    workshop: WorkerHarness, patience: float, expected: list[str]
) -> None:
    """Whoever waits for another model is another tenant: it is asked for as soon as that."""
    bob = workshop.having(books=await make_tenant(workshop.database, "bob"))
    for _ in range(4):
        await workshop.drawing(model="one")
    for _ in range(2):
        await bob.drawing(model="two")
    assert await models_drawn(workshop, patience) == expected


async def test_tenants_of_the_same_model_share_it_as_before(workshop: WorkerHarness) -> None:
    bob = workshop.having(books=await make_tenant(workshop.database, "bob"))
    for _ in range(3):
        await workshop.drawing(model="one", prompt="alice")
    await bob.drawing(model="one", prompt="bob")
    await models_drawn(workshop, LONG)
    assert "bob" in [order.prompt for order in workshop.studio.orders[:2]]


async def models_drawn(workshop: WorkerHarness, patience: float) -> list[str]:
    """Run all jobs one at a time, from a ring of queue two; give their models in order."""
    places = WorkerSettings(concurrency=1, model_patience_seconds=patience)
    engine = RoomForOne(workshop.studio.folder)
    async with workshop.having(places=places).worker(engine=engine) as worker:
        await worker.runner.run_waiting_jobs("two")
    assert not await workshop.in_state("queued")
    return [order.model for order in workshop.studio.orders]
