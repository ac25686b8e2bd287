-- Derive the shares of tenants from the limits of plan and tenant.
--
-- It applies to the tenant :of_tenant, or to all tenants on the plan :of_plan; the other parameter
-- is NULL.

WITH effective AS (
    -- A tenant's own limit overrides its plan's, even if it is null: the same rule as in
    -- `common.domain.limits.Limits`.
    SELECT
        tenants.id AS tenant_id,
        tenants.disabled_at IS NOT NULL AS closed,
        plans.limits || tenants.limits AS limits
    FROM tenants
    JOIN plans ON plans.id = tenants.plan_id
    WHERE tenants.id = :of_tenant OR tenants.plan_id = :of_plan
)

UPDATE tenant_shares
SET closed = effective.closed,
    weight = coalesce(CAST(effective.limits ->> 'weight' AS double precision), 1),
    max_running = CAST(effective.limits ->> 'max_running' AS integer),
    max_running_per_queue = CAST(effective.limits ->> 'max_running_per_queue' AS integer)
FROM effective
WHERE tenant_shares.tenant_id = effective.tenant_id
