-- Fail a job: record the error and its delivery in one statement, so that no failed job lacks its
-- delivery.
--
-- Returns the job, its file prefix, and its delivery or NULL; no row if the claim was lost.

WITH ended AS (
    -- The fence: this attempt, still running.
    UPDATE jobs
    SET state = 'failed',
        claimed_by = NULL,
        lease_expires_at = NULL,
        finished_at = now(),
        suspect = false,
        error_code = :to_error_code,
        error_message = :to_error_message
    WHERE id = :of_job
      AND attempt = :of_attempt
      AND state = 'running'
    RETURNING id, tenant_id, queue, file_prefix, webhook_url
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
    SELECT id, tenant_id, 'job.failed', webhook_url
    FROM ended
    WHERE webhook_url IS NOT NULL
    RETURNING id, job_id
)

SELECT ended.id, ended.file_prefix, outbox.id AS delivery_id
FROM ended
LEFT JOIN outbox ON outbox.job_id = ended.id
