-- Put a claimed job back into its queue, without using up an attempt.
--
-- The attempt number is the fence and never decreases, so max_attempts is raised instead. Errors of
-- earlier attempts stay, and a suspect remains one. Returns the id; no row if the claim was lost.

WITH released AS (
    UPDATE jobs
    SET state = 'queued',
        claimed_by = NULL,
        lease_expires_at = NULL,
        started_at = NULL,
        max_attempts = max_attempts + 1,
        available_at = now() + make_interval(secs => CAST(:in_seconds AS double precision))
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
        has_ready = tenant_queues.has_ready OR released.available_at <= now()
    FROM released
    WHERE tenant_queues.tenant_id = released.tenant_id
      AND tenant_queues.queue = released.queue
    RETURNING tenant_queues.tenant_id
),

tenant_counter AS (
    UPDATE tenant_shares
    SET running = tenant_shares.running - 1
    FROM queue_counter
    WHERE tenant_shares.tenant_id = queue_counter.tenant_id
)

SELECT id FROM released
