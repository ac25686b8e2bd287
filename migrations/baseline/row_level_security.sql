-- Tenant isolation in the database: the gateway's role sees the rows of one tenant, in the columns
-- that requests need. Workers, the dispatcher and operators own the tables and are not restricted.

-- Roles belong to the whole cluster: another database may have created this one, or be doing so
-- now.
DO $body$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'infill_gateway') THEN
        CREATE ROLE infill_gateway
            NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%I may not create the role infill_gateway', current_user),
            HINT = format('As a superuser, run CREATE ROLE infill_gateway NOLOGIN; GRANT '
                'infill_gateway TO %I; then migrate again.', current_user);
END $body$;

-- The account that migrates usually runs the gateways too, and has to be able to assume the role.
DO $body$ BEGIN
    IF NOT pg_has_role(current_user, 'infill_gateway', CASE
        WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
    THEN
        GRANT infill_gateway TO CURRENT_USER;
    END IF;
EXCEPTION
    WHEN unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%I may not assume the role infill_gateway', current_user),
            HINT = format('As a superuser, run GRANT infill_gateway TO %I; then migrate again.',
                current_user);
END $body$;

-- By default every role may use the schema; an operator may have revoked that.
DO $body$ BEGIN
    IF NOT has_schema_privilege('infill_gateway', 'public', 'USAGE') THEN
        GRANT USAGE ON SCHEMA public TO infill_gateway;
    END IF;
END $body$;

-- Row-level security is on for every table. Of a table without a policy the role sees no row.
ALTER TABLE plans ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE admin_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE installations ENABLE ROW LEVEL SECURITY;
ALTER TABLE jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE workers ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_shares ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_queues ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE unfolded_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE daily_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE delivery_attempts ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_origins ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_dispatches ENABLE ROW LEVEL SECURITY;

-- The tenant is a setting of the connection; unset or empty, it is NULL and no row matches. It is
-- read in a sub-select, which is evaluated once for a statement and can be looked up in an index.
CREATE POLICY tenant ON tenants TO infill_gateway
    USING (id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON api_keys TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON webhook_secrets TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON jobs TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON tenant_shares TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON tenant_queues TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON usage_entries TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON unfolded_usage TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON daily_usage TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON deliveries TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON tenant_origins TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
CREATE POLICY tenant ON tenant_dispatches TO infill_gateway
    USING (tenant_id = (SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint));
-- Attempts have no tenant_id; the policy of `deliveries` applies to the sub-select.
CREATE POLICY tenant ON delivery_attempts TO infill_gateway
    USING (EXISTS (SELECT FROM deliveries WHERE deliveries.id = delivery_id));

-- Submit a job. It is inserted as queued; only infill_cancel_job lets the gateway change its state.
GRANT
    SELECT,
    INSERT (tenant_id, file_prefix, queue, priority, max_attempts, request, inputs, base64, cost,
        webhook_url, track_id, idempotency_key, request_digest)
ON jobs TO infill_gateway;
-- Mark the tenant as ready in the queue, in the statement that submits a job.
GRANT
    SELECT,
    INSERT (tenant_id, queue, virtual_time, has_ready),
    UPDATE (virtual_time, has_ready)
ON tenant_queues TO infill_gateway;
-- Estimate waiting times, enforce limits, report usage.
GRANT SELECT ON tenant_shares, usage_entries, unfolded_usage, daily_usage TO infill_gateway;
-- List deliveries and redeliver them; `claimed_by` is internal and not readable.
GRANT
    SELECT (id, job_id, tenant_id, event, url, origin, track_hash, state, attempt, failures,
        available_at, created_at, finished_at),
    UPDATE (state, available_at, finished_at, failures)
ON deliveries TO infill_gateway;
GRANT SELECT ON delivery_attempts, tenant_origins TO infill_gateway;
-- Sign a webhook ping.
GRANT SELECT (id, tenant_id, secret, expires_at) ON webhook_secrets TO infill_gateway;

-- By default every role may execute a function.
REVOKE ALL ON FUNCTION
    infill_authenticate(bytea, double precision),
    infill_ended_jobs(uuid[]),
    infill_virtual_time(text),
    infill_cancel_job(bigint, bigint, text),
    infill_queue_totals(text, double precision),
    infill_waiting_tenants(text),
    infill_running_jobs(text)
FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    infill_authenticate(bytea, double precision),
    infill_ended_jobs(uuid[]),
    infill_virtual_time(text),
    infill_cancel_job(bigint, bigint, text),
    infill_queue_totals(text, double precision),
    infill_waiting_tenants(text),
    infill_running_jobs(text)
TO infill_gateway;
