"""Name resolution by the operator's DNS servers, bypassing the system's resolver."""

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
MAX_RESPONSE_BYTES: Final = 1232  # fits into one packet on every network: some 70 addresses


class _UdpOnlyNameserver(Do53Nameserver):
    """A DNS server that is queried over UDP only.

    Otherwise a query with a truncated response would be repeated over TCP, where a hostile zone can
    send 64 kB; parsing them would block the event loop for half a second.
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
            raise OSError("the response is truncated")
        return await super().async_query(
            request, timeout, source, source_port, max_size, *rest, **more
        )


class NameserverResolver:
    """Resolver that queries the given DNS servers, without a hosts file, search list or cache.

    Look-ups run on the event loop, and end when their caller is cancelled.
    """

    def __init__(self, servers: Sequence[NameServer], *, timeout_seconds: float) -> None:
        self._stub = StubResolver(configure=False)
        self._stub.nameservers = [_UdpOnlyNameserver(str(one.address), one.port) for one in servers]
        self._stub.lifetime = timeout_seconds
        self._stub.use_edns(payload=MAX_RESPONSE_BYTES)

    async def __call__(self, host: str, port: int) -> list[Address]:
        """Return all IPv4 and IPv6 addresses of `host`.

        Raises:
            OSError: the IPv4 or the IPv6 query failed.
        """
        del port
        try:
            async with asyncio.TaskGroup() as group:
                queries = [group.create_task(self._query(host, family)) for family in FAMILIES]
        except* DNSException as errors:
            raise OSError(str(errors.exceptions[0])) from errors
        return [address for query in queries for address in query.result()]

    async def aclose(self) -> None:
        """Do nothing, because every look-up ends with its caller."""

    async def _query(self, host: str, family: str) -> list[Address]:
        try:
            answer = await self._stub.resolve(f"{host}.", family, raise_on_no_answer=False)
        except NXDOMAIN:
            return []
        return [ip_address(record.address) for record in answer.rrset or ()]
