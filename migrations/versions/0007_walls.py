"""A second wall between tenants: the gateway's role sees one tenant's rows, and few columns."""

from alembic import op

from migrations.gateway_functions import FUNCTIONS, definition

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ROLE = "infill_gateway"

# Roles belong to the cluster: another database's migration may make this one at the same time.
MAKE_ROLE = """
DO $$ BEGIN
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
END $$
"""
# Whoever migrates usually runs the gateways too, and has to be able to take the role on.
JOIN_ROLE = """
DO $$ BEGIN
    IF NOT pg_has_role(current_user, 'infill_gateway', CASE
        WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
    THEN
        GRANT infill_gateway TO CURRENT_USER;
    END IF;
EXCEPTION
    WHEN unique_violation THEN NULL;
    WHEN insufficient_privilege THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('%I may not take on the role infill_gateway', current_user),
            HINT = format('As a superuser, run GRANT infill_gateway TO %I; then migrate again.',
                current_user);
END $$
"""
# Everybody may use the schema, unless an operator has taken that back.
OPEN_SCHEMA = """
DO $$ BEGIN
    IF NOT has_schema_privilege('infill_gateway', 'public', 'USAGE') THEN
        GRANT USAGE ON SCHEMA public TO infill_gateway;
    END IF;
END $$
"""

# A sub-select is evaluated once for a statement, and an index can be searched for it.
SPOKEN_FOR = "(SELECT nullif(current_setting('infill.tenant_id', true), '')::bigint)"
OF_TENANT = f"tenant_id = {SPOKEN_FOR}"
POLICIES = {
    "jobs": OF_TENANT,
    "deliveries": OF_TENANT,
    "delivery_attempts": "EXISTS (SELECT FROM deliveries WHERE deliveries.id = delivery_id)",
    "tenant_queues": OF_TENANT,
    "tenant_shares": OF_TENANT,
    "usage_entries": OF_TENANT,
    "unfolded_usage": OF_TENANT,
    "daily_usage": OF_TENANT,
    "api_keys": OF_TENANT,
    "webhook_secrets": OF_TENANT,
    "tenants": f"id = {SPOKEN_FOR}",
}
# Of these the role sees nothing: it has neither rights nor a policy.
CLOSED = ("plans", "workers", "installations", "admin_keys", "audit_entries")

# What requests of tenants need, and nothing more. A new job is queued, and changed by others.
NEW_JOB = (
    "tenant_id, file_prefix, queue, priority, max_attempts, request, inputs, base64, cost, "
    "webhook_url, track_id, idempotency_key, request_digest"
)
GRANTS = {
    "jobs": f"SELECT, INSERT ({NEW_JOB})",
    "deliveries": "SELECT (id, job_id, tenant_id, state, failures)",
    "tenant_queues": "SELECT, INSERT (tenant_id, queue, virtual_time, has_ready), "
    "UPDATE (virtual_time, has_ready)",
    "tenant_shares": "SELECT",
    "usage_entries": "SELECT",
    "unfolded_usage": "SELECT",
    "daily_usage": "SELECT",
}


def upgrade() -> None:
    """Go up."""
    for statement in (MAKE_ROLE, JOIN_ROLE, OPEN_SCHEMA):
        op.execute(statement)
    for table in (*POLICIES, *CLOSED):
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    for table, condition in POLICIES.items():
        op.execute(f"CREATE POLICY tenant ON {table} TO {ROLE} USING ({condition})")
    for table, rights in GRANTS.items():
        op.execute(f"GRANT {rights} ON {table} TO {ROLE}")
    for signature in FUNCTIONS:
        op.execute(definition(signature))
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {ROLE}")


def downgrade() -> None:
    """Go back down; the role stays, because other databases of the cluster may use it."""
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    for table in GRANTS:
        op.execute(f"REVOKE ALL ON {table} FROM {ROLE}")
    for table in POLICIES:
        op.execute(f"DROP POLICY tenant ON {table}")
    for table in (*POLICIES, *CLOSED):
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
