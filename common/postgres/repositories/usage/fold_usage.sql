-- Fold up to {limit} usage entries into the daily totals. Returns their number.
--
-- Marks and totals change in one statement, so no entry is lost or added twice if the process dies.

WITH marked AS (
    -- Two processes may fold at the same time while the leader changes; each skips the other's
    -- rows.
    SELECT job_id
    FROM unfolded_usage
    ORDER BY job_id
    LIMIT {limit}
    FOR UPDATE SKIP LOCKED
),

unmarked AS (
    DELETE FROM unfolded_usage
    USING marked
    WHERE unfolded_usage.job_id = marked.job_id
    RETURNING unfolded_usage.job_id
),

summed AS (
    -- The LIMIT forces a lookup by id for each mark: otherwise a planner that overestimates the
    -- number of marks might scan the ledger, which grows without limit.
    SELECT
        entry.tenant_id,
        entry.day,
        entry.model,
        count(*) AS jobs,
        sum(entry.images) AS images,
        sum(entry.megapixel_steps) AS megapixel_steps,
        sum(entry.gpu_milliseconds) AS gpu_milliseconds,
        sum(entry.flagged_images) AS flagged_images
    FROM unmarked
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
        WHERE usage_entries.job_id = unmarked.job_id
        LIMIT 1
    ) AS entry ON true
    GROUP BY entry.tenant_id, entry.day, entry.model
),

added AS (
    -- In the order of the keys, so that two processes that add to the same totals never deadlock.
    INSERT INTO daily_usage (
        tenant_id, day, model, jobs, images, megapixel_steps, gpu_milliseconds, flagged_images
    )
    SELECT
        tenant_id, day, model, jobs, images, megapixel_steps, gpu_milliseconds, flagged_images
    FROM summed
    ORDER BY tenant_id, day, model
    ON CONFLICT (tenant_id, day, model) DO UPDATE
    SET jobs = daily_usage.jobs + excluded.jobs,
        images = daily_usage.images + excluded.images,
        megapixel_steps = daily_usage.megapixel_steps + excluded.megapixel_steps,
        gpu_milliseconds = daily_usage.gpu_milliseconds + excluded.gpu_milliseconds,
        flagged_images = daily_usage.flagged_images + excluded.flagged_images
)

SELECT count(*) AS folded FROM unmarked
