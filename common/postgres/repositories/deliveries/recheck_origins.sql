-- Correct due times of tenant origins that are later than the due times of their deliveries, for
-- the given origins, or for all origins if {everywhere} is 1.
--
-- Returns a row for each corrected origin.

WITH selected AS (
    SELECT given.tenant_id, given.origin
    FROM unnest(CAST(:of_tenants AS bigint[]), CAST(:of_origins AS text[]))
        AS given (tenant_id, origin)
    UNION ALL
    SELECT tenant_origins.tenant_id, tenant_origins.origin
    FROM tenant_origins
    WHERE {everywhere} = 1
),

derived AS (
    -- When the next first attempt and the next retry of each are due, by their indexes.
    SELECT
        selected.tenant_id,
        selected.origin,
        coalesce(
            (
                SELECT deliveries.available_at
                FROM deliveries
                WHERE deliveries.tenant_id = selected.tenant_id
                  AND deliveries.origin = selected.origin
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
                WHERE deliveries.tenant_id = selected.tenant_id
                  AND deliveries.origin = selected.origin
                  AND deliveries.state = 'pending'
                  AND deliveries.attempt > 0
                ORDER BY deliveries.available_at
                LIMIT 1
            ),
            'infinity'
        ) AS retry_due_at
    FROM selected
),

late AS (
    -- Rows that another process has locked are skipped; the next sweep rechecks them.
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
