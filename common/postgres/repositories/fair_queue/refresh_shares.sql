-- Derive the shares of tenants from their plans and what was agreed with them.
--
-- The tenant :of_tenant, or all on the plan :of_plan; the other one is NULL.

WITH agreed AS (
    -- A tenant's own limit takes precedence over its plan's, also where it is null: the same rule
    -- as in `common.domain.limits.Limits`.
    SELECT
        tenants.id AS tenant_id,
        tenants.disabled_at IS NOT NULL AS closed,
        plans.limits || tenants.limits AS limits
    FROM tenants
    JOIN plans ON plans.id = tenants.plan_id
    WHERE tenants.id = :of_tenant OR tenants.plan_id = :of_plan
)

UPDATE tenant_shares
SET closed = agreed.closed,
    weight = coalesce(CAST(agreed.limits ->> 'weight' AS double precision), 1),
    max_running = CAST(agreed.limits ->> 'max_running' AS integer),
    max_running_per_queue = CAST(agreed.limits ->> 'max_running_per_queue' AS integer)
FROM agreed
WHERE tenant_shares.tenant_id = agreed.tenant_id
