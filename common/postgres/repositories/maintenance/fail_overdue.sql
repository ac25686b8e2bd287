-- Fail up to :at_most jobs that are still queued more than :max_queue_seconds after they were
-- accepted, oldest first.
--
-- Returns a row for each job: the job, its file prefix, and its delivery or NULL.

WITH overdue AS (
    SELECT id
    FROM jobs
    WHERE state = 'queued'
      AND created_at
          < now() - make_interval(secs => CAST(:max_queue_seconds AS double precision))
    ORDER BY created_at
    LIMIT :at_most
    FOR UPDATE SKIP LOCKED
),

ended AS (
    UPDATE jobs
    SET state = 'failed',
        claimed_by = NULL,
        lease_expires_at = NULL,
        finished_at = now(),
        error_code = 'queue_time_exceeded',
        error_message = :to_error_message
    FROM overdue
    WHERE jobs.id = overdue.id
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
