-- Delete up to {limit} origins that have nothing to send and have counted no attempt for
-- :idle_seconds, with what their circuit breakers counted.

WITH idle AS (
    -- Whether a delivery waits is read from the deliveries too, by an index of first attempts and
    -- one of retries: none may be left without its origin.
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
