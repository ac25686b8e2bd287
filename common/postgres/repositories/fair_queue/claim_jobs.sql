-- Claim up to {limit} jobs of the first of :of_queues with jobs that can be claimed, by start-time
-- fair queueing.
-- Decision record 0014 explains the order and the locks.
--
-- Returns a row for each claimed job, in the order they are due, and a row without a job for each
-- tenant of which none was claimed. A single row without a tenant means that other claims have
-- locked all tenants that are next. No row means that no tenant of any queue can be served.

WITH first_queue AS (
    -- Find the first queue with a tenant that can be served: it has due jobs, is not closed, and is
    -- below its limits of running jobs and its limit for this claim. A tenant without a limit for
    -- this claim has a NULL there, which least() ignores. Read in the order of an index: otherwise
    -- the planner may scan the table, hoping to find such a tenant soon.
    SELECT worker_queues.queue
    FROM unnest(CAST(:of_queues AS text[])) WITH ORDINALITY AS worker_queues (queue, position)
    JOIN LATERAL (
        SELECT tenant_queues.tenant_id
        FROM tenant_queues
        JOIN tenant_shares ON tenant_shares.tenant_id = tenant_queues.tenant_id
        WHERE tenant_queues.queue = worker_queues.queue
          AND tenant_queues.has_ready
          AND NOT tenant_shares.closed
          AND least(
              coalesce(tenant_shares.max_running_per_queue, 2147483647) - tenant_queues.running,
              coalesce(tenant_shares.max_running, 2147483647) - tenant_shares.running,
              (CAST(:tenant_limits AS integer[]))[
                  array_position(CAST(:limited_tenants AS bigint[]), tenant_queues.tenant_id)
              ]
          ) > 0
        ORDER BY tenant_queues.virtual_time
        LIMIT 1
    ) AS servable ON true
    ORDER BY worker_queues.position
    LIMIT 1
),

tenants AS (
    -- Lock the tenants to be served, least served first; of equals the one served longest ago.
    -- SKIP LOCKED skips those that other claims are serving. Postgres locks the newest version of a
    -- row and only rechecks the conditions on it: comparing it with the version in the snapshot
    -- (seen) skips tenants that were served since this statement began.
    SELECT
        tenant_queues.tenant_id,
        tenant_queues.queue,
        tenant_queues.virtual_time,
        tenant_shares.weight,
        least(
            coalesce(tenant_shares.max_running_per_queue, 2147483647) - tenant_queues.running,
            coalesce(tenant_shares.max_running, 2147483647) - tenant_shares.running,
            (CAST(:tenant_limits AS integer[]))[
                array_position(CAST(:limited_tenants AS bigint[]), tenant_queues.tenant_id)
            ]
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
          coalesce(tenant_shares.max_running, 2147483647) - tenant_shares.running,
          (CAST(:tenant_limits AS integer[]))[
              array_position(CAST(:limited_tenants AS bigint[]), tenant_queues.tenant_id)
          ]
      ) > 0
    ORDER BY tenant_queues.virtual_time, tenant_queues.start_tag
    LIMIT {limit}
    FOR UPDATE OF tenant_queues, tenant_shares SKIP LOCKED
),

skipped AS (
    -- The least virtual time of the tenants that can be served but are locked by another claim.
    SELECT tenant_queues.virtual_time
    FROM tenant_queues
    JOIN tenant_shares ON tenant_shares.tenant_id = tenant_queues.tenant_id
    WHERE tenant_queues.queue = (SELECT queue FROM first_queue)
      AND tenant_queues.tenant_id NOT IN (SELECT tenant_id FROM tenants)
      AND tenant_queues.has_ready
      AND NOT tenant_shares.closed
      AND least(
          coalesce(tenant_shares.max_running_per_queue, 2147483647) - tenant_queues.running,
          coalesce(tenant_shares.max_running, 2147483647) - tenant_shares.running,
          (CAST(:tenant_limits AS integer[]))[
              array_position(CAST(:limited_tenants AS bigint[]), tenant_queues.tenant_id)
          ]
      ) > 0
    ORDER BY tenant_queues.virtual_time
    LIMIT 1
),

next_jobs AS (
    -- Each tenant's next jobs, by priority, then age. The start tag of a job is the virtual time
    -- its tenant has reached when that job is claimed. The cost before a job is the running sum
    -- less its own cost, so that it is exactly 0 for the first job: with a rounding error in its
    -- tag, a newcomer would wait behind a whole round of tenants with the same tag.
    SELECT
        best.id,
        best.cost,
        tenants.tenant_id,
        tenants.weight,
        row_number() OVER of_tenant <= tenants.capacity AS is_within_capacity,
        tenants.virtual_time
            + (sum(best.cost) OVER of_tenant - best.cost) / tenants.weight AS start_tag
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
    -- Skipped tenants must not fall behind: no tenant is served that is ahead of the least served
    -- of them by more than the job to be claimed.
    SELECT
        id,
        tenant_id,
        start_tag,
        is_within_capacity
            AND start_tag
                <= coalesce((SELECT virtual_time FROM skipped), 'infinity') + cost / weight
            AS may_be_claimed
    FROM next_jobs
),

due AS (
    SELECT id, start_tag
    FROM ready
    WHERE may_be_claimed
    ORDER BY start_tag, id
    LIMIT {limit}
),

locked AS (
    -- No other claim can lock these jobs, because their tenants are locked. A process that releases
    -- a job can: it has locked the job and waits for the tenant, so waiting for it would deadlock.
    -- The state is wrapped in lower() so that no partial index applies: the jobs are to be found by
    -- id, and with outdated statistics the planner might read every queued job instead.
    SELECT jobs.id, jobs.suspect, due.start_tag
    FROM jobs
    JOIN due ON due.id = jobs.id
    WHERE lower(jobs.state) = 'queued'
    FOR NO KEY UPDATE OF jobs SKIP LOCKED
),

ordered AS (
    SELECT
        id,
        start_tag,
        row_number() OVER in_order AS position,
        bool_or(suspect) OVER in_order AS is_or_follows_suspect
    FROM locked
    WINDOW in_order AS (ORDER BY start_tag, id)
),

claimed AS (
    -- A suspect is claimed alone: only if it is the first, and then without the jobs behind it.
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
        ordered.start_tag
),

service AS (
    -- For each locked tenant: the numbers of jobs found and claimed, and the cost claimed.
    SELECT
        tenants.tenant_id,
        tenants.weight,
        count(ready.id) AS found,
        count(claimed.id) AS claimed,
        coalesce(sum(claimed.cost), 0) AS cost,
        max(claimed.start_tag) AS start_tag
    FROM tenants
    LEFT JOIN ready ON ready.tenant_id = tenants.tenant_id
    LEFT JOIN claimed ON claimed.id = ready.id
    GROUP BY tenants.tenant_id, tenants.weight
),

served AS (
    -- Add the service to the virtual times, and clear has_ready where no due job is left.
    UPDATE tenant_queues
    SET running = tenant_queues.running + service.claimed,
        virtual_time = tenant_queues.virtual_time + service.cost / service.weight,
        start_tag = coalesce(service.start_tag, tenant_queues.start_tag),
        has_ready = service.found >= {limit} OR service.found > service.claimed,
        backlog = greatest(tenant_queues.backlog - service.cost, 0)
    FROM service, first_queue
    WHERE tenant_queues.tenant_id = service.tenant_id
      AND tenant_queues.queue = first_queue.queue
      AND (service.claimed > 0 OR service.found = 0)
    RETURNING tenant_queues.tenant_id, tenant_queues.has_ready, service.claimed
),

counted AS (
    -- Count the claimed jobs against the limit over all queues of the tenant too.
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
ORDER BY claimed.start_tag, claimed.id
