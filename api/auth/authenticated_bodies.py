"""Read request bodies whose sender is authenticated before anything is built from the body."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from starlette.requests import Request

from api.auth.api_keys import (
    ApiKeyAuthenticator,
    AuthenticatedTenant,
    find_field_key,
    find_header_key,
)
from api.body.formats.fields import Fields, parse_fields
from api.body.formats.form_fields import parse_query
from api.body.receiving.budget import BodyBudget, BodyReservation
from api.body.receiving.headers import read_body_headers
from api.body.receiving.receive import BodyReceiver
from api.body.receiving.spool import Spool
from api.errors.api_error import KeyInQueryError, WrongKeyError
from common.settings import GatewaySettings

T = TypeVar("T")

# Threads that write bodies to temporary files.
WRITERS: Final = 4
# Threads that parse large bodies. More would only compete for the interpreter.
PARSERS: Final = 2


@dataclass(frozen=True, slots=True)
class AuthenticatedBody:
    """The fields of a request and the tenant that sent it; long values are in a temporary file."""

    tenant: AuthenticatedTenant
    fields: Fields
    _spool: Spool
    _reservation: BodyReservation
    _parsers: ThreadPoolExecutor

    async def run(self, work: Callable[[], T]) -> T:
        """Run work on the fields, in another thread if the body is large, and return its result."""
        return await _run(self._parsers, self._spool, work)

    def close(self) -> None:
        """Delete the temporary file and release the budget; further calls have no effect."""
        self._spool.close()
        self._reservation.release()


class AuthenticatedBodyReader:
    """Reader of the bodies of one gateway process, within one budget of bytes.

    A key in a header is authenticated before the body is read. A large body without one is parsed
    only if it contains the key of a tenant. The key that counts is the parsed one: the search for
    a key decides no more than whether the body is parsed. Fields of the query string are read, too;
    where a field is in both, that of the body counts. A key in the query string is treated like one
    in a header, or is not read at all, depending on the settings.
    """

    def __init__(self, api_keys: ApiKeyAuthenticator, settings: GatewaySettings) -> None:
        self._api_keys = api_keys
        self._max_bytes = settings.max_body_bytes
        self._allows_key_in_query = settings.allow_key_in_query
        self._budget = BodyBudget(settings.body_budget_bytes)
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="bodies")
        self._parsers = ThreadPoolExecutor(PARSERS, thread_name_prefix="parsers")

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[AuthenticatedBody]:
        """Yield the fields of a request and its sender; release the body at the end.

        Raises:
            WrongKeyError: no key was sent, or one that is not valid.
            ApiError: the query string or the body cannot be received or parsed.
        """
        query, query_key, is_ignored = self._read_query(request)
        early_key = find_header_key(request) or query_key
        sender = None if early_key is None else await self._api_keys.authenticate(early_key)
        headers = read_body_headers(request.headers, self._max_bytes)
        reservation = self._budget.reserve(
            None if request.client is None else request.client.host,
            None if sender is None else sender.tenant_id,
        )
        spool = Spool(self._writers)
        try:
            receiver = BodyReceiver(
                spool, reservation, self._find_tenant, headers, is_known=sender is not None
            )
            await receiver.receive(request, self._max_bytes)
            fields = await _run(self._parsers, spool, lambda: parse_fields(spool, headers))
            tenant = await self._api_keys.authenticate(find_field_key(fields) or early_key)
            fields = {**query, **fields} if query else fields
            yield AuthenticatedBody(tenant, fields, spool, reservation, self._parsers)
        except WrongKeyError as error:
            if is_ignored:
                raise KeyInQueryError from error
            raise
        finally:
            spool.close()
            reservation.release()

    def _read_query(self, request: Request) -> tuple[Fields, str | None, bool]:
        """Return the fields of the query string, the key in it, and whether a key was ignored."""
        query_string = request.scope["query_string"]
        if not query_string:
            return {}, None, False
        query = parse_query(query_string)
        key = query.pop("key", "").strip() or None
        is_ignored = key is not None and not self._allows_key_in_query
        return query, None if is_ignored else key, is_ignored

    def close(self) -> None:
        """Wait for running work, then stop the threads."""
        self._writers.shutdown()
        self._parsers.shutdown()

    async def _find_tenant(self, key: str) -> int | None:
        try:
            return (await self._api_keys.authenticate(key)).tenant_id
        except WrongKeyError:
            return None


async def _run(parsers: ThreadPoolExecutor, spool: Spool, work: Callable[[], T]) -> T:
    if spool.is_small:
        return work()
    return await asyncio.get_running_loop().run_in_executor(parsers, work)
