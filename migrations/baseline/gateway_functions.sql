-- Functions through which the gateway reads and changes rows of more than one tenant.
--
-- The gateway's role sees the rows of one tenant at a time (row_level_security.sql). These
-- functions run with the rights of their owner. Each serves one purpose, and no result names a
-- tenant unless the caller passed its key. Their search path is fixed, so a caller cannot make them
-- read other tables.
--
-- Bodies refer to parameters by number, so that the tests can EXPLAIN the bodies as statements. A
-- LIMIT is a literal, because the planner cannot estimate a bound limit.

-- Return the owner of a live API key, the limits of plan and tenant, and the seconds until the key
-- expires; no row for an unknown, revoked or expired key or a disabled tenant. Records the use of
-- the key, at most once in `record_use_after_seconds`, unless another request is recording it.
CREATE FUNCTION infill_authenticate(digest bytea, record_use_after_seconds double precision)
RETURNS TABLE (
    tenant_id bigint,
    plan_limits jsonb,
    tenant_limits jsonb,
    seconds_left double precision
)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
AS $body$
WITH found AS (
    SELECT api_keys.id, api_keys.tenant_id, plans.limits AS plan_limits,
        tenants.limits AS tenant_limits,
        date_part('epoch', api_keys.expires_at - now()) AS seconds_left
    FROM api_keys
    JOIN tenants ON tenants.id = api_keys.tenant_id
    JOIN plans ON plans.id = tenants.plan_id
    WHERE api_keys.digest = $1
        AND api_keys.revoked_at IS NULL
        AND (api_keys.expires_at IS NULL OR api_keys.expires_at > now())
        AND tenants.disabled_at IS NULL
), recorded_use AS (
    UPDATE api_keys SET last_used_at = now()
    WHERE id = (
        SELECT api_keys.id FROM api_keys
        WHERE api_keys.id = (SELECT found.id FROM found)
            AND (api_keys.last_used_at IS NULL
                OR api_keys.last_used_at < now() - make_interval(secs => $2))
        FOR NO KEY UPDATE SKIP LOCKED  -- another request is recording the use
    )
)
SELECT tenant_id, plan_limits, tenant_limits, seconds_left FROM found
$body$;

-- Return those of the given prefixes whose jobs have ended. Prefixes are random, so a caller knows
-- only the prefixes of its own jobs.
CREATE FUNCTION infill_ended_jobs(prefixes uuid[])
RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $body$
SELECT file_prefix FROM jobs
WHERE file_prefix = ANY ($1) AND state IN ('canceled', 'failed', 'succeeded')
$body$;

-- Return a queue's virtual time, to which a tenant without waiting jobs is raised when it submits
-- one.
CREATE FUNCTION infill_virtual_time(queue text)
RETURNS double precision
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $body$
SELECT coalesce(max(start_tag), 0) FROM tenant_queues WHERE queue = $1
$body$;

-- Cancel a queued or running job, lower the counters of running jobs and record the webhook, in one
-- statement like every other end of a job. Returns no row where the job has ended or is not the
-- tenant's. A gateway's connection is set to one tenant, and cancels no other tenant's job.
CREATE FUNCTION infill_cancel_job(tenant bigint, job bigint, message text)
RETURNS TABLE (job_id bigint, file_prefix uuid, delivery_id uuid)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp
AS $body$
WITH target AS (
    SELECT id, state FROM jobs
    WHERE id = $2 AND tenant_id = $1 AND state IN ('queued', 'running')
        -- An operator's connection has no tenant set, and may cancel any job.
        AND coalesce(nullif(current_setting('infill.tenant_id', true), '')::bigint, $1) = $1
    FOR UPDATE
), ended AS (
    UPDATE jobs SET state = 'canceled', claimed_by = NULL, lease_expires_at = NULL,
        finished_at = now(), error_code = 'canceled', error_message = $3
    FROM target WHERE jobs.id = target.id
    RETURNING jobs.id, jobs.tenant_id, jobs.queue, jobs.file_prefix, jobs.webhook_url,
        target.state AS was
), queue_counter AS (
    -- In the order of every statement that ends a job, so that they never deadlock.
    UPDATE tenant_queues SET running = tenant_queues.running - 1
    FROM ended
    WHERE tenant_queues.tenant_id = ended.tenant_id AND tenant_queues.queue = ended.queue
        AND ended.was = 'running'
    RETURNING tenant_queues.tenant_id
), tenant_counter AS (
    UPDATE tenant_shares SET running = tenant_shares.running - 1
    FROM queue_counter WHERE tenant_shares.tenant_id = queue_counter.tenant_id
), outbox AS (
    INSERT INTO deliveries (job_id, tenant_id, event, url)
    SELECT id, tenant_id, 'job.canceled', webhook_url FROM ended WHERE webhook_url IS NOT NULL
    RETURNING id, job_id
)
SELECT ended.id, ended.file_prefix, outbox.id
FROM ended LEFT JOIN outbox ON outbox.job_id = ended.id
$body$;

-- Return totals of a queue for estimates: the number of ready tenants, the queue's virtual time,
-- the latest job id, the number of workers seen in the last `silent_seconds`, the mean part of
-- their time for this queue, sums over the latest 50 successes, to which the speed of an engine is
-- fitted, and their median seconds of fetching, decoding and uploading: a median, because one
-- tenant's slow image host must not delay the estimates of others. A median is null if unmeasured.
CREATE FUNCTION infill_queue_totals(queue text, silent_seconds double precision)
RETURNS TABLE (
    ready_tenants bigint,
    virtual_time double precision,
    last_job_id bigint,
    engines bigint,
    engine_share double precision,
    samples bigint,
    cost double precision,
    seconds double precision,
    cost_squared double precision,
    cost_by_seconds double precision,
    fetch_seconds double precision,
    decode_seconds double precision,
    upload_seconds double precision
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $body$
WITH live_workers AS (
    -- A worker divides its time between this queue and its other queues with ready tenants.
    SELECT count(*) AS engines, coalesce(avg(1.0::float8 / (1 + (
        SELECT count(*) FROM unnest(workers.queues) AS other (queue)
        WHERE other.queue <> $1 AND EXISTS (
            SELECT FROM tenant_queues JOIN tenant_shares USING (tenant_id)
            WHERE tenant_queues.queue = other.queue AND has_ready AND NOT closed
        )
    ))), 1) AS share
    FROM workers
    WHERE $1 = ANY (workers.queues) AND workers.seen_at > now() - make_interval(secs => $2)
), latest AS (
    SELECT cost, (result ->> 'engine_seconds')::float8 AS seconds,
        (result #>> '{timeline, claimed}')::float8 AS claimed,
        (result #>> '{timeline, fetched}')::float8 AS fetched,
        (result #>> '{timeline, denoised}')::float8 AS denoised,
        (result #>> '{timeline, generated}')::float8 AS generated,
        (result #>> '{timeline, uploaded}')::float8 AS uploaded
    FROM jobs
    WHERE queue = $1 AND state = 'succeeded' ORDER BY finished_at DESC LIMIT 50
), samples AS (
    SELECT count(*) AS count, coalesce(sum(cost), 0) AS cost, coalesce(sum(seconds), 0) AS seconds,
        coalesce(sum(cost * cost), 0) AS cost_squared,
        coalesce(sum(cost * seconds), 0) AS cost_by_seconds,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY fetched - claimed) AS fetch_seconds,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY generated - denoised) AS decode_seconds,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY uploaded - generated) AS upload_seconds
    FROM latest
)
SELECT
    (SELECT count(*) FROM tenant_queues JOIN tenant_shares USING (tenant_id)
        WHERE queue = $1 AND has_ready AND NOT closed),
    (SELECT coalesce(max(start_tag), 0) FROM tenant_queues WHERE queue = $1),
    (SELECT coalesce(max(id), 0) FROM jobs),
    live_workers.engines, live_workers.share,
    samples.count, samples.cost, samples.seconds, samples.cost_squared, samples.cost_by_seconds,
    samples.fetch_seconds, samples.decode_seconds, samples.upload_seconds
FROM live_workers CROSS JOIN samples
$body$;

-- Return the counters of the tenants served next, each with the number and cost of its next four
-- jobs.
CREATE FUNCTION infill_waiting_tenants(queue text)
RETURNS TABLE (
    virtual_time double precision,
    weight double precision,
    backlog double precision,
    max_running integer,
    jobs bigint,
    work double precision
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $body$
WITH next_tenants AS (
    SELECT tenant_queues.tenant_id, tenant_queues.virtual_time, tenant_shares.weight,
        tenant_queues.backlog,
        least(max_running_per_queue, max_running - (tenant_shares.running - tenant_queues.running))
            AS max_running
    FROM tenant_queues JOIN tenant_shares USING (tenant_id)
    WHERE queue = $1 AND has_ready AND NOT closed
    ORDER BY virtual_time LIMIT 1000
)
SELECT virtual_time, weight, backlog, max_running, summed_up.jobs, summed_up.work
FROM next_tenants CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, coalesce(sum(cost), 0) AS work
    FROM (
        SELECT cost FROM jobs
        WHERE jobs.tenant_id = next_tenants.tenant_id AND queue = $1
            AND state = 'queued' AND available_at <= now()
        ORDER BY priority DESC, id LIMIT 4
    ) AS next_jobs
) AS summed_up
ORDER BY virtual_time
$body$;

-- Return the running jobs of a queue, each with a number that identifies its worker, its cost, and
-- the seconds since it was claimed.
CREATE FUNCTION infill_running_jobs(queue text)
RETURNS TABLE (engine bigint, cost double precision, seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $body$
SELECT dense_rank() OVER (ORDER BY claimed_by), cost,
    coalesce(extract(epoch FROM now() - started_at)::float8, 0)
FROM jobs WHERE queue = $1 AND state = 'running' LIMIT 10000
$body$;
