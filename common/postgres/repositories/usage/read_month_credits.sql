-- Add up the megapixel-steps a tenant has used in this calendar month, in UTC.
--
-- One statement sees one moment: an entry is in the daily totals or among those marked as unfolded,
-- never in both.

WITH folded AS (
    SELECT sum(megapixel_steps) AS megapixel_steps
    FROM daily_usage
    WHERE tenant_id = :of_tenant
      AND day >= CAST(timezone('UTC', date_trunc('month', now(), 'UTC')) AS date)
),

unfolded AS (
    -- The entries are looked up one by one, which the LIMIT forces: the ledger grows for ever, and
    -- a planner that thinks the marks many would read through it.
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
