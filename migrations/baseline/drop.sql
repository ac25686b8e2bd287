-- Drop everything that the other files of this folder create. Indexes, triggers, policies and
-- rights are dropped with their tables. The role infill_gateway stays: other databases of the
-- cluster may use it.
DROP TABLE
    delivery_attempts, deliveries, tenant_origins, tenant_dispatches,
    unfolded_usage, usage_entries, daily_usage,
    jobs, workers, tenant_queues, tenant_shares,
    installations, audit_entries, admin_keys,
    webhook_secrets, api_keys, tenants, plans;
DROP FUNCTION
    infill_origin(text),
    infill_set_origin(),
    infill_set_track_hash(),
    infill_record_due(),
    infill_authenticate(bytea, double precision),
    infill_ended_jobs(uuid[]),
    infill_virtual_time(text),
    infill_cancel_job(bigint, bigint, text),
    infill_queue_totals(text, double precision),
    infill_waiting_tenants(text),
    infill_running_jobs(text);
