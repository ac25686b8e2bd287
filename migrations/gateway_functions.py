"""What the gateway may ask across tenants: functions with the owner's rights, each one question.

They tell nothing of whose anything is. Their bodies name parameters by number, so that the tests
can have them explained like any statement. `LIMIT`s are literal: bound, the planner guesses.
"""

from typing import Final

# Whom a live key belongs to, what they may use, and the rest of the key's life; notes its use,
# once a minute, and waits for nobody to do so.
AUTHENTICATE: Final = """
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
), noted AS (
    UPDATE api_keys SET last_used_at = now()
    WHERE id = (
        SELECT api_keys.id FROM api_keys
        WHERE api_keys.id = (SELECT found.id FROM found)
            AND (api_keys.last_used_at IS NULL
                OR api_keys.last_used_at < now() - make_interval(secs => $2))
        FOR NO KEY UPDATE SKIP LOCKED
    )
)
SELECT tenant_id, plan_limits, tenant_limits, seconds_left FROM found
"""

# Which of these jobs have ended; who asks knows their random prefixes.
ENDED: Final = """
SELECT file_prefix FROM jobs
WHERE file_prefix = ANY ($1) AND state IN ('canceled', 'failed', 'succeeded')
"""

# A queue's own virtual time: to it a tenant is lifted that had nothing to be served.
VIRTUAL_TIME: Final = """
SELECT coalesce(max(start_tag), 0) FROM tenant_queues WHERE queue = $1
"""

# How many tenants wait, who works, with what part of their time, and the sums of the latest
# successes.
QUEUE_TOTALS: Final = """
WITH of_workers AS (
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
    SELECT cost, coalesce(result ->> 'engine_seconds', result ->> 'generation_seconds')::float8
        AS seconds
    FROM jobs
    WHERE queue = $1 AND state = 'succeeded' ORDER BY finished_at DESC LIMIT 50
), samples AS (
    SELECT count(*) AS count, coalesce(sum(cost), 0) AS cost, coalesce(sum(seconds), 0) AS seconds,
        coalesce(sum(cost * cost), 0) AS cost_squared,
        coalesce(sum(cost * seconds), 0) AS cost_by_seconds
    FROM latest
)
SELECT
    (SELECT count(*) FROM tenant_queues JOIN tenant_shares USING (tenant_id)
        WHERE queue = $1 AND has_ready AND NOT closed),
    (SELECT coalesce(max(start_tag), 0) FROM tenant_queues WHERE queue = $1),
    (SELECT coalesce(max(id), 0) FROM jobs),
    of_workers.engines, of_workers.share,
    samples.count, samples.cost, samples.seconds, samples.cost_squared, samples.cost_by_seconds
FROM of_workers CROSS JOIN samples
"""

# The books of the tenants that are served next, and the sum of each one's next four jobs.
QUEUE_CONTENDERS: Final = """
WITH least_served AS (
    SELECT tenant_queues.tenant_id, tenant_queues.virtual_time, tenant_shares.weight,
        tenant_queues.backlog,
        least(max_running_per_queue, max_running - (tenant_shares.running - tenant_queues.running))
            AS most_running
    FROM tenant_queues JOIN tenant_shares USING (tenant_id)
    WHERE queue = $1 AND has_ready AND NOT closed
    ORDER BY virtual_time LIMIT 1000
)
SELECT virtual_time, weight, backlog, most_running, summed_up.jobs, summed_up.work
FROM least_served CROSS JOIN LATERAL (
    SELECT count(*) AS jobs, coalesce(sum(cost), 0) AS work
    FROM (
        SELECT cost FROM jobs
        WHERE jobs.tenant_id = least_served.tenant_id AND queue = $1
            AND state = 'queued' AND available_at <= now()
        ORDER BY priority DESC, id LIMIT 4
    ) AS their_next
) AS summed_up
ORDER BY virtual_time
"""

# Each job of a queue that is at work, with a number for its worker, the seconds since its claim.
QUEUE_AT_WORK: Final = """
SELECT dense_rank() OVER (ORDER BY claimed_by), cost,
    coalesce(extract(epoch FROM now() - started_at)::float8, 0)
FROM jobs WHERE queue = $1 AND state = 'running' LIMIT 10000
"""

# What each worker has at work of a queue, and the seconds since it took the last of it; gateways
# of the release before ask this.
QUEUE_RUNNING: Final = """
SELECT count(*), sum(cost), coalesce(extract(epoch FROM now() - max(started_at))::float8, 0)
FROM jobs WHERE queue = $1 AND state = 'running' GROUP BY claimed_by
"""

# Ends a job that is not wanted, with its books and the webhook that tells of it, as all that ends a
# job does (`common.postgres.repositories.jobs.finish`); nothing where it has ended, or is not this
# tenant's. A gateway speaks for one tenant, and cancels no other's.
CANCEL: Final = """
WITH theirs AS (
    SELECT id, state FROM jobs
    WHERE id = $2 AND tenant_id = $1 AND state IN ('queued', 'running')
        AND coalesce(nullif(current_setting('infill.tenant_id', true), '')::bigint, $1) = $1
    FOR UPDATE
), ended AS (
    UPDATE jobs SET state = 'canceled', claimed_by = NULL, lease_expires_at = NULL,
        finished_at = now(), error_code = 'canceled', error_message = $3
    FROM theirs WHERE jobs.id = theirs.id
    RETURNING jobs.id, jobs.tenant_id, jobs.queue, jobs.file_prefix, jobs.webhook_url,
        theirs.state AS was
), freed_of_queue AS (
    UPDATE tenant_queues SET running = tenant_queues.running - 1
    FROM ended
    WHERE tenant_queues.tenant_id = ended.tenant_id AND tenant_queues.queue = ended.queue
        AND ended.was = 'running'
    RETURNING tenant_queues.tenant_id
), freed_of_tenant AS (
    UPDATE tenant_shares SET running = tenant_shares.running - 1
    FROM freed_of_queue WHERE tenant_shares.tenant_id = freed_of_queue.tenant_id
), outbox AS (
    INSERT INTO deliveries (job_id, tenant_id, event, url)
    SELECT id, tenant_id, 'job.canceled', webhook_url FROM ended WHERE webhook_url IS NOT NULL
    RETURNING id, job_id
)
SELECT ended.id, ended.file_prefix, outbox.id
FROM ended LEFT JOIN outbox ON outbox.job_id = ended.id
"""

# By signature: what comes out, how it behaves, and the body.
FUNCTIONS: Final = {
    "infill_authenticate(digest bytea, noted_after_seconds double precision)": (
        """TABLE (tenant_id bigint, plan_limits jsonb, tenant_limits jsonb,
        seconds_left double precision)""",
        "VOLATILE",
        AUTHENTICATE,
    ),
    "infill_ended(prefixes uuid[])": ("SETOF uuid", "STABLE", ENDED),
    "infill_virtual_time(queue text)": ("double precision", "STABLE", VIRTUAL_TIME),
    "infill_cancel(tenant bigint, job bigint, message text)": (
        "TABLE (job_id bigint, file_prefix uuid, delivery_id uuid)",
        "VOLATILE",
        CANCEL,
    ),
    "infill_queue_totals(queue text, silent_seconds double precision)": (
        """TABLE (ready_tenants bigint, virtual_time double precision, last_job_id bigint,
        engines bigint, engine_share double precision, samples bigint, cost double precision,
        seconds double precision, cost_squared double precision,
        cost_by_seconds double precision)""",
        "STABLE",
        QUEUE_TOTALS,
    ),
    "infill_queue_contenders(queue text)": (
        """TABLE (virtual_time double precision, weight double precision,
        backlog double precision, most_running integer, jobs bigint, work double precision)""",
        "STABLE",
        QUEUE_CONTENDERS,
    ),
    "infill_queue_at_work(queue text)": (
        "TABLE (engine bigint, cost double precision, seconds double precision)",
        "STABLE",
        QUEUE_AT_WORK,
    ),
    "infill_queue_running(queue text)": (
        "TABLE (jobs bigint, work double precision, seconds double precision)",
        "STABLE",
        QUEUE_RUNNING,
    ),
}


def definition(signature: str) -> str:
    """Spell the statement that makes a function; its search path cannot be bent by the caller."""
    returns, behaviour, body = FUNCTIONS[signature]
    return (
        f"CREATE FUNCTION {signature} RETURNS {returns} LANGUAGE sql {behaviour} "
        f"SECURITY DEFINER SET search_path = public, pg_temp AS $body${body}$body$"
    )
