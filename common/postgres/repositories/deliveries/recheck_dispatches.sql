-- Record which tenants have something due, or when they will, where their dispatch rows do not say
-- so: of the tenants given, or of all ({everywhere} is 1).
--
-- The rows: one for each dispatch row written.

WITH waiting AS (
    -- When the first of a tenant's origins may send: first attempts and retries.
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

-- In the order of the keys, so that two of these never deadlock. A row that says so already is not
-- written: dispatchers lock it.
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
