-- Make up to {limit} failed deliveries of a tenant pending again: those that ended in one of
-- :of_states since :failed_since, the first that failed first. Returns their number.

WITH failed AS (
    SELECT deliveries.id
    FROM deliveries
    WHERE deliveries.tenant_id = :of_tenant
      -- As in the condition of the index, which is only used if the planner sees both states.
      AND deliveries.state IN ('discarded', 'exhausted')
      AND deliveries.state = ANY (CAST(:of_states AS text[]))
      AND deliveries.finished_at >= :failed_since
      AND deliveries.attempt < {max_attempts}
    ORDER BY deliveries.finished_at
    LIMIT {limit}
    FOR UPDATE SKIP LOCKED
),

pending AS (
    -- The attempt number stays: it is the fence, and it makes these retries, which fresh results do
    -- not wait for. The retry schedule begins again.
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
