-- Raise the virtual times of tenants to the virtual times of their queues, so that service missed
-- while closed or limited is not made up for at the expense of other tenants.
--
-- It applies to the tenant :of_tenant, or to all tenants on the plan :of_plan; the other parameter
-- is NULL.

WITH locked AS (
    -- In the order of the keys, and before the shares are locked, so that two such statements never
    -- deadlock.
    SELECT tenant_queues.tenant_id, tenant_queues.queue
    FROM tenant_queues
    JOIN tenants ON tenants.id = tenant_queues.tenant_id
    WHERE tenants.id = :of_tenant OR tenants.plan_id = :of_plan
    ORDER BY tenant_queues.tenant_id, tenant_queues.queue
    FOR UPDATE OF tenant_queues
)

UPDATE tenant_queues
SET virtual_time = greatest(
        tenant_queues.virtual_time, infill_virtual_time(tenant_queues.queue)
    )
FROM locked
WHERE tenant_queues.tenant_id = locked.tenant_id
  AND tenant_queues.queue = locked.queue
