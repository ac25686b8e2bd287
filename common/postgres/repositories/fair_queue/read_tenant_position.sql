-- Read one tenant's position in one queue: its share, its waiting jobs in the order they will be
-- claimed, and its running jobs.
--
-- Returns one row, with default values if the tenant has no share or is not in the queue yet.
-- Arrays are NULL if there are no jobs. The limits are literals, because the planner cannot
-- estimate a bound limit.

WITH given AS (
    SELECT CAST(:of_tenant AS bigint) AS tenant_id, CAST(:of_queue AS text) AS queue
),

first_jobs AS (
    -- Jobs are limited before they are numbered: otherwise Postgres would number all waiting jobs.
    SELECT id, priority, cost
    FROM jobs
    WHERE tenant_id = :of_tenant
      AND queue = :of_queue
      AND state = 'queued'
    ORDER BY priority DESC, id
    LIMIT {max_jobs_read}
),

waiting AS (
    SELECT
        id,
        priority,
        cost,
        row_number() OVER (ORDER BY priority DESC, id) AS position
    FROM first_jobs
),

ranges AS (
    -- The first jobs one by one, later ones in ranges whose length grows with the position, so that
    -- thousands of jobs make about 200 rows.
    SELECT
        priority,
        min(id) AS first_id,
        max(id) AS last_id,
        count(*) AS jobs,
        sum(cost) AS work,
        min(position) AS position
    FROM waiting
    GROUP BY
        priority,
        CASE
            WHEN position <= {single_jobs} THEN position
            ELSE {single_jobs} + ceil(
                ln(position / CAST({single_jobs} AS double precision)) * {ranges_per_e_fold}
            )
        END
),

last_job AS (
    -- The last job of the queue, which may be behind the jobs that were read.
    SELECT id
    FROM jobs
    WHERE tenant_id = :of_tenant
      AND queue = :of_queue
      AND state = 'queued'
    ORDER BY priority, id DESC
    LIMIT 1
),

running_jobs AS (
    SELECT
        cost,
        coalesce(CAST(extract(epoch FROM now() - started_at) AS double precision), 0) AS seconds
    FROM jobs
    WHERE tenant_id = :of_tenant
      AND queue = :of_queue
      AND state = 'running'
    LIMIT {max_running_read}
)

SELECT
    coalesce(tenant_shares.weight, 1) AS weight,
    coalesce(tenant_queues.virtual_time, 0) AS virtual_time,
    coalesce(tenant_queues.backlog, 0) AS backlog,
    coalesce(tenant_queues.has_ready, false) AS has_ready,
    -- How many jobs may run in this queue, given those running in the tenant's other queues.
    least(
        tenant_shares.max_running_per_queue,
        tenant_shares.max_running
            - (tenant_shares.running - coalesce(tenant_queues.running, 0))
    ) AS max_running,
    (SELECT array_agg(priority ORDER BY position) FROM ranges) AS priorities,
    (SELECT array_agg(first_id ORDER BY position) FROM ranges) AS first_ids,
    (SELECT array_agg(last_id ORDER BY position) FROM ranges) AS last_ids,
    (SELECT array_agg(jobs ORDER BY position) FROM ranges) AS jobs,
    (SELECT array_agg(work ORDER BY position) FROM ranges) AS work,
    (SELECT id FROM last_job) AS last_job_id,
    -- Running jobs only matter if their number is limited.
    CASE
        WHEN tenant_shares.max_running IS NOT NULL
            OR tenant_shares.max_running_per_queue IS NOT NULL
        THEN (SELECT array_agg(cost) FROM running_jobs)
    END AS running_costs,
    CASE
        WHEN tenant_shares.max_running IS NOT NULL
            OR tenant_shares.max_running_per_queue IS NOT NULL
        THEN (SELECT array_agg(seconds) FROM running_jobs)
    END AS running_seconds
FROM given
LEFT JOIN tenant_shares ON tenant_shares.tenant_id = given.tenant_id
LEFT JOIN tenant_queues
    ON tenant_queues.tenant_id = given.tenant_id
    AND tenant_queues.queue = given.queue
