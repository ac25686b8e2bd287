"""The tenant setting of the gateway's connections: always that of the current request."""

import asyncio
from typing import Final

import asyncpg
import pytest
from sqlalchemy import BigInteger, bindparam, func, literal, literal_column, select

from common.postgres.database import Database
from common.postgres.errors import PostgresRejectedError
from common.postgres.models import Delivery, Job, TenantQueue
from tests.integration.repositories.support.tenant_rows import TenantRows

# Statements without a condition on the tenant, as after a mistake.
ALL_JOBS: Final = select(Job.tenant_id)
ALL_QUEUES: Final = select(TenantQueue.tenant_id)
ALL_DELIVERIES: Final = select(Delivery.tenant_id)
TENANT_SETTING: Final = select(func.current_setting("infill.tenant_id", literal(True)))  # noqa: FBT003
NOT_A_NUMBER: Final = select(
    (literal_column("1") / bindparam("zero", type_=BigInteger())).label("n")
)
SLOW: Final = select(func.pg_sleep(literal(60)))
LEAVE_ROLE: Final = select(
    func.set_config(literal("role"), literal("none"), literal(value=False)).label("role")
)
BACKEND: Final = select(func.pg_backend_pid())


async def tenants(gateway_database: Database, tenant_id: int | None) -> set[int]:
    """Return the tenants whose jobs, queues and deliveries are visible without a condition."""
    async with gateway_database.direct(tenant_id) as connection:
        found = [
            (await connection.execute(statement, {})).all()
            for statement in (ALL_JOBS, ALL_QUEUES, ALL_DELIVERIES)
        ]
    assert len({bool(rows) for rows in found}) == 1
    return {row[0] for rows in found for row in rows}


async def test_a_statement_without_a_tenant_condition_gets_its_own_rows(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    assert await tenants(gateway_database, bob.tenant_id) == {bob.tenant_id}
    assert await tenants(gateway_database, alice.tenant_id) == {alice.tenant_id}
    assert await tenants(gateway_database, None) == set()
    async with gateway_database.statement() as connection:
        assert (await connection.execute(ALL_JOBS)).all() == []
    async with gateway_database.transaction() as connection:
        assert (await connection.execute(ALL_JOBS)).all() == []


async def test_concurrent_requests_over_few_connections_get_their_own_rows(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    tenant_ids = [alice.tenant_id, None, bob.tenant_id, bob.tenant_id, None, alice.tenant_id] * 20
    seen = await asyncio.gather(*(tenants(gateway_database, tenant_id) for tenant_id in tenant_ids))
    assert seen == [set() if tenant_id is None else {tenant_id} for tenant_id in tenant_ids]
    assert len(gateway_database._direct_pool._idle) == 2


async def test_an_error_does_not_affect_later_requests(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    for tenant_id in (alice.tenant_id, bob.tenant_id, None):
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with gateway_database.direct(tenant_id) as connection:
                await connection.execute(NOT_A_NUMBER, {"zero": 0})
        assert await tenants(gateway_database, None) == set()
        assert await tenants(gateway_database, bob.tenant_id) == {bob.tenant_id}


async def test_a_canceled_request_does_not_leave_its_connection(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    async def slow() -> None:
        async with gateway_database.direct(alice.tenant_id) as connection:
            await connection.execute(SLOW, {})

    assert await tenants(gateway_database, alice.tenant_id) == {alice.tenant_id}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow(), 0.1)
    assert await tenants(gateway_database, None) == set()
    assert await tenants(gateway_database, bob.tenant_id) == {bob.tenant_id}


@pytest.mark.parametrize("trouble", [asyncio.CancelledError, asyncpg.QueryCanceledError])
async def test_an_error_while_the_tenant_is_changed_leaves_it_unknown(
    gateway_database: Database,
    alice: TenantRows,
    bob: TenantRows,
    monkeypatch: pytest.MonkeyPatch,
    trouble: type[BaseException],
) -> None:
    """The change may or may not have been made, so the next borrower repeats it."""
    assert await tenants(gateway_database, alice.tenant_id) == {alice.tenant_id}
    (pooled,) = gateway_database._direct_pool._idle
    fetchrow = asyncpg.Connection.fetchrow

    async def execute_and_raise(*given: object) -> None:
        await fetchrow(*given)
        raise trouble

    with monkeypatch.context() as patching:
        patching.setattr(asyncpg.Connection, "fetchrow", execute_and_raise)
        with pytest.raises(trouble):
            await gateway_database.direct(bob.tenant_id).__aenter__()
    assert pooled.driver.is_closed() == (trouble is asyncio.CancelledError)
    assert await tenants(gateway_database, alice.tenant_id) == {alice.tenant_id}
    assert await tenants(gateway_database, None) == set()


async def test_a_tenant_gets_the_connection_that_is_set_to_it(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    async def backend(tenant_id: int | None) -> object:
        async with gateway_database.direct(tenant_id) as connection:
            return (await connection.execute(BACKEND, {})).scalar()

    async with (
        gateway_database.direct(alice.tenant_id) as first,
        gateway_database.direct(bob.tenant_id) as second,
    ):
        of_alice = (await first.execute(BACKEND, {})).scalar()
        of_bob = (await second.execute(BACKEND, {})).scalar()
    for _ in range(3):
        assert await backend(alice.tenant_id) == of_alice
        assert await backend(bob.tenant_id) == of_bob
    # A new tenant gets the least recently used one.
    assert await backend(None) == of_alice
    assert await backend(bob.tenant_id) == of_bob


async def test_a_session_with_another_role_is_refused(
    gateway_database: Database, alice: TenantRows, bob: TenantRows
) -> None:
    """As if a pooler had replaced the session of the connection."""
    async with gateway_database.direct(alice.tenant_id) as connection:
        await connection.execute(LEAVE_ROLE, {})
    with pytest.raises(PostgresRejectedError, match="replaced the session"):
        await tenants(gateway_database, bob.tenant_id)
    assert await tenants(gateway_database, bob.tenant_id) == {bob.tenant_id}


async def test_a_known_tenant_is_not_set_again(
    gateway_database: Database, alice: TenantRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await tenants(gateway_database, alice.tenant_id) == {alice.tenant_id}
    monkeypatch.delattr(asyncpg.Connection, "fetchrow")
    assert await tenants(gateway_database, alice.tenant_id) == {alice.tenant_id}


async def test_the_tenant_of_a_connection_is_reset_to_none(
    gateway_database: Database, alice: TenantRows
) -> None:
    async with gateway_database.direct(alice.tenant_id) as connection:
        assert (await connection.execute(TENANT_SETTING, {})).scalar() == str(alice.tenant_id)
    async with gateway_database.direct() as connection:
        assert (await connection.execute(TENANT_SETTING, {})).scalar() == ""
