"""Round trips to Postgres: one more for a new connection, none more for a request."""

import asyncio

from pydantic import SecretStr
from sqlalchemy import literal, make_url, select

from common.postgres.database import GATEWAY_ROLE, Database
from common.settings import DatabaseSettings
from tests.support.connections import port_of, serving

ONE = select(literal(1).label("one"))


class CountingRelay:
    """Relay to Postgres that counts the portions of data that clients send."""

    def __init__(self, target: int) -> None:
        self.sent = 0
        self._target = target

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._pass(reader, up_writer, counted=1))
            both.create_task(self._pass(up_reader, writer, counted=0))

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, counted: int
    ) -> None:
        try:
            while data := await source.read(65_536):
                self.sent += counted
                sink.write(data)
        finally:
            sink.close()


async def test_a_statement_takes_one_round_trip(database_url: str) -> None:
    relay = CountingRelay(make_url(database_url).port or 0)
    async with serving(relay.serve) as server:
        url = make_url(database_url).set(port=port_of(server))
        settings = DatabaseSettings(url=SecretStr(url.render_as_string(hide_password=False)))
        database = Database(settings, application="test", role=GATEWAY_ROLE)

        async def count(tenant_id: int) -> int:
            before = relay.sent
            async with database.direct(tenant_id) as connection:
                await connection.execute(ONE, {})
            return relay.sent - before

        await count(1)
        await count(2)
        assert await count(2) == 1  # the statement
        assert await count(1) == 2  # the tenant's setting, and the statement
        # A second connection: TLS is asked for, refused by this server, then the start, SCRAM's two
        # messages, the session's one, and the rest as before.
        async with database.statement():
            first = relay.sent
            async with database.statement():
                assert relay.sent - first <= 6
        await database.aclose()
