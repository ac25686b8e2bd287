-- The usage ledger and its daily totals. A report reads the totals and the entries not yet folded
-- into them.

-- The usage of one succeeded job; written with its result, never changed. An entry outlives its
-- job, so it has no foreign key to it.
CREATE TABLE usage_entries (
    job_id bigint NOT NULL,
    tenant_id bigint NOT NULL,
    model text NOT NULL,
    images smallint NOT NULL,
    -- Six decimal places hold every product of width, height, steps and images exactly, so sums do
    -- not depend on the order of addition.
    megapixel_steps numeric(20, 6) NOT NULL,
    gpu_milliseconds bigint NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    -- How many of `images` the safety checker found unsafe.
    flagged_images smallint DEFAULT 0 NOT NULL,
    CONSTRAINT pk_usage_entries PRIMARY KEY (job_id),
    CONSTRAINT fk_usage_entries_tenant_id
        FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);
CREATE INDEX ix_usage_entries_tenant_id_created_at ON usage_entries (tenant_id, created_at);

-- Marks of the entries that are not yet folded into the daily totals; deleted by the statement that
-- folds them. A position in the ledger would not do: it could skip an entry that is committed late.
CREATE TABLE unfolded_usage (
    job_id bigint NOT NULL,
    -- Repeated from the entry, so that a tenant's marks are found without the ledger.
    tenant_id bigint NOT NULL,
    CONSTRAINT pk_unfolded_usage PRIMARY KEY (job_id),
    CONSTRAINT fk_unfolded_usage_job_id
        FOREIGN KEY (job_id) REFERENCES usage_entries (job_id) ON DELETE CASCADE
) WITH (
    -- Rows come and go at the rate of jobs; see `jobs`.
    autovacuum_vacuum_scale_factor = 0,
    autovacuum_vacuum_threshold = 10000,
    vacuum_index_cleanup = on
);
CREATE INDEX ix_unfolded_usage_tenant_id ON unfolded_usage (tenant_id);

-- Sums of the usage entries by tenant, day (UTC) and model.
CREATE TABLE daily_usage (
    tenant_id bigint NOT NULL,
    day date NOT NULL,
    model text NOT NULL,
    jobs bigint NOT NULL,
    images bigint NOT NULL,
    megapixel_steps numeric(20, 6) NOT NULL,
    gpu_milliseconds bigint NOT NULL,
    flagged_images bigint DEFAULT 0 NOT NULL,
    CONSTRAINT pk_daily_usage PRIMARY KEY (tenant_id, day, model),
    CONSTRAINT fk_daily_usage_tenant_id
        FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
);
