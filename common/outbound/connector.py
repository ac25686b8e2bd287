"""Connections to checked addresses; only this module opens connections to tenants' addresses."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from common.outbound.address import Address
from common.outbound.errors import ExchangeError, Reason
from common.outbound.internal_hosts import is_private
from common.outbound.resolver import Resolver
from common.outbound.rules import Rules
from common.outbound.stream import CappedStream
from common.outbound.url import Target, not_allowed_error

MAX_HEAD: Final = 16_384  # bytes of status line and headers, including interim responses
MAX_ADDRESSES: Final = 64  # each check is a system call; ordinary names have a handful
MAX_ATTEMPTS: Final = 4  # addresses tried; a hostile name can have hundreds
ATTEMPT_SECONDS: Final = 3.0  # for each but the last, so that a dead address leaves time for others


def is_this_machine(address: Address) -> bool:
    """Return whether `address` belongs to this machine; asks the kernel, and sends no packets."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return bool(probe.getsockname()[0] == str(address))
    except OSError:  # no route there, or none for the whole family
        return False


@dataclass(frozen=True, slots=True)
class Connector:
    """Connector that resolves a name once, checks all its addresses, and connects to one of them.

    After that, the name is used only for SNI and the Host header. It is not resolved again, so that
    a changed DNS record cannot redirect the connection (DNS rebinding).
    """

    rules: Rules
    resolver: Resolver
    internal_resolver: Resolver  # of the names of internal hosts
    dns_timeout_seconds: float
    tls: Callable[[], ssl.SSLContext]

    async def connect(self, target: Target) -> CappedStream:
        """Connect to the target, with TLS for https, and return the stream.

        Raises:
            AddressNotAllowedError: the host name resolves to an address that is not allowed.
            ExchangeError: the host name does not resolve, or no connection could be made.
        """
        addresses = await self._resolve(target)
        for address in addresses:
            self._check_address(target, address)
        *first, last = addresses[:MAX_ATTEMPTS]
        for address in first:
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    return await self._open_connection(target, address)
            except OSError:  # refused, unreachable or too slow
                continue
        try:
            return await self._open_connection(target, last)
        except OSError as error:
            raise ExchangeError(Reason.CONNECT, str(error)) from error

    async def _resolve(self, target: Target) -> list[Address]:
        if target.literal is not None:
            return [target.literal]
        try:
            async with asyncio.timeout(self.dns_timeout_seconds):
                answers = await self._choose_resolver(target)(target.host, target.port)
        except OSError as error:  # a time-out too
            raise ExchangeError(Reason.DNS, str(error) or "timed out") from error
        addresses = list(dict.fromkeys(answers))
        if not 0 < len(addresses) <= MAX_ADDRESSES:
            raise ExchangeError(Reason.DNS, f"{len(addresses)} addresses")
        return addresses

    def _choose_resolver(self, target: Target) -> Resolver:
        return self.internal_resolver if self.rules.is_internal(target) else self.resolver

    def _check_address(self, target: Target, address: Address) -> None:
        rules = self.rules.addresses
        if self.rules.is_internal(target) and is_private(address) and not rules.is_denied(address):
            return
        if not rules.allows(address) or (not rules.is_opened(address) and is_this_machine(address)):
            raise not_allowed_error(f"resolves to {address}")

    async def _open_connection(self, target: Target, address: Address) -> CappedStream:
        encrypted = target.scheme == "https"
        try:
            reader, writer = await asyncio.open_connection(
                str(address),
                target.port,
                ssl=self.tls() if encrypted else None,
                server_hostname=target.host if encrypted else None,
            )
        except ssl.SSLError as error:
            raise ExchangeError(Reason.TLS, str(error)) from error
        return CappedStream(reader, writer, allowance=MAX_HEAD)
