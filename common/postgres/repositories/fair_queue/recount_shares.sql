-- Recount the running jobs of each tenant over all its queues.
--
-- As in recount_queues.sql, a row is only updated if its version (xmin) is the one read.

WITH counted AS (
    SELECT tenant_id, sum(running) AS running
    FROM tenant_queues
    GROUP BY tenant_id
),

wrong AS (
    SELECT
        tenant_shares.tenant_id,
        tenant_shares.xmin AS version,
        coalesce(counted.running, 0) AS running
    FROM tenant_shares
    LEFT JOIN counted ON counted.tenant_id = tenant_shares.tenant_id
    WHERE tenant_shares.running <> coalesce(counted.running, 0)
)

UPDATE tenant_shares
SET running = wrong.running
FROM wrong
WHERE tenant_shares.tenant_id = wrong.tenant_id
  AND tenant_shares.xmin = wrong.version
