-- Bring forward the due times of origins that are later than their deliveries say: of those given,
-- or of all ({everywhere} is 1).
--
-- The rows: one for each corrected origin.

WITH asked AS (
    SELECT given.tenant_id, given.origin
    FROM unnest(CAST(:of_tenants AS bigint[]), CAST(:of_origins AS text[]))
        AS given (tenant_id, origin)
    UNION ALL
    SELECT tenant_origins.tenant_id, tenant_origins.origin
    FROM tenant_origins
    WHERE {everywhere} = 1
),

derived AS (
    -- When the first attempts and the retries of each are due, by an index of either.
    SELECT
        asked.tenant_id,
        asked.origin,
        coalesce(
            (
                SELECT deliveries.available_at
                FROM deliveries
                WHERE deliveries.tenant_id = asked.tenant_id
                  AND deliveries.origin = asked.origin
                  AND deliveries.state = 'pending'
                  AND deliveries.attempt = 0
                ORDER BY deliveries.available_at
                LIMIT 1
            ),
            'infinity'
        ) AS first_due_at,
        coalesce(
            (
                SELECT deliveries.available_at
                FROM deliveries
                WHERE deliveries.tenant_id = asked.tenant_id
                  AND deliveries.origin = asked.origin
                  AND deliveries.state = 'pending'
                  AND deliveries.attempt > 0
                ORDER BY deliveries.available_at
                LIMIT 1
            ),
            'infinity'
        ) AS retry_due_at
    FROM asked
),

late AS (
    -- What another process has locked is passed over: the next sweep looks at it again.
    SELECT derived.tenant_id, derived.origin, derived.first_due_at, derived.retry_due_at
    FROM derived
    JOIN tenant_origins
        ON tenant_origins.tenant_id = derived.tenant_id
        AND tenant_origins.origin = derived.origin
    WHERE derived.first_due_at < tenant_origins.first_due_at
       OR derived.retry_due_at < tenant_origins.retry_due_at
    FOR UPDATE OF tenant_origins SKIP LOCKED
)

UPDATE tenant_origins
SET first_due_at = least(tenant_origins.first_due_at, late.first_due_at),
    retry_due_at = least(tenant_origins.retry_due_at, late.retry_due_at)
FROM late
WHERE tenant_origins.tenant_id = late.tenant_id
  AND tenant_origins.origin = late.origin
RETURNING tenant_origins.tenant_id
