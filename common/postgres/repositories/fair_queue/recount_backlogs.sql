-- Recount the backlogs: the cost of the waiting jobs of each tenant in each queue. Reads the index
-- entry of every waiting job.
--
-- As in recount_queues.sql, a row is only updated if its version (xmin) is the one read.

WITH counted AS (
    SELECT tenant_id, queue, sum(cost) AS backlog
    FROM jobs
    WHERE state = 'queued'
    GROUP BY tenant_id, queue
),

wrong AS (
    SELECT
        tenant_queues.tenant_id,
        tenant_queues.queue,
        tenant_queues.xmin AS version,
        coalesce(counted.backlog, 0) AS backlog
    FROM tenant_queues
    LEFT JOIN counted
        ON counted.tenant_id = tenant_queues.tenant_id
        AND counted.queue = tenant_queues.queue
    WHERE tenant_queues.backlog <> coalesce(counted.backlog, 0)
)

UPDATE tenant_queues
SET backlog = wrong.backlog
FROM wrong
WHERE tenant_queues.tenant_id = wrong.tenant_id
  AND tenant_queues.queue = wrong.queue
  AND tenant_queues.xmin = wrong.version
