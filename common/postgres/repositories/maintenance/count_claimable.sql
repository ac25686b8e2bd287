-- Count the jobs that can be claimed now in each of :of_queues, up to {at_most} of a queue.
--
-- Returns a row with queue and number for each queue with such jobs.

SELECT given.queue, count(*) AS number
FROM unnest(CAST(:of_queues AS text[])) AS given (queue)
JOIN LATERAL (
    SELECT next_jobs.id
    FROM tenant_queues
    JOIN tenant_shares ON tenant_shares.tenant_id = tenant_queues.tenant_id
    CROSS JOIN LATERAL (
        -- How many more jobs of a tenant may run: each limit minus its counter; NULL is unlimited.
        SELECT least(
            coalesce(tenant_shares.max_running_per_queue, 2147483647) - tenant_queues.running,
            coalesce(tenant_shares.max_running, 2147483647) - tenant_shares.running
        ) AS capacity
    ) AS allowed
    JOIN LATERAL (
        -- In the order of an index: otherwise the planner may read the whole queue.
        SELECT jobs.id
        FROM jobs
        WHERE jobs.tenant_id = tenant_queues.tenant_id
          AND jobs.queue = tenant_queues.queue
          AND jobs.state = 'queued'
          AND jobs.available_at <= now()
        ORDER BY jobs.priority DESC, jobs.id
        LIMIT least(allowed.capacity, {at_most})
    ) AS next_jobs ON true
    WHERE tenant_queues.queue = given.queue
      AND tenant_queues.has_ready
      AND NOT tenant_shares.closed
      AND allowed.capacity > 0
    LIMIT {at_most}
) AS claimable ON true
GROUP BY given.queue
