-- Lift tenants to the virtual time of each of their queues: service they did not get while they
-- were closed, or held back by a limit, is not made up for at the expense of others.
--
-- The tenant :of_tenant, or all on the plan :of_plan; the other one is NULL.

WITH locked AS (
    -- Locked in one order, and before their shares, so that two processes that lock like this
    -- cannot deadlock.
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
