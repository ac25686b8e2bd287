"""An eta is within 30 % for nine jobs in ten: in a simulated queue, and in one in Postgres."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pydantic import SecretStr

from common.domain.job import JobState
from common.postgres.database import Database
from common.postgres.repositories.tenants.tenants import create_tenant
from common.settings import DatabaseSettings
from tests.integration.repositories.support.tenant_rows import RESULT, TenantRows
from tests.simulation.__main__ import main
from tests.simulation.asking import ask_all, estimate, share_close, whole_queue
from tests.simulation.postgres import Stage
from tests.simulation.scenarios import CALM, SCENES, Scene, few_accounts, few_orders, order
from tests.simulation.world import LATEST_SUCCESSES

LAST_ARRIVAL_SECONDS = 101.0
PLACES = 4  # of each worker in Postgres; the statements are the same whatever they are
ASKED_AT_SECONDS = (105.0, 150.0, 200.0, 300.0)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_nine_in_ten_are_told_within_30_percent(scene: Scene) -> None:
    world = scene.world(seed=1)
    answers = ask_all(world, estimate, every=1 + world.expected // 500)
    assert share_close([(each.eta, each.as_things_stood) for each in answers]) >= 0.9


def test_the_length_of_everyones_queue_told_half_of_them_wrong() -> None:
    answers = ask_all(CALM.world(seed=1), whole_queue)
    assert share_close([(each.eta, each.as_things_stood) for each in answers]) < 0.7


def test_where_arrivals_are_steady_later_ones_change_little() -> None:
    answers = ask_all(CALM.world(seed=2), estimate)
    assert share_close([(each.eta, each.in_the_end) for each in answers]) >= 0.9


def test_the_command_prints_every_scene(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--every", "100"])
    printed = capsys.readouterr().out
    assert printed.count("by everyone's queue") == len(SCENES)
    assert all(scene.name in printed for scene in SCENES)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    settings = DatabaseSettings(url=SecretStr(database_url), pool_size=4)
    opened = Database(settings, application="test")
    yield opened
    await opened.aclose()


async def test_the_same_in_postgres(database: Database) -> None:
    draw = random.Random(3)
    async with database.statement() as connection:
        tenants = [await create_tenant(connection, f"tenant-{number}") for number in range(7)]
    *ours, past = [tenant for tenant in tenants if tenant is not None]
    for _ in range(LATEST_SUCCESSES):
        drawn = order(draw, 0.0, 6)
        result = replace(RESULT, engine_seconds=drawn.seconds).to_json()
        await TenantRows(database, past).add_job(JobState.SUCCEEDED, cost=drawn.cost, result=result)
    stage = Stage(database, dict(enumerate(ours)), workers=3, places=PLACES)
    await stage.open(few_accounts(), few_orders(draw))
    for at in ASKED_AT_SECONDS:
        stage.at(at, "ask")
    while stage.has_more:
        await stage.step()
    told = [
        (each.eta, (each.order.ended_at or 0) - each.at)
        for each in stage.told
        if each.at >= LAST_ARRIVAL_SECONDS
    ]
    assert len(told) > 150
    assert share_close(told) >= 0.9
