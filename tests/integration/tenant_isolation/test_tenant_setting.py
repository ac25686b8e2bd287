"""For whom a connection of the gateway's speaks: for the tenant at hand, and never for another."""

import asyncio
from typing import Final

import asyncpg
import pytest
from sqlalchemy import BigInteger, bindparam, func, literal, literal_column, select

from common.postgres.database import Database
from common.postgres.models import Delivery, Job, TenantQueue
from tests.integration.repositories.support.counters import Books

# What the first wall keeps from happening: statements that forgot to ask for one tenant's.
ALL_JOBS: Final = select(Job.tenant_id)
ALL_QUEUES: Final = select(TenantQueue.tenant_id)
ALL_DELIVERIES: Final = select(Delivery.tenant_id)
SPOKEN_FOR: Final = select(func.current_setting("infill.tenant_id", literal(True)))  # noqa: FBT003
NOT_A_NUMBER: Final = select(
    (literal_column("1") / bindparam("zero", type_=BigInteger())).label("n")
)
SLOW: Final = select(func.pg_sleep(literal(60)))
BACKEND: Final = select(func.pg_backend_pid())


async def tenants(walled: Database, tenant_id: int | None) -> set[int]:
    """Give whose jobs, queues and deliveries are seen by statements that ask for everybody's."""
    async with walled.direct(tenant_id) as connection:
        found = [
            (await connection.execute(statement, {})).all()
            for statement in (ALL_JOBS, ALL_QUEUES, ALL_DELIVERIES)
        ]
    assert len({bool(rows) for rows in found}) == 1
    return {row[0] for rows in found for row in rows}


async def test_a_statement_that_forgets_whose_rows_it_wants_gets_its_own(
    walled: Database, alice: Books, bob: Books
) -> None:
    assert await tenants(walled, bob.tenant_id) == {bob.tenant_id}
    assert await tenants(walled, alice.tenant_id) == {alice.tenant_id}
    assert await tenants(walled, None) == set()
    async with walled.statement() as connection:
        assert (await connection.execute(ALL_JOBS)).all() == []
    async with walled.transaction() as connection:
        assert (await connection.execute(ALL_JOBS)).all() == []


async def test_many_at_once_over_few_connections_each_get_their_own(
    walled: Database, alice: Books, bob: Books
) -> None:
    turns = [alice.tenant_id, None, bob.tenant_id, bob.tenant_id, None, alice.tenant_id] * 20
    seen = await asyncio.gather(*(tenants(walled, tenant_id) for tenant_id in turns))
    assert seen == [set() if tenant_id is None else {tenant_id} for tenant_id in turns]
    assert len(walled._direct_pool._idle) == 2


async def test_an_error_in_the_middle_changes_nothing(
    walled: Database, alice: Books, bob: Books
) -> None:
    for tenant_id in (alice.tenant_id, bob.tenant_id, None):
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with walled.direct(tenant_id) as connection:
                await connection.execute(NOT_A_NUMBER, {"zero": 0})
        assert await tenants(walled, None) == set()
        assert await tenants(walled, bob.tenant_id) == {bob.tenant_id}


async def test_one_who_gives_up_in_the_middle_leaves_no_connection_behind(
    walled: Database, alice: Books, bob: Books
) -> None:
    async def slow() -> None:
        async with walled.direct(alice.tenant_id) as connection:
            await connection.execute(SLOW, {})

    assert await tenants(walled, alice.tenant_id) == {alice.tenant_id}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow(), 0.1)
    assert await tenants(walled, None) == set()
    assert await tenants(walled, bob.tenant_id) == {bob.tenant_id}


@pytest.mark.parametrize("trouble", [asyncio.CancelledError, asyncpg.QueryCanceledError])
async def test_trouble_while_postgres_is_told_leaves_nobody_sure(
    walled: Database,
    alice: Books,
    bob: Books,
    monkeypatch: pytest.MonkeyPatch,
    trouble: type[BaseException],
) -> None:
    """It may or may not have been heard: the next one has it said again."""
    assert await tenants(walled, alice.tenant_id) == {alice.tenant_id}
    (pooled,) = walled._direct_pool._idle
    fetchval = asyncpg.Connection.fetchval

    async def heard_and_lost(*given: object) -> None:
        await fetchval(*given)
        raise trouble

    with monkeypatch.context() as patching:
        patching.setattr(asyncpg.Connection, "fetchval", heard_and_lost)
        with pytest.raises(trouble):
            await walled.direct(bob.tenant_id).__aenter__()
    assert pooled.driver.is_closed() == (trouble is asyncio.CancelledError)
    assert await tenants(walled, alice.tenant_id) == {alice.tenant_id}
    assert await tenants(walled, None) == set()


async def test_a_tenant_finds_the_connection_that_speaks_for_it(
    walled: Database, alice: Books, bob: Books
) -> None:
    async def backend(tenant_id: int | None) -> object:
        async with walled.direct(tenant_id) as connection:
            return (await connection.execute(BACKEND, {})).scalar()

    async with walled.direct(alice.tenant_id) as first, walled.direct(bob.tenant_id) as second:
        of_alice = (await first.execute(BACKEND, {})).scalar()
        of_bob = (await second.execute(BACKEND, {})).scalar()
    for _ in range(3):
        assert await backend(alice.tenant_id) == of_alice
        assert await backend(bob.tenant_id) == of_bob
    # Whoever is new takes the one that was used the longest ago.
    assert await backend(None) == of_alice
    assert await backend(bob.tenant_id) == of_bob


async def test_nobody_is_told_what_is_known(
    walled: Database, alice: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await tenants(walled, alice.tenant_id) == {alice.tenant_id}
    monkeypatch.delattr(asyncpg.Connection, "fetchval")
    assert await tenants(walled, alice.tenant_id) == {alice.tenant_id}


async def test_one_who_speaks_for_nobody_is_nobody_again(walled: Database, alice: Books) -> None:
    async with walled.direct(alice.tenant_id) as connection:
        assert (await connection.execute(SPOKEN_FOR, {})).scalar() == str(alice.tenant_id)
    async with walled.direct() as connection:
        assert (await connection.execute(SPOKEN_FOR, {})).scalar() == ""
