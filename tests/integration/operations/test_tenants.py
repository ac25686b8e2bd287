"""Tenants: created, put on plans, limited, disabled and deleted."""

import pytest

from common.domain.errors import (
    ConflictError,
    InvalidLimitsError,
    InvalidNameError,
    NotFoundError,
)
from common.operations.api_keys import issue_key
from common.operations.plans import create_plan
from common.operations.tenants import (
    create_tenant,
    delete_tenant,
    disable_tenant,
    enable_tenant,
    list_tenants,
    set_tenant_limits,
    set_tenant_plan,
    show_tenant,
)
from common.postgres.database import Database
from common.postgres.models import TenantShare, WebhookSecret
from tests.integration.operations.rows import Share, rows, set_queue_counters, share, virtual_time
from tests.support.operators import EVERYTHING, OPERATOR, PEPPER, is_live


async def test_a_new_tenant_has_a_webhook_secret_and_a_share(database: Database) -> None:
    made = await create_tenant(database, OPERATOR, "acme")
    (secret,) = await rows(database, WebhookSecret)
    assert (secret["secret"], secret["expires_at"]) == (made.webhook_secret, None)
    assert await share(database, "acme") == Share(1.0, None, None, closed=False)
    (listed,) = (await list_tenants(database, EVERYTHING)).items
    assert (listed.id, listed.name, listed.plan) == (made.id, "acme", "default")


async def test_names_are_unique(database: Database) -> None:
    await create_tenant(database, OPERATOR, "acme")
    with pytest.raises(ConflictError, match="there is already a tenant called acme"):
        await create_tenant(database, OPERATOR, "acme")
    assert len(await rows(database, WebhookSecret)) == 1


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "x" * 65, "é", "a\n", "\x00"])
async def test_invalid_names_are_rejected(database: Database, name: str) -> None:
    with pytest.raises(InvalidNameError, match="the name must be 1 to 64 letters"):
        await create_tenant(database, OPERATOR, name)
    with pytest.raises(NotFoundError):
        await show_tenant(database, name)


async def test_an_unknown_plan_is_an_error(database: Database) -> None:
    with pytest.raises(NotFoundError, match="there is no plan called gold"):
        await create_tenant(database, OPERATOR, "acme", plan="gold")
    await create_tenant(database, OPERATOR, "acme")
    with pytest.raises(NotFoundError, match="there is no plan called gold"):
        await set_tenant_plan(database, OPERATOR, "acme", "gold")


async def test_a_tenants_own_limits_override_its_plans(database: Database) -> None:
    await create_plan(
        database, OPERATOR, "pro", {"weight": 4, "max_running": 8, "max_running_per_queue": 3}
    )
    await create_tenant(database, OPERATOR, "acme", plan="pro")
    assert await share(database, "acme") == Share(4.0, 8, 3, closed=False)

    own = {"weight": 1.0, "max_running": None, "max_running_per_queue": 2}
    view = await set_tenant_limits(database, OPERATOR, "acme", own)
    assert view.limits == own
    assert view.effective_limits.max_running is None
    assert await share(database, "acme") == Share(1.0, None, 2, closed=False)

    view = await set_tenant_plan(database, OPERATOR, "acme", "default")
    assert (view.plan, view.limits) == ("default", own)
    assert await share(database, "acme") == Share(1.0, None, 2, closed=False)
    await set_tenant_limits(database, OPERATOR, "acme", {})
    assert await share(database, "acme") == Share(1.0, None, None, closed=False)
    assert (await show_tenant(database, "acme")).effective_limits.weight == 1.0


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"max_runing": 3}, "max_runing"),
        ({"max_running": 0, "weight": "2"}, "max_running"),
        ({"weight": 10**400}, "weight"),
        ({"monthly_credits": 10**400, "max_queued": 1}, "monthly_credits"),
        ({"monthly_credits": float("nan"), "max_queued": 1}, "monthly_credits"),
        ({"monthly_credits": 5}, "monthly_credits"),
        ({"models": ["a\x00"]}, "models"),
    ],
)
async def test_invalid_limits_change_nothing(
    database: Database, limits: dict[str, object], named: str
) -> None:
    await create_tenant(database, OPERATOR, "acme")
    await set_tenant_limits(database, OPERATOR, "acme", {"max_running": 5})
    with pytest.raises(InvalidLimitsError) as caught:
        await set_tenant_limits(database, OPERATOR, "acme", limits)
    assert named in caught.value.problems
    assert (await share(database, "acme")).max_running == 5


async def test_a_plan_that_conflicts_with_own_limits_is_rejected(database: Database) -> None:
    await create_plan(database, OPERATOR, "free", {"max_queued": 10})
    await create_tenant(database, OPERATOR, "acme", plan="free")
    await set_tenant_limits(database, OPERATOR, "acme", {"monthly_credits": 100})
    with pytest.raises(InvalidLimitsError, match="can be set only if max_queued is also set"):
        await set_tenant_plan(database, OPERATOR, "acme", "default")
    assert (await show_tenant(database, "acme")).plan == "free"


async def test_a_disabled_tenant_has_no_access_until_it_is_enabled(database: Database) -> None:
    await create_tenant(database, OPERATOR, "acme")
    key = (await issue_key(database, OPERATOR, "acme", "web", pepper=PEPPER)).key
    disabled = await disable_tenant(database, OPERATOR, "acme")
    assert disabled.disabled_at is not None
    assert not await is_live(database, key)
    assert (await share(database, "acme")).closed
    with pytest.raises(ConflictError, match="acme is already disabled"):
        await disable_tenant(database, OPERATOR, "acme")

    assert (await enable_tenant(database, OPERATOR, "acme")).disabled_at is None
    assert await is_live(database, key)
    assert not (await share(database, "acme")).closed
    with pytest.raises(ConflictError, match="acme is not disabled"):
        await enable_tenant(database, OPERATOR, "acme")


@pytest.mark.parametrize("disabled_before", [False, True])
async def test_a_tenant_being_deleted_cannot_be_enabled(
    database: Database, *, disabled_before: bool
) -> None:
    await create_tenant(database, OPERATOR, "acme")
    key = (await issue_key(database, OPERATOR, "acme", "web", pepper=PEPPER)).key
    if disabled_before:
        before = (await disable_tenant(database, OPERATOR, "acme")).disabled_at
    deleted = await delete_tenant(database, OPERATOR, "acme")
    assert deleted.deleting_at is not None
    assert deleted.disabled_at == (before if disabled_before else deleted.deleting_at)
    assert not await is_live(database, key)
    assert (await share(database, "acme")).closed
    with pytest.raises(ConflictError, match="acme is being deleted, and cannot be restored"):
        await enable_tenant(database, OPERATOR, "acme")
    with pytest.raises(ConflictError, match="acme is already being deleted"):
        await delete_tenant(database, OPERATOR, "acme")


async def test_service_not_received_while_disabled_is_not_made_up_for(database: Database) -> None:
    for name in ("acme", "other"):
        await create_tenant(database, OPERATOR, name)
    await disable_tenant(database, OPERATOR, "acme")
    await set_queue_counters(database, "acme", virtual_time=10.0, start_tag=9.0)
    await set_queue_counters(database, "acme", "quiet", virtual_time=3.0, start_tag=2.0)
    await set_queue_counters(database, "other", virtual_time=5005.0, start_tag=5000.0)
    await enable_tenant(database, OPERATOR, "acme")
    assert await virtual_time(database, "acme") == 5000.0
    assert await virtual_time(database, "acme", "quiet") == 3.0
    assert await virtual_time(database, "other") == 5005.0


async def test_only_the_share_of_that_tenant_changes(database: Database) -> None:
    for name in ("acme", "other"):
        await create_tenant(database, OPERATOR, name)
    await set_tenant_limits(database, OPERATOR, "acme", {"max_running": 1})
    assert (await share(database, "other")).max_running is None
    assert len(await rows(database, TenantShare)) == 2


async def test_an_unknown_name_is_an_error(database: Database) -> None:
    for asked in (
        show_tenant(database, "nobody"),
        set_tenant_plan(database, OPERATOR, "nobody", "default"),
        set_tenant_limits(database, OPERATOR, "nobody", {}),
        disable_tenant(database, OPERATOR, "nobody"),
        enable_tenant(database, OPERATOR, "nobody"),
        delete_tenant(database, OPERATOR, "nobody"),
    ):
        with pytest.raises(NotFoundError, match="there is no tenant called nobody"):
            await asked
