-- Triggers that derive columns and counters when deliveries are inserted or updated.
--
-- Deliveries have several writers: the statements that end jobs, the sweeper, and the gateway's
-- role, which redelivers but has no right to write counters.

-- Return scheme, host and port of a URL in the form of common.outbound.url.Target.origin, except
-- that IDNA names and IPv6 addresses are not normalized, which would need a parser. Two spellings
-- of such a host are two origins.
CREATE FUNCTION infill_origin(url text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $body$
SELECT regexp_replace(
    regexp_replace(
        lower(coalesce(substring($1 FROM '^[^:/]+://[^/?#]+'), $1)), '\.(?=(:[0-9]+)?$)', ''),
    '^(http://.*):80$|^(https://.*):443$', '\1\2')
$body$;

CREATE FUNCTION infill_set_origin() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp
AS $body$
BEGIN
    NEW.origin := infill_origin(NEW.url);
    RETURN NEW;
END
$body$;
REVOKE ALL ON FUNCTION infill_set_origin() FROM PUBLIC;

CREATE TRIGGER set_origin BEFORE INSERT ON deliveries
    FOR EACH ROW WHEN (NEW.origin IS NULL) EXECUTE FUNCTION infill_set_origin();

-- Set the hash of the job's track_id, by which tenants search their deliveries. The text is hashed,
-- so that 17 is found whether it was sent as a number or as a string. It is a hash, because a
-- track_id can be longer than an index entry; a column, because row-level security prevents the use
-- of an index on an expression, whose operators are not leakproof; and in this table, because an
-- index on `jobs` would slow down every claim (decision record 0023).
CREATE FUNCTION infill_set_track_hash() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp
AS $body$
BEGIN
    NEW.track_hash = (
        SELECT hashtextextended(track_id #>> '{}', 0) FROM jobs WHERE jobs.id = NEW.job_id
    );
    RETURN NEW;
END
$body$;
REVOKE ALL ON FUNCTION infill_set_track_hash() FROM PUBLIC;

CREATE TRIGGER set_track_hash BEFORE INSERT ON deliveries
    FOR EACH ROW EXECUTE FUNCTION infill_set_track_hash();

-- Record when the deliveries that have become pending are due: first in their tenant origins, then
-- in their tenant dispatches. Rows that are right already are not updated; otherwise workers that
-- end jobs of one tenant would wait for each other. All origins are written before all dispatches,
-- each in the order of their keys, so that writers never deadlock.
CREATE FUNCTION infill_record_due() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $body$
BEGIN
    -- A claim changes deliveries to `sending` only, and updates the counters itself.
    IF NOT EXISTS (SELECT FROM changed WHERE state <> 'sending') THEN
        RETURN NULL;
    END IF;

    INSERT INTO tenant_origins AS stored (tenant_id, origin, first_due_at, retry_due_at)
    SELECT tenant_id, origin, first_due_at, retry_due_at
    FROM (
        SELECT tenant_id, origin,
            coalesce(min(available_at) FILTER (WHERE attempt = 0), 'infinity') AS first_due_at,
            coalesce(min(available_at) FILTER (WHERE attempt > 0), 'infinity') AS retry_due_at
        FROM changed WHERE state = 'pending' GROUP BY tenant_id, origin
    ) AS waiting
    WHERE NOT EXISTS (
        SELECT FROM tenant_origins AS known
        WHERE known.tenant_id = waiting.tenant_id AND known.origin = waiting.origin
            AND known.first_due_at <= waiting.first_due_at
            AND known.retry_due_at <= waiting.retry_due_at
    )
    ORDER BY tenant_id, origin
    ON CONFLICT (tenant_id, origin) DO UPDATE SET
        first_due_at = least(stored.first_due_at, excluded.first_due_at),
        retry_due_at = least(stored.retry_due_at, excluded.retry_due_at);

    -- For the origins of all changed deliveries, not only of pending ones: after the end of an
    -- attempt an origin may be below its limit again.
    INSERT INTO tenant_dispatches AS stored (tenant_id, retries, has_due, due_at)
    SELECT tenant_id, retries, due_at <= now(), due_at
    FROM (
        SELECT tenant_id, retries, min(due_at) AS due_at
        FROM (
            SELECT DISTINCT tenant_id, origin FROM changed WHERE state <> 'sending'
        ) AS touched
        JOIN tenant_origins USING (tenant_id, origin)
        CROSS JOIN LATERAL (VALUES
            (false, greatest(first_due_at, held_until)),
            (true, greatest(retry_due_at, held_until))
        ) AS class (retries, due_at)
        WHERE due_at < 'infinity' GROUP BY tenant_id, retries
    ) AS waiting
    WHERE NOT EXISTS (
        SELECT FROM tenant_dispatches AS known
        WHERE known.tenant_id = waiting.tenant_id AND known.retries = waiting.retries
            AND (known.has_due OR (known.due_at <= waiting.due_at AND waiting.due_at > now()))
    )
    ORDER BY tenant_id, retries
    ON CONFLICT (tenant_id, retries) DO UPDATE SET
        has_due = stored.has_due OR excluded.has_due,
        due_at = least(stored.due_at, excluded.due_at);

    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION infill_record_due() FROM PUBLIC;

CREATE TRIGGER record_due_inserted AFTER INSERT ON deliveries
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION infill_record_due();
CREATE TRIGGER record_due_updated AFTER UPDATE ON deliveries
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION infill_record_due();
