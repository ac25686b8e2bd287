"""Looking names up at name servers the operator chose, without the system's resolver."""

import asyncio
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

from dns.asyncresolver import Resolver as StubResolver
from dns.exception import DNSException
from dns.message import Message, QueryMessage
from dns.nameserver import Do53Nameserver
from dns.resolver import NXDOMAIN

from common.outbound.address import Address
from common.settings.outbound import NameServer

FAMILIES: Final = ("A", "AAAA")
MAX_RESPONSE_BYTES: Final = 1232  # what passes every network in one piece: some 70 addresses


class _UdpOnlyNameserver(Do53Nameserver):
    """A server that is asked over UDP alone.

    What does not fit is asked for again over TCP, where a hostile zone has 64 kB: parsing them
    takes half a second, and everything else waits.
    """

    async def async_query(
        self,
        request: QueryMessage,
        timeout: float,  # noqa: ASYNC109 the base class's signature
        source: str | None,
        source_port: int,
        max_size: bool,  # noqa: FBT001 the same
        *rest: Any,
        **more: Any,
    ) -> Message:
        if max_size:
            raise OSError("the answer is too long")
        return await super().async_query(
            request, timeout, source, source_port, max_size, *rest, **more
        )


class NameserverResolver:
    """Asks for a name exactly as it stands: no hosts file, no search list, nothing remembered.

    A look-up holds no thread, and ends with the caller who gives it up.
    """

    def __init__(self, servers: Sequence[NameServer], *, timeout_seconds: float) -> None:
        self._stub = StubResolver(configure=False)
        self._stub.nameservers = [_UdpOnlyNameserver(str(one.address), one.port) for one in servers]
        self._stub.lifetime = timeout_seconds
        self._stub.use_edns(payload=MAX_RESPONSE_BYTES)

    async def __call__(self, host: str, port: int) -> list[Address]:
        """Give every address of `host`, of both families.

        Raises:
            OSError: there is none, or no answer to one of the two questions.
        """
        del port
        try:
            async with asyncio.TaskGroup() as asking:
                asked = [asking.create_task(self._query(host, family)) for family in FAMILIES]
        except* DNSException as trouble:
            raise OSError(str(trouble.exceptions[0])) from trouble
        return [address for answer in asked for address in answer.result()]

    async def aclose(self) -> None:
        """Do nothing: a look-up holds nothing once its caller has gone."""

    async def _query(self, host: str, family: str) -> list[Address]:
        try:
            answer = await self._stub.resolve(f"{host}.", family, raise_on_no_answer=False)
        except NXDOMAIN:
            return []
        return [ip_address(record.address) for record in answer.rrset or ()]
