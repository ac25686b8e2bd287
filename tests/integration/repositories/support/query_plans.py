"""How Postgres would run a statement of ours, once there are rows enough to matter."""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.postgres.database import Database
from tests.integration.repositories.support.counters import REQUEST, Books

FUNCTION = re.compile(r"infill_(?!virtual_time)\w+")
Call = Callable[[AsyncConnection], Awaitable[object]]

FILL = """
INSERT INTO jobs (tenant_id, file_prefix, queue, max_attempts, request, inputs, base64, cost,
    priority, state, result, finished_at, lease_expires_at)
SELECT :tenant_id, gen_random_uuid(), 'queue-' || n % 3, 3, CAST(:request AS jsonb), '{}', false,
    1, n % 7, s,
    CASE s WHEN 'succeeded' THEN '{"engine_seconds": 1}'::jsonb END, now(),
    CASE s WHEN 'running' THEN now() + '1 hour' END
FROM generate_series(1, 6000) AS n,
    LATERAL (SELECT CASE WHEN n % 100 = 0 THEN 'running' WHEN n % 10 = 0 THEN 'queued'
        WHEN n % 4 = 0 THEN 'succeeded' ELSE 'failed' END) AS states(s)
"""
FILL_DELIVERIES = """
INSERT INTO deliveries (job_id, tenant_id, event, url, state, lease_expires_at)
SELECT id, tenant_id, 'job.failed', 'https://caller.test', s,
    CASE s WHEN 'sending' THEN now() + '1 hour' END
FROM jobs, LATERAL (SELECT CASE WHEN id % 100 = 0 THEN 'sending' WHEN id % 10 = 0 THEN 'pending'
        ELSE 'delivered' END) AS states(s)
"""
# Lines and tenants enough that looking at each would be noticed.
FILL_LINES = """
WITH others AS (
    INSERT INTO tenants (name, plan_id)
    SELECT 'other-' || n, (SELECT min(id) FROM plans) FROM generate_series(1, 3000) AS n
    RETURNING id
), turns AS (
    INSERT INTO tenant_dispatches (tenant_id, retries, has_due)
    SELECT id, retries, id % 100 = 0 FROM others, (VALUES (false), (true)) AS kinds (retries)
)
INSERT INTO tenant_origins (tenant_id, origin, first_due_at, retry_due_at)
SELECT id, 'https://host-' || n || '.test', now() + '1 h', now() + '1 h'
FROM others, generate_series(1, 2) AS n
"""
FILL_ATTEMPTS = """
INSERT INTO delivery_attempts (delivery_id, attempt, started_at, duration_ms, answer)
SELECT id, 1, now(), 5, '' FROM deliveries
"""


async def fill(books: Books) -> None:
    """Write 6,000 jobs, most of them ended, and for each a delivery with an attempt."""
    values = {"tenant_id": books.tenant_id, "request": json.dumps(REQUEST.to_json())}
    async with books.database.transaction() as connection:
        await connection.execute(text(FILL), values)
        await connection.execute(text(FILL_DELIVERIES))
        await connection.execute(text(FILL_ATTEMPTS))
        await connection.execute(text(FILL_LINES))
        await connection.execute(text("ANALYZE"))


async def plans(database: Database, url: str, call: Call) -> list[str]:
    """Give the plans of the one statement `call` runs: for its values, and for any values.

    Postgres settles on the second kind when a connection has run a statement five times.
    """
    statement, parameters = await spelled(database, call)
    values = f"({', '.join(map(literal, parameters))})" if parameters else ""
    connection = await asyncpg.connect(url)
    try:
        types, statement = await within(connection, statement)
        await connection.execute(f"PREPARE ours{types} AS {statement}")
        found = []
        for mode in ("force_custom_plan", "force_generic_plan"):
            await connection.execute(f"SET plan_cache_mode = {mode}")
            rows = await connection.fetch(f"EXPLAIN EXECUTE ours{values}")
            found.append("\n".join(row[0] for row in rows))
        return found
    finally:
        await connection.close()


async def within(connection: "asyncpg.Connection[Any]", statement: str) -> tuple[str, str]:
    """Give what a function of ours runs, where one is called, with the types of its parameters."""
    called = FUNCTION.search(statement)
    if called is None:
        return "", statement
    row = await connection.fetchrow(
        "SELECT oidvectortypes(proargtypes), prosrc FROM pg_proc WHERE proname = $1", called[0]
    )
    assert row is not None
    return f"({row[0]})", row[1]


async def spelled(database: Database, call: Call) -> tuple[str, Sequence[object]]:
    """Give the statement `call` runs as Postgres gets it, with its parameters."""
    heard: list[tuple[str, Sequence[object]]] = []

    def hear(*told: object) -> None:
        statement, parameters = told[2:4]
        assert isinstance(statement, str)
        assert isinstance(parameters, tuple)
        heard.append((statement, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        async with database.statement() as connection:
            await call(connection)
    finally:
        event.remove(engine, "before_cursor_execute", hear)
    (only,) = heard
    return only


def literal(value: object) -> str:
    """Spell a parameter as SQL."""
    if isinstance(value, list | tuple):
        # Without a type of its own: it takes that of the parameter.
        return "'{" + ", ".join(map(str, value)) + "}'"
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    return str(value) if isinstance(value, int | float) else f"'{value}'"
