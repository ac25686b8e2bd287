-- Create a tenant on a plan, with an unlimited share; refresh_shares.sql applies the plan's limits.
--
-- Returns the id; no row if the name is taken or there is no such plan.

WITH created AS (
    INSERT INTO tenants (name, plan_id)
    SELECT CAST(:name AS text), id
    FROM plans
    WHERE name = :plan
    ON CONFLICT (name) DO NOTHING
    RETURNING id
)

INSERT INTO tenant_shares (tenant_id)
SELECT id FROM created
RETURNING tenant_id
