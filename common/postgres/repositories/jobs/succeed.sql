-- Finish a job with its result: record result, usage entry and delivery in one statement, so that
-- no result lacks its delivery and none is charged twice.
--
-- Returns the job, its file prefix, and its delivery or NULL; no row if the claim was lost.

WITH ended AS (
    -- The fence: this attempt, still running. Errors of earlier attempts are cleared.
    UPDATE jobs
    SET state = 'succeeded',
        claimed_by = NULL,
        lease_expires_at = NULL,
        finished_at = now(),
        result = :to_result,
        suspect = false,
        error_code = NULL,
        error_message = NULL
    WHERE id = :of_job
      AND attempt = :of_attempt
      AND state = 'running'
    RETURNING id, tenant_id, queue, file_prefix, request, cost, webhook_url
),

charged AS (
    INSERT INTO usage_entries (
        job_id, tenant_id, model, images, megapixel_steps, gpu_milliseconds, flagged_images
    )
    SELECT
        id,
        tenant_id,
        request ->> 'model',
        CAST(:charged_images AS smallint),
        CAST(cost AS numeric(20, 6)),
        CAST(:charged_milliseconds AS bigint),
        CAST(:charged_flagged AS smallint)
    FROM ended
    RETURNING job_id, tenant_id
),

unfolded AS (
    -- Mark the entry as not yet folded into the daily totals, for the sweeper.
    INSERT INTO unfolded_usage (job_id, tenant_id)
    SELECT job_id, tenant_id FROM charged
),

queue_counter AS (
    -- Lower the counters of running jobs, in the order in which a claim locks them.
    UPDATE tenant_queues
    SET running = tenant_queues.running - 1
    FROM ended
    WHERE tenant_queues.tenant_id = ended.tenant_id
      AND tenant_queues.queue = ended.queue
    RETURNING tenant_queues.tenant_id
),

tenant_counter AS (
    UPDATE tenant_shares
    SET running = tenant_shares.running - 1
    FROM queue_counter
    WHERE tenant_shares.tenant_id = queue_counter.tenant_id
),

outbox AS (
    INSERT INTO deliveries (job_id, tenant_id, event, url)
    SELECT id, tenant_id, 'job.succeeded', webhook_url
    FROM ended
    WHERE webhook_url IS NOT NULL
    RETURNING id, job_id
)

SELECT ended.id, ended.file_prefix, outbox.id AS delivery_id
FROM ended
LEFT JOIN outbox ON outbox.job_id = ended.id
