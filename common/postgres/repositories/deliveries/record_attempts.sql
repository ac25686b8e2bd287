-- Record attempts to deliver, many in one statement, each under the fence of its claim; and count
-- them in the circuit breakers of their origins. Decision record 0022 explains the locks.
--
-- The rows: one for each claim that held. A claim without a row was lost; nothing of it is written.

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

moved AS (
    -- The state is wrapped in lower() so that no partial index fits: the deliveries are found by
    -- their ids, and a planner with old statistics may otherwise read all that are being sent.
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
    -- Without a wait there is no next attempt: its time is NULL.
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
    JOIN moved ON moved.id = given.delivery_id AND moved.attempt = given.attempt
),

ended AS (
    -- Some attempts say nothing about the receiver, neither healthy nor failed: trouble of ours.
    SELECT
        tenant_id,
        origin,
        count(*) AS number,
        count(*) FILTER (WHERE is_healthy) AS healthy,
        count(*) FILTER (WHERE NOT is_healthy) AS failed
    FROM moved
    GROUP BY tenant_id, origin
),

origins AS (
    -- Lock their origins in the order of the keys, so that two recordings never deadlock.
    SELECT
        tenant_origins.tenant_id,
        tenant_origins.origin,
        greatest(tenant_origins.sending - ended.number, 0) AS sending,
        tenant_origins.held_until > now() AS was_held,
        tenant_origins.open_until,
        tenant_origins.counted_since,
        tenant_origins.counted_since
            <= now() - make_interval(secs => CAST(:window_seconds AS double precision))
            AS window_is_over,
        tenant_origins.requests,
        tenant_origins.failed,
        ended.healthy AS new_successes,
        ended.failed AS new_failures
    FROM tenant_origins
    JOIN ended
        ON ended.tenant_id = tenant_origins.tenant_id
        AND ended.origin = tenant_origins.origin
    ORDER BY tenant_origins.tenant_id, tenant_origins.origin
    FOR UPDATE OF tenant_origins
),

counted AS MATERIALIZED (
    -- Count the attempts in the window, which begins anew when it is over. Materialized, here and
    -- below: written out wherever they are used, these values would take long to plan.
    SELECT
        tenant_id,
        origin,
        sending,
        was_held,
        open_until,
        CASE WHEN window_is_over THEN now() ELSE counted_since END AS counted_since,
        CASE WHEN window_is_over THEN 0 ELSE requests END + new_successes + new_failures AS requests,
        CASE WHEN window_is_over THEN 0 ELSE failed END + new_failures AS failed,
        new_successes,
        new_failures
    FROM origins
),

judged AS (
    -- The circuit breaker. Closed (open_until is -infinity), it opens with a failure if there are
    -- enough requests in the window and a large enough part of them has failed. Open or half open,
    -- a success closes it and a failure opens it again.
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

decided AS MATERIALIZED (
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
    FROM judged
),

written AS (
    -- Nothing may be sent before held_until: that is the breaker's time, or, where as many attempts
    -- as allowed are under way, infinity.
    UPDATE tenant_origins
    SET sending = decided.sending,
        counted_since = decided.counted_since,
        requests = decided.requests,
        failed = decided.failed,
        open_until = decided.open_until,
        held_until = CASE
            WHEN decided.open_until > '-infinity' THEN decided.open_until
            WHEN decided.sending >= CAST(:per_origin AS integer) THEN 'infinity'
            ELSE '-infinity'
        END
    FROM decided
    WHERE tenant_origins.tenant_id = decided.tenant_id
      AND tenant_origins.origin = decided.origin
    RETURNING
        tenant_origins.tenant_id,
        tenant_origins.origin,
        decided.has_opened,
        decided.was_held AND tenant_origins.held_until <= now() AS has_capacity
)

SELECT
    moved.id,
    moved.attempt,
    moved.tenant_id,
    moved.origin,
    coalesce(written.has_opened, false) AS has_opened,
    coalesce(written.has_capacity, false) AS has_capacity
FROM moved
LEFT JOIN written ON written.tenant_id = moved.tenant_id AND written.origin = moved.origin
