"""The ledger grows without limit: frequent statements never scan it."""

from datetime import date
from typing import Final

import pytest
from sqlalchemy import text

from common.postgres.repositories.usage.ledger import fold_usage, read_month_credits, read_usage
from tests.integration.repositories.support.query_plans import Call, plans
from tests.integration.repositories.support.tenant_rows import TenantRows

# A year of a hundred tenants; the latest entries are not folded yet.
FILL_TENANTS: Final = """
INSERT INTO tenants (name, plan_id)
SELECT 'tenant-' || n, plans.id FROM plans, generate_series(1, 100) AS n
"""
FILL: Final = """
WITH written AS (
    INSERT INTO usage_entries
        (job_id, tenant_id, model, images, megapixel_steps, gpu_milliseconds, created_at)
    SELECT n, (SELECT min(id) FROM tenants) + n % 100, 'm' || n % 3, 1, 1, 1,
        now() - (20000 - n) * interval '26 minutes'
    FROM generate_series(1, 20000) AS n
    RETURNING job_id, tenant_id
) INSERT INTO unfolded_usage SELECT job_id, tenant_id FROM written WHERE job_id > 18000
"""
FILL_TOTALS: Final = """
INSERT INTO daily_usage SELECT tenants.id, current_date - n, 'm', 1, 1, 1, 1
FROM tenants, generate_series(1, 365) AS n
"""
DAY: Final = date(2026, 5, 4)
ALL_TIMES: Final = (date(2000, 1, 1), date(2100, 1, 1))


async def fill(alice: TenantRows) -> None:
    async with alice.database.transaction() as connection:
        for statement in (FILL_TENANTS, FILL, FILL_TOTALS, "ANALYZE"):
            await connection.execute(text(statement))


@pytest.mark.parametrize(
    ("call", "indexes"),
    [
        pytest.param(
            lambda c: fold_usage(c, limit=100),
            ("pk_unfolded_usage", "pk_usage_entries"),
            id="fold_usage",
        ),
        pytest.param(
            lambda c: read_month_credits(c, 1),
            ("pk_daily_usage", "ix_unfolded_usage_tenant_id"),
            id="read_month_credits",
        ),
        pytest.param(
            lambda c: read_usage(c, 1, DAY, DAY),
            ("pk_daily_usage", "ix_unfolded_usage_tenant_id"),
            id="read_usage",
        ),
        pytest.param(lambda c: read_usage(c, None, *ALL_TIMES), (), id="read_usage_of_all"),
    ],
)
async def test_the_ledger_is_not_scanned(
    alice: TenantRows, database_url: str, call: Call, indexes: tuple[str, ...]
) -> None:
    await fill(alice)
    for plan in await plans(alice.database, database_url, call):
        assert "Seq Scan on usage_entries" not in plan, plan
        for index in indexes:
            assert index in plan, plan
