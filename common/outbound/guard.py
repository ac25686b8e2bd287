"""The outbound guard: fetches images from, and posts webhooks to, tenant-supplied addresses."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Final

from httpcore2 import default_ssl_context

from common.domain.errors import AddressNotAllowedError, FetchFailedError, FetchRejectedError
from common.domain.retry import parse_retry_after
from common.outbound.connector import Connector
from common.outbound.errors import ExchangeError, Reason
from common.outbound.exchange import HttpResponse, send_request
from common.outbound.nameservers import NameserverResolver
from common.outbound.resolver import Resolver, ThreadedResolver, resolve_internal_host
from common.outbound.rules import Rules
from common.outbound.url import Target, parse_url, resolve_redirect
from common.runtime.clock import monotonic, utc_now
from common.settings import OutboundSettings

MAX_REDIRECTS: Final = 3
MAX_ENCODING: Final = 40  # characters of a header that an error quotes
BUSY: Final = frozenset({408, 425, 429})  # 4xx that say "later", not "never"
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
IMAGE_HEADERS: Final = {"user-agent": f"Infill/{version('infill')}", "accept": "image/*"}

FETCH: Final = "could not fetch the image"
POST: Final = "could not deliver the webhook"


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """The receiver's response to a webhook; header names are lower case.

    `excerpt` is the start of the body, or empty if the body is compressed.
    """

    status: int
    headers: Mapping[str, str]
    excerpt: bytes
    duration_seconds: float


class Guard:
    """HTTP client for tenant-supplied addresses, restricted to allowed ones.

    Each request has its own connection, so tenants never share a connection. Proxies and
    credentials in the environment are ignored, and failed requests are not retried. An instance
    belongs to one event loop.
    """

    def __init__(
        self,
        settings: OutboundSettings,
        *,
        resolver: Resolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._settings = settings
        self._rules = Rules.from_settings(settings)
        self._own_resolver = _make_resolver(settings)
        self._internal_resolver = ThreadedResolver(resolve_internal_host)
        self._given_tls = tls
        self._connector = Connector(
            rules=self._rules,
            resolver=resolver or self._own_resolver,
            internal_resolver=resolver or self._internal_resolver,
            dns_timeout_seconds=settings.dns_timeout_seconds,
            tls=lambda: self._tls,
        )

    def check(self, url: str, *, webhook: bool = False) -> Target:
        """Parse the URL and run all checks that are possible without DNS or other I/O.

        With `webhook`, the rules for webhook URLs apply.

        Raises:
            AddressNotAllowedError: the address is not allowed.
        """
        target = parse_url(url)
        self._rules.check(target, webhook=webhook)
        return target

    async def fetch(self, url: str) -> bytes:
        """Download the image file at `url`; up to 3 redirects are checked and followed.

        Raises:
            AddressNotAllowedError: the address, or the target of a redirect, is not allowed.
            FetchRejectedError: the response is unusable: 404, too large, compressed, too many
                redirects.
            FetchFailedError: no response, a 5xx response or one that asks to try again later was
                received; `reason` is a one-word cause, such as `timeout`.
        """
        target = self.check(url)
        async with _deadline(self._settings.image_timeout_seconds, FETCH):
            for _ in range(MAX_REDIRECTS + 1):
                async with send_request(self._connector, target, "GET", IMAGE_HEADERS) as response:
                    location = response.headers.get("location")
                    if response.status not in REDIRECTS or location is None:
                        return await self._read_image(response)
                    target = self._follow(target, location)
        raise FetchRejectedError(
            f"{FETCH}: more than {MAX_REDIRECTS} redirects; send the URL they lead to"
        )

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_seconds: float,
        response_bytes: int,
    ) -> WebhookResponse:
        """Send a webhook and return the receiver's response, whatever its status.

        `timeout_seconds` covers everything from DNS to the end of the response. At most
        `response_bytes` bytes of the response body are read. Redirects are not followed.

        Raises:
            AddressNotAllowedError: the address is not allowed.
            FetchFailedError: no response was received in time; `reason` is a one-word cause, such
                as `timeout`.
        """
        target = self.check(url, webhook=True)
        begun = monotonic()
        sent = {"content-length": str(len(body)), **headers}
        async with (
            _deadline(timeout_seconds, POST),
            send_request(self._connector, target, "POST", sent, body) as response,
        ):
            # The status counts even if the body breaks off: the receiver has got the webhook.
            excerpt = (
                b"" if response.is_encoded else await response.read(response_bytes, may_be_cut=True)
            )
            return WebhookResponse(response.status, response.headers, excerpt, monotonic() - begun)

    async def aclose(self) -> None:
        """Stop the threads that resolve names."""
        await self._own_resolver.aclose()
        await self._internal_resolver.aclose()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """TLS context of all connections; created once, because loading certificates is slow."""
        context = self._given_tls or default_ssl_context()
        context.set_alpn_protocols(["http/1.1"])
        context.hostname_checks_common_name = False  # subject alternative names only, as browsers
        return context

    def _follow(self, target: Target, location: str) -> Target:
        try:
            following = resolve_redirect(target, location)
            self._rules.check(following, webhook=False)
        except AddressNotAllowedError as error:
            raise AddressNotAllowedError(
                f"after a redirect: {error.message}", detail=error.detail
            ) from error
        return following

    async def _read_image(self, response: HttpResponse) -> bytes:
        if response.status in BUSY or response.status in range(500, 600):
            raise FetchFailedError(
                f"{FETCH}: HTTP {response.status}",
                reason=Reason.BUSY if response.status in BUSY else Reason.HTTP_5XX,
                wait_seconds=parse_retry_after(response.headers.get("retry-after", ""), utc_now()),
            )
        if response.status not in range(200, 300):
            raise FetchRejectedError(f"{FETCH}: HTTP {response.status}")
        if response.is_encoded:
            encoding = response.headers["content-encoding"][:MAX_ENCODING]
            raise FetchRejectedError(
                f"{FETCH}: the response is compressed (content-encoding: {encoding}); "
                "the image file itself is required"
            )
        limit = self._settings.image_max_bytes
        if response.declared_bytes <= limit:
            image = await response.read(limit + 1)
            if len(image) <= limit:
                return image
        raise FetchRejectedError(f"{FETCH}: too large, at most {limit} bytes are accepted")


def _make_resolver(settings: OutboundSettings) -> ThreadedResolver | NameserverResolver:
    if not settings.nameservers:
        return ThreadedResolver()
    return NameserverResolver(settings.nameservers, timeout_seconds=settings.dns_timeout_seconds)


@asynccontextmanager
async def _deadline(seconds: float, failure: str) -> AsyncIterator[None]:
    """Apply a deadline to the block, and convert its errors to errors that a tenant may see.

    All failures except time-outs have the same message, so that open ports are not revealed.
    `failure` is the start of every message.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise FetchFailedError(f"{failure}: timed out", reason=Reason.TIMEOUT) from error
    except ExchangeError as error:
        raise FetchFailedError(
            f"{failure}: the host could not be reached or sent no valid response",
            reason=error.reason,
            detail=error.detail,
        ) from error
