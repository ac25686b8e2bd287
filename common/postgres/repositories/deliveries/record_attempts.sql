-- Record many delivery attempts, each fenced by its claim, and count them in the circuit breakers
-- of their origins. Decision record 0022 explains the locks.
--
-- Returns a row for each claim that was still held. For other claims nothing is written.

WITH given AS (
    SELECT *
    FROM unnest(
        CAST(:delivery_ids AS uuid[]),
        CAST(:attempts AS integer[]),
        CAST(:states AS text[]),
        CAST(:waits_seconds AS double precision[]),
        CAST(:healthy AS boolean[]),
        CAST(:started_at AS timestamptz[]),
        CAST(:durations_ms AS integer[]),
        CAST(:status_codes AS integer[]),
        CAST(:errors AS text[]),
        CAST(:answers AS text[]),
        CAST(:endings AS text[])
    ) AS given (
        delivery_id, attempt, state, wait_seconds, is_healthy,
        started_at, duration_ms, status_code, error, answer, ended_by
    )
),

recorded AS (
    -- The fence: this attempt, still sending. The state is wrapped in lower() so that no partial
    -- index applies: the deliveries are to be found by id, and with outdated statistics the planner
    -- might read all that are being sent instead.
    UPDATE deliveries
    SET state = given.state,
        failures = deliveries.failures + CAST(given.state <> 'delivered' AS integer),
        claimed_by = NULL,
        lease_expires_at = NULL,
        available_at = CASE
            WHEN given.state = 'pending' THEN now() + make_interval(secs => given.wait_seconds)
            ELSE deliveries.available_at
        END,
        finished_at = CASE WHEN given.state <> 'pending' THEN now() END
    FROM given
    WHERE deliveries.id = given.delivery_id
      AND deliveries.attempt = given.attempt
      AND lower(deliveries.state) = 'sending'
    RETURNING
        deliveries.id,
        deliveries.attempt,
        deliveries.tenant_id,
        deliveries.origin,
        given.is_healthy
),

logged AS (
    -- Without wait_seconds there is no next attempt, and its time is NULL.
    INSERT INTO delivery_attempts (
        delivery_id, attempt, started_at, duration_ms, status_code, error, answer, ended_by,
        next_attempt_at
    )
    SELECT
        given.delivery_id,
        given.attempt,
        given.started_at,
        given.duration_ms,
        given.status_code,
        given.error,
        given.answer,
        given.ended_by,
        now() + make_interval(secs => given.wait_seconds)
    FROM given
    JOIN recorded ON recorded.id = given.delivery_id AND recorded.attempt = given.attempt
),

by_origin AS (
    -- Attempts that failed because of an error on our side say nothing about the receiver, and
    -- count neither as success nor as failure.
    SELECT
        tenant_id,
        origin,
        count(*) AS number,
        count(*) FILTER (WHERE is_healthy) AS successes,
        count(*) FILTER (WHERE NOT is_healthy) AS failures
    FROM recorded
    GROUP BY tenant_id, origin
),

origins AS (
    -- Lock their origins in the order of the keys, so that two such statements never deadlock.
    SELECT
        tenant_origins.tenant_id,
        tenant_origins.origin,
        greatest(tenant_origins.sending - by_origin.number, 0) AS sending,
        tenant_origins.held_until > now() AS was_held,
        tenant_origins.open_until,
        tenant_origins.counted_since,
        tenant_origins.counted_since
            <= now() - make_interval(secs => CAST(:window_seconds AS double precision))
            AS window_is_over,
        tenant_origins.requests,
        tenant_origins.failed,
        by_origin.successes AS new_successes,
        by_origin.failures AS new_failures
    FROM tenant_origins
    JOIN by_origin
        ON by_origin.tenant_id = tenant_origins.tenant_id
        AND by_origin.origin = tenant_origins.origin
    ORDER BY tenant_origins.tenant_id, tenant_origins.origin
    FOR UPDATE OF tenant_origins
),

counted AS MATERIALIZED (
    -- Add the attempts to the counts of the window, which starts anew when it is over.
    -- Materialized, here and below: inlined wherever they are used, these expressions would make
    -- planning slow.
    SELECT
        tenant_id,
        origin,
        sending,
        was_held,
        open_until,
        CASE WHEN window_is_over THEN now() ELSE counted_since END AS counted_since,
        CASE WHEN window_is_over THEN 0 ELSE requests END
            + new_successes + new_failures AS requests,
        CASE WHEN window_is_over THEN 0 ELSE failed END + new_failures AS failed,
        new_successes,
        new_failures
    FROM origins
),

breakers AS (
    -- The circuit breaker. While closed (open_until is -infinity), it opens with a failure if there
    -- were enough requests in the window and a large enough part of them failed. While open or half
    -- open, a success closes it, and a failure opens it again.
    SELECT
        *,
        open_until <> '-infinity' AND new_successes > 0 AS closes,
        new_failures > 0 AND (
            open_until <> '-infinity'
            OR (
                requests >= CAST(:min_requests AS integer)
                AND failed >= requests * CAST(:failure_ratio AS double precision)
            )
        ) AS opens
    FROM counted
),

derived AS MATERIALIZED (
    SELECT
        tenant_id,
        origin,
        sending,
        was_held,
        CASE WHEN closes THEN now() ELSE counted_since END AS counted_since,
        CASE WHEN closes THEN 0 ELSE requests END AS requests,
        CASE WHEN closes THEN 0 ELSE failed END AS failed,
        CASE
            WHEN closes THEN '-infinity'
            WHEN opens THEN now() + make_interval(secs => CAST(:open_seconds AS double precision))
            ELSE open_until
        END AS open_until,
        opens AND open_until = '-infinity' AS has_opened
    FROM breakers
),

updated AS (
    -- Nothing is claimed before held_until, which is the end of the breaker's pause, or infinity
    -- while the limit of concurrent attempts is reached.
    UPDATE tenant_origins
    SET sending = derived.sending,
        counted_since = derived.counted_since,
        requests = derived.requests,
        failed = derived.failed,
        open_until = derived.open_until,
        held_until = CASE
            WHEN derived.open_until > '-infinity' THEN derived.open_until
            WHEN derived.sending >= CAST(:per_origin AS integer) THEN 'infinity'
            ELSE '-infinity'
        END
    FROM derived
    WHERE tenant_origins.tenant_id = derived.tenant_id
      AND tenant_origins.origin = derived.origin
    RETURNING
        tenant_origins.tenant_id,
        tenant_origins.origin,
        derived.has_opened,
        derived.was_held AND tenant_origins.held_until <= now() AS has_capacity
)

SELECT
    recorded.id,
    recorded.attempt,
    recorded.tenant_id,
    recorded.origin,
    coalesce(updated.has_opened, false) AS has_opened,
    coalesce(updated.has_capacity, false) AS has_capacity
FROM recorded
LEFT JOIN updated ON updated.tenant_id = recorded.tenant_id AND updated.origin = recorded.origin
