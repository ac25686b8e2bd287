-- Recount the running jobs of each tenant in each queue.
--
-- Everything is read in one snapshot. If another process updates a row meanwhile, the row's version
-- (xmin) differs from the version read, and the row is skipped: that process has counted correctly.
-- So no lock is held while counting.

WITH counted AS (
    SELECT tenant_id, queue, count(*) AS running
    FROM jobs
    WHERE state = 'running'
    GROUP BY tenant_id, queue
),

wrong AS (
    SELECT
        tenant_queues.tenant_id,
        tenant_queues.queue,
        tenant_queues.xmin AS version,
        coalesce(counted.running, 0) AS running
    FROM tenant_queues
    LEFT JOIN counted
        ON counted.tenant_id = tenant_queues.tenant_id
        AND counted.queue = tenant_queues.queue
    WHERE tenant_queues.running <> coalesce(counted.running, 0)
)

UPDATE tenant_queues
SET running = wrong.running
FROM wrong
WHERE tenant_queues.tenant_id = wrong.tenant_id
  AND tenant_queues.queue = wrong.queue
  AND tenant_queues.xmin = wrong.version
