"""A duty is one process's at a time."""

from common.postgres.locks import Lock, take_lock
from tests.integration.repositories.support.counters import Books


async def test_a_lock_has_one_holder(books: Books) -> None:
    engine = books.database.engine
    async with engine.connect() as second:
        async with engine.connect() as first:
            assert await take_lock(first, Lock.SWEEPER)
            assert await take_lock(first, Lock.SWEEPER)
            assert not await take_lock(second, Lock.SWEEPER)
            await first.commit()
            assert not await take_lock(second, Lock.SWEEPER), (
                "a commit is not the end of a connection"
            )
            await first.invalidate()  # as when its holder dies: the connection is gone
        assert await take_lock(second, Lock.SWEEPER)


async def test_each_duty_has_a_lock_of_its_own(books: Books) -> None:
    async with books.database.statement() as first, books.database.statement() as second:
        assert await take_lock(first, Lock.SWEEPER)
        assert await take_lock(second, Lock.RETENTION)
