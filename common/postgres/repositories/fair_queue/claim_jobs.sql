-- Claim up to {limit} jobs of the first of :of_queues that has any, by start-time fair queueing.
-- Decision record 0014 explains the order and the locks.
--
-- The rows: one for each claimed job, in the order they are due; and one without a job for each
-- tenant of which none was claimed. A single row without a tenant: other claimers are serving all
-- tenants that are next. No row: no tenant of any queue can be served.

WITH first_queue AS (
    -- Choose the first queue with a tenant that can be served: it has work, is open, and is below
    -- its limits of running jobs. Read in the order of an index: otherwise the planner may scan
    -- the table, hoping to meet such a tenant soon.
    SELECT asked.queue
    FROM unnest(CAST(:of_queues AS text[])) WITH ORDINALITY AS asked (queue, position)
    JOIN LATERAL (
        SELECT tenant_queues.tenant_id
        FROM tenant_queues
        JOIN tenant_shares ON tenant_shares.tenant_id = tenant_queues.tenant_id
        WHERE tenant_queues.queue = asked.queue
          AND tenant_queues.has_ready
          AND NOT tenant_shares.closed
          AND least(
              coalesce(tenant_shares.max_running_per_queue, 2147483647) - tenant_queues.running,
              coalesce(tenant_shares.max_running, 2147483647) - tenant_shares.running
          ) > 0
        ORDER BY tenant_queues.virtual_time
        LIMIT 1
    ) AS servable ON true
    ORDER BY asked.position
    LIMIT 1
),

tenants AS (
    -- Lock the tenants to be served, the least served first; of equals the one served longest ago.
    -- SKIP LOCKED passes over those that other claimers are serving. Postgres locks a row in its
    -- newest version, and only checks again whether it still matches: comparing the row with
    -- itself as first seen passes over tenants that were served since this statement began.
    SELECT
        tenant_queues.tenant_id,
        tenant_queues.queue,
        tenant_queues.virtual_time,
        tenant_shares.weight,
        least(
            coalesce(tenant_shares.max_running_per_queue, 2147483647) - tenant_queues.running,
            coalesce(tenant_shares.max_running, 2147483647) - tenant_shares.running
        ) AS capacity
    FROM tenant_queues
    JOIN tenant_queues AS seen
        ON seen.tenant_id = tenant_queues.tenant_id
        AND seen.queue = tenant_queues.queue
        AND seen.virtual_time = tenant_queues.virtual_time
    JOIN tenant_shares ON tenant_shares.tenant_id = tenant_queues.tenant_id
    WHERE tenant_queues.queue = (SELECT queue FROM first_queue)
      AND tenant_queues.has_ready
      AND NOT tenant_shares.closed
      AND least(
          coalesce(tenant_shares.max_running_per_queue, 2147483647) - tenant_queues.running,
          coalesce(tenant_shares.max_running, 2147483647) - tenant_shares.running
      ) > 0
    ORDER BY tenant_queues.virtual_time, tenant_queues.start_tag
    LIMIT {limit}
    FOR UPDATE OF tenant_queues, tenant_shares SKIP LOCKED
),

skipped AS (
    -- The least virtual time of a tenant that can be served, but that another claimer holds.
    SELECT tenant_queues.virtual_time
    FROM tenant_queues
    JOIN tenant_shares ON tenant_shares.tenant_id = tenant_queues.tenant_id
    WHERE tenant_queues.queue = (SELECT queue FROM first_queue)
      AND tenant_queues.tenant_id NOT IN (SELECT tenant_id FROM tenants)
      AND tenant_queues.has_ready
      AND NOT tenant_shares.closed
      AND least(
          coalesce(tenant_shares.max_running_per_queue, 2147483647) - tenant_queues.running,
          coalesce(tenant_shares.max_running, 2147483647) - tenant_shares.running
      ) > 0
    ORDER BY tenant_queues.virtual_time
    LIMIT 1
),

next_jobs AS (
    -- Each tenant's next jobs, by priority, then age. The tag of a job is the virtual time its
    -- tenant has reached when that job is claimed. The cost before a job is its running sum less
    -- its own cost, so that it is exactly 0 for the first: with a rounding error in its tag, a
    -- newcomer would wait behind a whole round of tenants with the same tag.
    SELECT
        best.id,
        best.cost,
        tenants.tenant_id,
        tenants.weight,
        row_number() OVER of_tenant <= tenants.capacity AS is_within_capacity,
        tenants.virtual_time
            + (sum(best.cost) OVER of_tenant - best.cost) / tenants.weight AS tag
    FROM tenants
    JOIN LATERAL (
        SELECT jobs.id, jobs.cost, jobs.priority
        FROM jobs
        WHERE jobs.tenant_id = tenants.tenant_id
          AND jobs.queue = tenants.queue
          AND jobs.state = 'queued'
          AND jobs.available_at <= now()
        ORDER BY jobs.priority DESC, jobs.id
        LIMIT {limit}
    ) AS best ON true
    WINDOW of_tenant AS (PARTITION BY tenants.tenant_id ORDER BY best.priority DESC, best.id)
),

ready AS (
    -- Passing over tenants must not put them further behind: no tenant is served that is ahead of
    -- the least served of them by more than the job to be claimed.
    SELECT
        id,
        tenant_id,
        tag,
        is_within_capacity
            AND tag <= coalesce((SELECT virtual_time FROM skipped), 'infinity') + cost / weight
            AS may_be_claimed
    FROM next_jobs
),

due AS (
    SELECT id, tag
    FROM ready
    WHERE may_be_claimed
    ORDER BY tag, id
    LIMIT {limit}
),

locked AS (
    -- No other claimer is at these jobs, for their tenants are locked. Another process may be: one
    -- that releases a job holds the job and waits for its tenant. Waiting for it would deadlock.
    -- The state is wrapped in lower() so that no partial index fits: the jobs are found by their
    -- ids, and a planner with old statistics may otherwise read every queued job.
    SELECT jobs.id, jobs.suspect, due.tag
    FROM jobs
    JOIN due ON due.id = jobs.id
    WHERE lower(jobs.state) = 'queued'
    FOR NO KEY UPDATE OF jobs SKIP LOCKED
),

ordered AS (
    SELECT
        id,
        tag,
        row_number() OVER in_order AS position,
        bool_or(suspect) OVER in_order AS is_or_follows_suspect
    FROM locked
    WINDOW in_order AS (ORDER BY tag, id)
),

claimed AS (
    -- A suspect is claimed alone: only as the first, and no job behind it.
    UPDATE jobs
    SET state = 'running',
        attempt = jobs.attempt + 1,
        claimed_by = :by_worker,
        lease_expires_at = now() + make_interval(secs => CAST(:lease_seconds AS double precision)),
        started_at = now()
    FROM ordered
    WHERE jobs.id = ordered.id
      AND (NOT ordered.is_or_follows_suspect OR ordered.position = 1)
    RETURNING
        jobs.id,
        jobs.tenant_id,
        jobs.file_prefix,
        jobs.queue,
        jobs.state,
        jobs.attempt,
        jobs.request,
        jobs.inputs,
        jobs.base64,
        jobs.webhook_url,
        jobs.track_id,
        jobs.result,
        jobs.error_code,
        jobs.error_message,
        jobs.created_at,
        jobs.started_at,
        jobs.finished_at,
        jobs.objects_deleted_at,
        jobs.priority,
        jobs.max_attempts,
        jobs.suspect,
        jobs.cost,
        ordered.tag
),

service AS (
    -- What was found of each locked tenant, and what was claimed of it.
    SELECT
        tenants.tenant_id,
        tenants.weight,
        count(ready.id) AS found,
        count(claimed.id) AS claimed,
        coalesce(sum(claimed.cost), 0) AS cost,
        max(claimed.tag) AS tag
    FROM tenants
    LEFT JOIN ready ON ready.tenant_id = tenants.tenant_id
    LEFT JOIN claimed ON claimed.id = ready.id
    GROUP BY tenants.tenant_id, tenants.weight
),

served AS (
    -- Charge the service to the tenants that got some, and mark those that have no work left.
    UPDATE tenant_queues
    SET running = tenant_queues.running + service.claimed,
        virtual_time = tenant_queues.virtual_time + service.cost / service.weight,
        start_tag = coalesce(service.tag, tenant_queues.start_tag),
        has_ready = service.found >= {limit} OR service.found > service.claimed,
        backlog = greatest(tenant_queues.backlog - service.cost, 0)
    FROM service, first_queue
    WHERE tenant_queues.tenant_id = service.tenant_id
      AND tenant_queues.queue = first_queue.queue
      AND (service.claimed > 0 OR service.found = 0)
    RETURNING tenant_queues.tenant_id, tenant_queues.has_ready, service.claimed
),

counted AS (
    -- The tenant's limit over all queues counts them too.
    UPDATE tenant_shares
    SET running = tenant_shares.running + served.claimed
    FROM served
    WHERE tenant_shares.tenant_id = served.tenant_id
)

SELECT
    served.tenant_id AS served_tenant_id,
    first_queue.queue AS served_queue,
    served.has_ready,
    claimed.id,
    claimed.tenant_id,
    claimed.file_prefix,
    claimed.queue,
    claimed.state,
    claimed.attempt,
    claimed.request,
    claimed.inputs,
    claimed.base64,
    claimed.webhook_url,
    claimed.track_id,
    claimed.result,
    claimed.error_code,
    claimed.error_message,
    claimed.created_at,
    claimed.started_at,
    claimed.finished_at,
    claimed.objects_deleted_at,
    claimed.priority,
    claimed.max_attempts,
    claimed.suspect
FROM first_queue
LEFT JOIN served ON true
LEFT JOIN claimed ON claimed.tenant_id = served.tenant_id
ORDER BY claimed.tag, claimed.id
