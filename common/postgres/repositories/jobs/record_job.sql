-- Record a job as queued, and mark its tenant as ready in its queue.
--
-- Returns the id; no row if the tenant has used the idempotency key before. Without a key there is
-- no conflict: the index only contains jobs with one.

WITH recorded AS (
    INSERT INTO jobs (
        tenant_id,
        file_prefix,
        queue,
        priority,
        max_attempts,
        request,
        inputs,
        base64,
        cost,
        webhook_url,
        track_id,
        idempotency_key,
        request_digest
    )
    VALUES (
        :tenant_id,
        :file_prefix,
        :queue,
        :priority,
        :max_attempts,
        :request,
        :inputs,
        :base64,
        :cost,
        :webhook_url,
        :track_id,
        :idempotency_key,
        :request_digest
    )
    ON CONFLICT (tenant_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
    RETURNING id, tenant_id, queue
),

ready AS (
    -- A tenant without waiting jobs starts at the queue's virtual time, so that idle time earns no
    -- credit. A tenant already marked is not updated: otherwise each submit of a busy tenant would
    -- wait for the previous one and for claims.
    INSERT INTO tenant_queues (tenant_id, queue, virtual_time, has_ready)
    SELECT tenant_id, queue, infill_virtual_time(queue), true
    FROM recorded
    WHERE NOT EXISTS (
        SELECT FROM tenant_queues
        WHERE tenant_queues.tenant_id = recorded.tenant_id
          AND tenant_queues.queue = recorded.queue
          AND tenant_queues.has_ready
    )
    ON CONFLICT (tenant_id, queue) DO UPDATE
    SET has_ready = true,
        virtual_time = greatest(tenant_queues.virtual_time, excluded.virtual_time)
)

SELECT id FROM recorded
