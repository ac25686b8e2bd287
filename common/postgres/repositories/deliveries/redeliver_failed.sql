-- Make up to {limit} failed deliveries of a tenant pending again: those that ended in one of
-- :of_states since :failed_since, earliest first. Returns their number.

WITH failed AS (
    SELECT deliveries.id
    FROM deliveries
    WHERE deliveries.tenant_id = :of_tenant
      -- The condition of the index, which is only used if the planner sees these literals.
      AND deliveries.state IN ('discarded', 'exhausted')
      AND deliveries.state = ANY (CAST(:of_states AS text[]))
      AND deliveries.finished_at >= :failed_since
      AND deliveries.attempt < {max_attempts}
    ORDER BY deliveries.finished_at
    LIMIT {limit}
    FOR UPDATE SKIP LOCKED
),

pending AS (
    -- The attempt number stays: it is the fence, and it makes these retries, behind which first
    -- attempts do not wait. The retry schedule starts over.
    UPDATE deliveries
    SET state = 'pending',
        failures = 0,
        available_at = now(),
        finished_at = NULL
    FROM failed
    WHERE deliveries.id = failed.id
    RETURNING deliveries.id
)

SELECT count(*) AS number
FROM pending
