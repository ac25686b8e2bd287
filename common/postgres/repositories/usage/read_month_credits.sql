-- Sum the megapixel-steps a tenant has used in this calendar month (UTC).
--
-- A statement reads one snapshot, in which an entry is either in the daily totals or marked as
-- unfolded.

WITH folded AS (
    SELECT sum(megapixel_steps) AS megapixel_steps
    FROM daily_usage
    WHERE tenant_id = :of_tenant
      AND day >= CAST(timezone('UTC', date_trunc('month', now(), 'UTC')) AS date)
),

unfolded AS (
    -- The LIMIT forces a lookup by id for each mark: otherwise a planner that overestimates the
    -- number of marks might scan the ledger, which grows without limit.
    SELECT sum(entry.megapixel_steps) AS megapixel_steps
    FROM unfolded_usage
    JOIN LATERAL (
        SELECT megapixel_steps, created_at
        FROM usage_entries
        WHERE usage_entries.job_id = unfolded_usage.job_id
        LIMIT 1
    ) AS entry ON true
    WHERE unfolded_usage.tenant_id = :of_tenant
      AND entry.created_at >= date_trunc('month', now(), 'UTC')
)

SELECT
    coalesce(folded.megapixel_steps, CAST(0 AS numeric(20, 6)))
        + coalesce(unfolded.megapixel_steps, CAST(0 AS numeric(20, 6))) AS credits
FROM folded, unfolded
