-- Sum the usage from :since to :until, both included, by tenant, day and model: of the tenant
-- :of_tenant, or of all tenants if {everywhere} is 1.
--
-- {everywhere} is written into the text, so the planner removes the condition or uses its index.
--
-- A statement reads one snapshot, in which an entry is either in the daily totals or marked as
-- unfolded.

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
    WHERE ({everywhere} = 1 OR tenant_id = CAST(:of_tenant AS bigint))
      AND day BETWEEN :since AND :until
),

unfolded AS (
    -- The LIMIT forces a lookup by id for each mark: otherwise a planner that overestimates the
    -- number of marks might scan the ledger, which grows without limit.
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
    WHERE ({everywhere} = 1 OR unfolded_usage.tenant_id = CAST(:of_tenant AS bigint))
      AND entry.day BETWEEN :since AND :until
),

used AS (
    SELECT * FROM folded
    UNION ALL
    SELECT * FROM unfolded
)

-- Postgres sums bigint as numeric, hence the casts. COLLATE "C" sorts by bytes, whatever the
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
