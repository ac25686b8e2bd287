-- Delete up to {limit} tenant origins without pending deliveries whose circuit breaker has counted
-- no attempt for :idle_seconds.

WITH idle AS (
    -- `deliveries` is searched too, by the indexes of first attempts and of retries: a pending
    -- delivery without its tenant origin would never be claimed.
    SELECT tenant_origins.tenant_id, tenant_origins.origin
    FROM tenant_origins
    WHERE tenant_origins.sending = 0
      AND tenant_origins.first_due_at = 'infinity'
      AND tenant_origins.retry_due_at = 'infinity'
      AND tenant_origins.counted_since
          < now() - make_interval(secs => CAST(:idle_seconds AS double precision))
      AND (
          SELECT deliveries.id
          FROM deliveries
          WHERE deliveries.tenant_id = tenant_origins.tenant_id
            AND deliveries.origin = tenant_origins.origin
            AND deliveries.state = 'pending'
            AND deliveries.attempt = 0
          ORDER BY deliveries.available_at
          LIMIT 1
      ) IS NULL
      AND (
          SELECT deliveries.id
          FROM deliveries
          WHERE deliveries.tenant_id = tenant_origins.tenant_id
            AND deliveries.origin = tenant_origins.origin
            AND deliveries.state = 'pending'
            AND deliveries.attempt > 0
          ORDER BY deliveries.available_at
          LIMIT 1
      ) IS NULL
    LIMIT {limit}
    FOR UPDATE SKIP LOCKED
)

DELETE FROM tenant_origins
USING idle
WHERE tenant_origins.tenant_id = idle.tenant_id
  AND tenant_origins.origin = idle.origin
