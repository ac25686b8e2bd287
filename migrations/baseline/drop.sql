-- Remove everything the other files of this folder make. Indexes, triggers, policies and rights go
-- with their tables. The role infill_gateway stays: other databases of the cluster may use it.
DROP TABLE
    delivery_attempts, deliveries, tenant_origins, tenant_dispatches,
    unfolded_usage, usage_entries, daily_usage,
    jobs, workers, tenant_queues, tenant_shares,
    installations, audit_entries, admin_keys,
    webhook_secrets, api_keys, tenants, plans;
DROP FUNCTION
    infill_origin(text),
    infill_name_origin(),
    infill_hash_track_id(),
    infill_record_due(),
    infill_authenticate(bytea, double precision),
    infill_ended(uuid[]),
    infill_virtual_time(text),
    infill_cancel(bigint, bigint, text),
    infill_queue_totals(text, double precision),
    infill_queue_contenders(text),
    infill_queue_at_work(text);
