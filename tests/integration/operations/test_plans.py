"""Plans: created, changed for all their tenants at once, deleted when unused."""

import pytest

from common.domain.errors import (
    ConflictError,
    InvalidLimitsError,
    InvalidNameError,
    NotFoundError,
)
from common.operations.plans import (
    create_plan,
    delete_plan,
    list_plans,
    set_plan_limits,
    show_plan,
)
from common.operations.tenants import create_tenant, set_tenant_limits, set_tenant_plan
from common.postgres.database import Database
from tests.integration.operations.rows import set_queue_counters, share, virtual_time
from tests.support.operators import EVERYTHING, OPERATOR


async def test_a_plan_is_created_shown_and_deleted(database: Database) -> None:
    made = await create_plan(database, OPERATOR, "pro", {"max_running": 4, "weight": 1})
    assert made.limits == {"max_running": 4}  # a weight of 1 is the default
    assert await show_plan(database, "pro") == made
    assert [plan.name for plan in (await list_plans(database, EVERYTHING)).items] == [
        "default",
        "pro",
    ]
    await delete_plan(database, OPERATOR, "pro")
    with pytest.raises(NotFoundError, match="there is no plan called pro"):
        await show_plan(database, "pro")


async def test_invalid_plans_are_rejected(database: Database) -> None:
    with pytest.raises(InvalidNameError):
        await create_plan(database, OPERATOR, "no spaces", {})
    with pytest.raises(InvalidLimitsError, match="max_running must be null or a whole number"):
        await create_plan(database, OPERATOR, "pro", {"max_running": "4"})
    with pytest.raises(ConflictError, match="there is already a plan called default"):
        await create_plan(database, OPERATOR, "default", {})


async def test_new_limits_apply_at_once_to_the_plans_tenants(database: Database) -> None:
    await create_plan(database, OPERATOR, "pro", {"max_running": 4})
    for name, plan in (("acme", "pro"), ("beta", "pro"), ("other", "default")):
        await create_tenant(database, OPERATOR, name, plan=plan)
        await set_queue_counters(database, name, virtual_time=1.0, start_tag=1.0)
    await set_queue_counters(database, "other", virtual_time=90.0, start_tag=80.0)
    await set_tenant_limits(database, OPERATOR, "beta", {"max_running": 2})
    changed = await set_plan_limits(database, OPERATOR, "pro", {"max_running": 6, "weight": 3})
    assert (changed.limits, changed.tenants) == ({"max_running": 6, "weight": 3}, 2)
    shares = {name: await share(database, name) for name in ("acme", "beta", "other")}
    assert [found.max_running for found in shares.values()] == [6, 2, None]
    assert [found.weight for found in shares.values()] == [3.0, 3.0, 1.0]
    assert await virtual_time(database, "acme") == 80.0
    assert await virtual_time(database, "other") == 90.0


async def test_limits_that_conflict_with_a_tenants_own_are_rejected(database: Database) -> None:
    await create_plan(database, OPERATOR, "pro", {"max_queued": 10})
    await create_tenant(database, OPERATOR, "acme", plan="pro")
    await set_tenant_limits(database, OPERATOR, "acme", {"monthly_credits": 5})
    with pytest.raises(ConflictError, match="conflict with those of the tenant acme: monthly"):
        await set_plan_limits(database, OPERATOR, "pro", {})
    assert (await show_plan(database, "pro")).limits == {"max_queued": 10}
    await set_plan_limits(database, OPERATOR, "pro", {"max_queued": 20})


async def test_a_plan_in_use_is_not_deleted(database: Database) -> None:
    await create_plan(database, OPERATOR, "pro", {})
    await create_tenant(database, OPERATOR, "acme", plan="pro")
    in_use = r"the plan pro cannot be deleted because it still has tenants \(1\); "
    with pytest.raises(ConflictError, match=in_use):
        await delete_plan(database, OPERATOR, "pro")
    await set_tenant_plan(database, OPERATOR, "acme", "default")
    await delete_plan(database, OPERATOR, "pro")
    with pytest.raises(ConflictError, match="the plan default cannot be deleted"):
        await delete_plan(database, OPERATOR, "default")


async def test_an_unknown_plan_is_an_error(database: Database) -> None:
    for asked in (
        show_plan(database, "gold"),
        show_plan(database, "\x00"),
        set_plan_limits(database, OPERATOR, "gold", {}),
        delete_plan(database, OPERATOR, "gold"),
    ):
        with pytest.raises(NotFoundError, match="there is no plan called"):
            await asked
