-- Claim up to {limit} deliveries that are due: first attempts ({retries} is 0) or retries (1).
-- Decision record 0022 explains the order, the limits and the locks.
--
-- A tenant has a dispatch row for first attempts and one for retries, and a row for each origin it
-- sends to. They are locked in this order, then the deliveries. Rows that another process has
-- locked are skipped, so a claim never waits for a lock.
--
-- {retries} is a number in the text, not a parameter, so that Postgres reduces each CASE on it to
-- one of its branches before it looks for an index.
--
-- Returns a row for each claimed delivery, longest due first; for each served origin of which none
-- was claimed; and for each tenant without a served origin. A single row without a tenant means
-- that other dispatchers are serving all waiting tenants, if there are any.

WITH tenants AS (
    -- Lock the tenants to be served, those served longest ago first.
    SELECT tenant_dispatches.tenant_id
    FROM tenant_dispatches
    WHERE tenant_dispatches.retries = ({retries} = 1)
      AND tenant_dispatches.has_due
      AND tenant_dispatches.tenant_id <> ALL (CAST(:skip_tenants AS bigint[]))
    ORDER BY tenant_dispatches.served_at
    LIMIT {limit}
    FOR UPDATE SKIP LOCKED
),

per_tenant AS (
    -- Divide the claim equally between the tenants, rounded up.
    SELECT ({limit} + greatest(count(*), 1) - 1) / greatest(count(*), 1) AS share
    FROM tenants
),

due_origins AS (
    -- Find the origins to which each tenant has due deliveries, longest due first, as many as its
    -- share has deliveries. The inner limit is for the planner, which assumes that a limit from a
    -- subquery returns a tenth of all rows.
    SELECT
        nearest.tenant_id,
        nearest.origin,
        count(*) OVER (PARTITION BY nearest.tenant_id) AS of_tenant
    FROM tenants
    JOIN LATERAL (
        SELECT due.tenant_id, due.origin
        FROM (
            SELECT tenant_origins.tenant_id, tenant_origins.origin
            FROM tenant_origins
            WHERE tenant_origins.tenant_id = tenants.tenant_id
              AND greatest(
                  CASE WHEN {retries} = 1 THEN tenant_origins.retry_due_at
                      ELSE tenant_origins.first_due_at END,
                  tenant_origins.held_until
              ) <= now()
            ORDER BY greatest(
                CASE WHEN {retries} = 1 THEN tenant_origins.retry_due_at
                    ELSE tenant_origins.first_due_at END,
                tenant_origins.held_until
            )
            LIMIT {limit}
        ) AS due
        LIMIT (SELECT share FROM per_tenant)
    ) AS nearest ON true
),

origins AS (
    -- Lock those origins, unless they have been served since this statement began. Each gets an
    -- equal part of its tenant's share, within its limit of concurrent attempts, which is one while
    -- its circuit breaker is half open.
    SELECT
        tenant_origins.tenant_id,
        tenant_origins.origin,
        least(
            CASE
                WHEN tenant_origins.open_until > '-infinity' THEN 1
                ELSE greatest(CAST(:per_origin AS integer) - tenant_origins.sending, 0)
            END,
            ((SELECT share FROM per_tenant) + due_origins.of_tenant - 1) / due_origins.of_tenant
        ) AS slots
    FROM tenant_origins
    JOIN due_origins
        ON due_origins.tenant_id = tenant_origins.tenant_id
        AND due_origins.origin = tenant_origins.origin
    WHERE greatest(
        CASE WHEN {retries} = 1 THEN tenant_origins.retry_due_at
            ELSE tenant_origins.first_due_at END,
        tenant_origins.held_until
    ) <= now()
    FOR UPDATE OF tenant_origins SKIP LOCKED
),

ready AS (
    -- Find the deliveries of each origin that are longest due; an origin without any gives a row
    -- without an id. There are two limits because of the planner, as above.
    SELECT origins.tenant_id, origins.origin, next.id
    FROM origins
    LEFT JOIN LATERAL (
        SELECT oldest.id
        FROM (
            SELECT deliveries.id
            FROM deliveries
            WHERE deliveries.tenant_id = origins.tenant_id
              AND deliveries.origin = origins.origin
              AND deliveries.state = 'pending'
              AND CASE WHEN {retries} = 1 THEN deliveries.attempt > 0
                  ELSE deliveries.attempt = 0 END
              AND deliveries.available_at <= now()
            ORDER BY deliveries.available_at
            LIMIT {limit}
        ) AS oldest
        LIMIT origins.slots
    ) AS next ON true
),

locked AS (
    -- Lock them. A process that has locked one has claimed it since this statement began, or waits
    -- for its origin. The state is wrapped in lower() so that no partial index applies: the
    -- deliveries are to be found by id, and with outdated statistics the planner might read all
    -- pending ones instead.
    SELECT deliveries.id, deliveries.available_at
    FROM deliveries
    JOIN ready ON ready.id = deliveries.id
    WHERE lower(deliveries.state) = 'pending'
    FOR NO KEY UPDATE OF deliveries SKIP LOCKED
),

claimed AS (
    UPDATE deliveries
    SET state = 'sending',
        attempt = deliveries.attempt + 1,
        claimed_by = :by_dispatcher,
        lease_expires_at = now() + make_interval(secs => CAST(:lease_seconds AS double precision))
    FROM locked
    WHERE deliveries.id = locked.id
    RETURNING
        deliveries.id,
        deliveries.attempt,
        deliveries.event,
        deliveries.url,
        deliveries.failures,
        deliveries.job_id,
        deliveries.tenant_id,
        deliveries.origin,
        deliveries.available_at
),

counted AS (
    SELECT
        ready.tenant_id,
        ready.origin,
        count(ready.id) AS found,
        count(claimed.id) AS claimed
    FROM ready
    LEFT JOIN claimed ON claimed.id = ready.id
    GROUP BY ready.tenant_id, ready.origin
),

service AS MATERIALIZED (
    -- For each origin: the number of claimed deliveries, and when the first one behind those found
    -- is due. Materialized, because it is used three times.
    SELECT
        counted.tenant_id,
        counted.origin,
        counted.claimed,
        coalesce(
            (
                SELECT deliveries.available_at
                FROM deliveries
                WHERE deliveries.tenant_id = counted.tenant_id
                  AND deliveries.origin = counted.origin
                  AND deliveries.state = 'pending'
                  AND CASE WHEN {retries} = 1 THEN deliveries.attempt > 0
                      ELSE deliveries.attempt = 0 END
                ORDER BY deliveries.available_at
                OFFSET counted.found
                LIMIT 1
            ),
            'infinity'
        ) AS due_at
    FROM counted
),

served AS (
    -- Update the counters of each origin and the time of its next attempt. While the circuit
    -- breaker is half open, that is the end of the lease of the one attempt, whose dispatcher may
    -- be dead by then; at the limit of concurrent attempts, it is when an attempt has ended.
    UPDATE tenant_origins
    SET sending = tenant_origins.sending + service.claimed,
        first_due_at =
            CASE WHEN {retries} = 1 THEN tenant_origins.first_due_at ELSE service.due_at END,
        retry_due_at =
            CASE WHEN {retries} = 1 THEN service.due_at ELSE tenant_origins.retry_due_at END,
        open_until = CASE
            WHEN tenant_origins.open_until > '-infinity' AND service.claimed > 0
                THEN now() + make_interval(secs => CAST(:lease_seconds AS double precision))
            ELSE tenant_origins.open_until
        END,
        held_until = CASE
            WHEN tenant_origins.open_until > '-infinity' AND service.claimed > 0
                THEN now() + make_interval(secs => CAST(:lease_seconds AS double precision))
            WHEN tenant_origins.open_until > '-infinity' THEN tenant_origins.open_until
            WHEN tenant_origins.sending + service.claimed >= :per_origin THEN 'infinity'
            ELSE '-infinity'
        END
    FROM service
    WHERE tenant_origins.tenant_id = service.tenant_id
      AND tenant_origins.origin = service.origin
    RETURNING
        tenant_origins.tenant_id,
        tenant_origins.origin,
        service.claimed,
        service.due_at <= now() AS has_more,
        greatest(service.due_at, tenant_origins.held_until) AS due_at
),

outlook AS (
    -- A tenant has more due deliveries if it may have due origins beyond its share, if another
    -- process has locked some of its origins, or if a served origin has more.
    SELECT
        tenants.tenant_id,
        count(due_origins.origin) >= (SELECT share FROM per_tenant)
            OR count(due_origins.origin) > count(served.origin)
            OR coalesce(min(served.due_at) <= now(), false) AS has_due,
        min(served.due_at) AS due_at,
        coalesce(sum(served.claimed), 0) AS claimed
    FROM tenants
    LEFT JOIN due_origins ON due_origins.tenant_id = tenants.tenant_id
    LEFT JOIN served
        ON served.tenant_id = due_origins.tenant_id
        AND served.origin = due_origins.origin
    GROUP BY tenants.tenant_id
),

dispatched AS (
    -- Put the tenants with a claimed delivery behind all others. The time is clock_timestamp(),
    -- because now() is the start of the statement. Record whether a tenant has more due deliveries,
    -- or else when the first of its origins, served or not, is due.
    UPDATE tenant_dispatches
    SET has_due = outlook.has_due,
        due_at = coalesce(
            least(
                outlook.due_at,
                (
                    SELECT greatest(
                        CASE WHEN {retries} = 1 THEN tenant_origins.retry_due_at
                            ELSE tenant_origins.first_due_at END,
                        tenant_origins.held_until
                    ) AS due_at
                    FROM tenant_origins
                    WHERE tenant_origins.tenant_id = outlook.tenant_id
                      AND greatest(
                          CASE WHEN {retries} = 1 THEN tenant_origins.retry_due_at
                              ELSE tenant_origins.first_due_at END,
                          tenant_origins.held_until
                      ) > now()
                    ORDER BY due_at
                    LIMIT 1
                )
            ),
            'infinity'
        ),
        served_at = CASE
            WHEN outlook.claimed > 0 THEN clock_timestamp()
            ELSE tenant_dispatches.served_at
        END
    FROM outlook
    WHERE tenant_dispatches.tenant_id = outlook.tenant_id
      AND tenant_dispatches.retries = ({retries} = 1)
    RETURNING tenant_dispatches.tenant_id, tenant_dispatches.has_due
)

SELECT
    EXISTS (
        SELECT FROM tenant_dispatches
        WHERE tenant_dispatches.retries = ({retries} = 1)
          AND tenant_dispatches.has_due
          AND tenant_dispatches.tenant_id <> ALL (CAST(:skip_tenants AS bigint[]))
    ) AS tenants_wait,
    dispatched.tenant_id AS served_tenant_id,
    dispatched.has_due,
    served.origin,
    served.has_more,
    claimed.id AS delivery_id,
    claimed.attempt AS delivery_attempt,
    claimed.event,
    claimed.url,
    claimed.failures,
    (
        -- The live secrets of the tenant, newest first; a webhook is signed with each of them.
        SELECT array_agg(webhook_secrets.secret ORDER BY webhook_secrets.id DESC)
        FROM webhook_secrets
        WHERE webhook_secrets.tenant_id = jobs.tenant_id
          AND (webhook_secrets.expires_at IS NULL OR webhook_secrets.expires_at > now())
    ) AS secrets,
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
    jobs.priority
FROM (SELECT) AS always
LEFT JOIN dispatched ON true
LEFT JOIN served ON served.tenant_id = dispatched.tenant_id
LEFT JOIN claimed ON claimed.tenant_id = served.tenant_id AND claimed.origin = served.origin
LEFT JOIN jobs ON jobs.id = claimed.job_id
ORDER BY claimed.available_at
