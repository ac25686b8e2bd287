-- Correct due times of tenant dispatches that are later than the due times of their tenant origins,
-- for the given tenants, or for all tenants if {everywhere} is 1.
--
-- Returns a row for each dispatch written.

WITH waiting AS (
    -- When the first of a tenant's origins is due, for first attempts and for retries.
    SELECT
        tenant_origins.tenant_id,
        false AS retries,
        min(greatest(tenant_origins.first_due_at, tenant_origins.held_until)) AS due_at
    FROM tenant_origins
    WHERE greatest(tenant_origins.first_due_at, tenant_origins.held_until) < 'infinity'
      AND ({everywhere} = 1 OR tenant_origins.tenant_id = ANY (CAST(:of_tenants AS bigint[])))
    GROUP BY tenant_origins.tenant_id
    UNION ALL
    SELECT
        tenant_origins.tenant_id,
        true AS retries,
        min(greatest(tenant_origins.retry_due_at, tenant_origins.held_until)) AS due_at
    FROM tenant_origins
    WHERE greatest(tenant_origins.retry_due_at, tenant_origins.held_until) < 'infinity'
      AND ({everywhere} = 1 OR tenant_origins.tenant_id = ANY (CAST(:of_tenants AS bigint[])))
    GROUP BY tenant_origins.tenant_id
)

-- In the order of the keys, so that two such statements never deadlock. Rows that are right are not
-- written, because dispatchers lock them.
INSERT INTO tenant_dispatches (tenant_id, retries, has_due, due_at)
SELECT waiting.tenant_id, waiting.retries, waiting.due_at <= now(), waiting.due_at
FROM waiting
WHERE NOT EXISTS (
    SELECT FROM tenant_dispatches
    WHERE tenant_dispatches.tenant_id = waiting.tenant_id
      AND tenant_dispatches.retries = waiting.retries
      AND (
          tenant_dispatches.has_due
          OR (tenant_dispatches.due_at <= waiting.due_at AND waiting.due_at > now())
      )
)
ORDER BY waiting.tenant_id, waiting.retries
ON CONFLICT (tenant_id, retries) DO UPDATE
SET has_due = tenant_dispatches.has_due OR excluded.has_due,
    due_at = least(tenant_dispatches.due_at, excluded.due_at)
RETURNING tenant_dispatches.tenant_id
