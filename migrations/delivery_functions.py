"""What Postgres itself does to deliveries: it names their origin, and notes who waits.

Triggers, because every writer has to: workers of the release before, which know of no lines, the
sweeper, and the gateway's role, which may write to no books.
"""

from typing import Final

# Scheme, host and port as `common.outbound.url.Target.origin` spells them, but for what takes a
# parser: IDNA, and IPv6 in other words. Two spellings are two lines.
ORIGIN: Final = r"""
SELECT regexp_replace(
    regexp_replace(
        lower(coalesce(substring($1 FROM '^[^:/]+://[^/?#]+'), $1)), '\.(?=(:[0-9]+)?$)', ''),
    '^(http://.*):80$|^(https://.*):443$', '\1\2')
"""

NAME_ORIGIN: Final = """
BEGIN
    NEW.origin := infill_origin(NEW.url);
    RETURN NEW;
END
"""

# Notes in the lines of what has become pending when the first of it is due, and with the tenants
# of all lines touched that they have something to be sent. A row that says so already is left
# alone: else whoever ends jobs would wait for each other. All lines come before all turns, each in
# the order of their keys, so that nobody waits in a circle.
NOTE_WAITING: Final = """
BEGIN
    IF NOT EXISTS (SELECT FROM changed WHERE state <> 'sending') THEN
        RETURN NULL;
    END IF;

    INSERT INTO tenant_origins AS line (tenant_id, origin, first_due_at, retry_due_at)
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
        first_due_at = least(line.first_due_at, excluded.first_due_at),
        retry_due_at = least(line.retry_due_at, excluded.retry_due_at);

    INSERT INTO tenant_dispatches AS turn (tenant_id, retries, has_due, due_at)
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
        has_due = turn.has_due OR excluded.has_due, due_at = least(turn.due_at, excluded.due_at);

    RETURN NULL;
END
"""

# By signature: the rest of the definition, and the body.
FUNCTIONS: Final = {
    "infill_origin(url text)": ("text LANGUAGE sql IMMUTABLE PARALLEL SAFE", ORIGIN),
    "infill_name_origin()": (
        "trigger LANGUAGE plpgsql SET search_path = public, pg_temp",
        NAME_ORIGIN,
    ),
    "infill_note_waiting()": (
        "trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp",
        NOTE_WAITING,
    ),
}
TRIGGERS: Final = {
    "name_origin": "BEFORE INSERT OR UPDATE ON deliveries FOR EACH ROW "
    "WHEN (NEW.origin IS NULL) EXECUTE FUNCTION infill_name_origin()",
    "note_inserted": "AFTER INSERT ON deliveries REFERENCING NEW TABLE AS changed "
    "FOR EACH STATEMENT EXECUTE FUNCTION infill_note_waiting()",
    "note_updated": "AFTER UPDATE ON deliveries REFERENCING NEW TABLE AS changed "
    "FOR EACH STATEMENT EXECUTE FUNCTION infill_note_waiting()",
}


def definition(signature: str) -> str:
    """Spell the statement that makes a function; alembic takes a bare colon for a parameter."""
    rest, body = FUNCTIONS[signature]
    return f"CREATE FUNCTION {signature} RETURNS {rest} AS $body${body}$body$".replace(":", r"\:")
