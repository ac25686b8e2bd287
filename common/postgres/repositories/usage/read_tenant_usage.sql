-- Add up what the tenant :of_tenant used from :since to :until, both included, by day and model.
-- As read_usage.sql, apart from the tenant: a condition that may be absent would cost the indexes.
--
-- One statement sees one moment: an entry is in the daily totals or among those marked as unfolded,
-- never in both.

WITH folded AS (
    SELECT
        tenant_id,
        day,
        model,
        jobs,
        images,
        megapixel_steps,
        gpu_milliseconds,
        flagged_images
    FROM daily_usage
    WHERE tenant_id = :of_tenant
      AND day BETWEEN :since AND :until
),

unfolded AS (
    -- The entries are looked up one by one, which the LIMIT forces: the ledger grows for ever, and
    -- a planner that thinks the marks many would read through it.
    SELECT
        entry.tenant_id,
        entry.day,
        entry.model,
        1 AS jobs,
        entry.images,
        entry.megapixel_steps,
        entry.gpu_milliseconds,
        entry.flagged_images
    FROM unfolded_usage
    JOIN LATERAL (
        SELECT
            tenant_id,
            CAST(timezone('UTC', created_at) AS date) AS day,
            model,
            images,
            megapixel_steps,
            gpu_milliseconds,
            flagged_images
        FROM usage_entries
        WHERE usage_entries.job_id = unfolded_usage.job_id
        LIMIT 1
    ) AS entry ON true
    WHERE unfolded_usage.tenant_id = :of_tenant
      AND entry.day BETWEEN :since AND :until
),

used AS (
    SELECT * FROM folded
    UNION ALL
    SELECT * FROM unfolded
)

-- The sums of whole numbers are numeric; they are whole again. Sorted by their bytes, whatever the
-- collation of the database.
SELECT
    tenants.name AS tenant,
    used.day,
    used.model,
    CAST(sum(used.jobs) AS bigint) AS jobs,
    CAST(sum(used.images) AS bigint) AS images,
    CAST(sum(used.megapixel_steps) AS numeric(20, 6)) AS megapixel_steps,
    CAST(sum(used.gpu_milliseconds) AS bigint) AS gpu_milliseconds,
    CAST(sum(used.flagged_images) AS bigint) AS flagged_images
FROM used
JOIN tenants ON tenants.id = used.tenant_id
GROUP BY tenants.name, used.day, used.model
ORDER BY tenants.name COLLATE "C", used.day, used.model COLLATE "C"
