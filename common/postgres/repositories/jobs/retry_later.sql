-- Requeue a job after a failed attempt, which uses up one of its attempts. Its worker is alive, so
-- the job is no longer a suspect.
--
-- Returns the id; no row if the claim was lost.

WITH requeued AS (
    UPDATE jobs
    SET state = 'queued',
        claimed_by = NULL,
        lease_expires_at = NULL,
        available_at = now() + make_interval(secs => CAST(:in_seconds AS double precision)),
        suspect = false,
        error_code = :to_error_code,
        error_message = :to_error_message
    WHERE id = :of_job
      AND attempt = :of_attempt
      AND state = 'running'
    RETURNING id, tenant_id, queue, available_at
),

queue_counter AS (
    -- Lower the counters of running jobs, in the order in which a claim locks them. Mark the tenant
    -- as ready if the job is due at once; otherwise the sweeper does so when it is due.
    UPDATE tenant_queues
    SET running = tenant_queues.running - 1,
        has_ready = tenant_queues.has_ready OR requeued.available_at <= now()
    FROM requeued
    WHERE tenant_queues.tenant_id = requeued.tenant_id
      AND tenant_queues.queue = requeued.queue
    RETURNING tenant_queues.tenant_id
),

tenant_counter AS (
    UPDATE tenant_shares
    SET running = tenant_shares.running - 1
    FROM queue_counter
    WHERE tenant_shares.tenant_id = queue_counter.tenant_id
)

SELECT id FROM requeued
