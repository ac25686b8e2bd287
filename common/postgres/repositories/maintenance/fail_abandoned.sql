-- Fail up to :at_most jobs whose lease expired on their last allowed attempt, longest ago first.
--
-- The counters of running jobs are left to a recount: this statement ends jobs of many tenants, and
-- locking the counters of all of them would delay claims. Returns a row for each job: the job, its
-- file prefix, and its delivery or NULL.

WITH abandoned AS (
    SELECT id
    FROM jobs
    WHERE state = 'running'
      AND lease_expires_at < now()
      AND attempt >= max_attempts
    ORDER BY lease_expires_at
    LIMIT :at_most
    FOR UPDATE SKIP LOCKED
),

ended AS (
    UPDATE jobs
    SET state = 'failed',
        claimed_by = NULL,
        lease_expires_at = NULL,
        finished_at = now(),
        error_code = :to_error_code,
        error_message = 'the process that ran the job stopped unexpectedly (tried '
            || jobs.attempt || CASE jobs.attempt WHEN 1 THEN ' time)' ELSE ' times)' END
    FROM abandoned
    WHERE jobs.id = abandoned.id
    RETURNING jobs.id, jobs.tenant_id, jobs.file_prefix, jobs.webhook_url
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
