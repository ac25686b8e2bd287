"""The two things done with a tenant's address: fetch an image, post a webhook."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Final

from httpcore2 import default_ssl_context

from common.domain.errors import FetchFailedError, FetchRejectedError
from common.outbound.connector import Connector
from common.outbound.errors import ExchangeError, Reason
from common.outbound.exchange import HttpResponse, send_request
from common.outbound.nameservers import NameserverResolver
from common.outbound.resolver import Resolver, ThreadedResolver
from common.outbound.rules import Rules
from common.outbound.url import Target, parse_url, resolve_redirect
from common.runtime.clock import monotonic
from common.settings import OutboundSettings

MAX_REDIRECTS: Final = 3
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
IMAGE_HEADERS: Final = {"user-agent": f"Infill/{version('infill')}", "accept": "image/*"}

FETCH: Final = "could not fetch the image"
POST: Final = "could not deliver the webhook"


@dataclass(frozen=True, slots=True)
class WebhookResponse:
    """What a webhook's receiver said; header names are lower-case.

    `excerpt` is the start of the body, empty when that came compressed.
    """

    status: int
    headers: Mapping[str, str]
    excerpt: bytes
    duration_seconds: float


class Guard:
    """Stands on every request to an address a tenant gave; belongs to one event loop.

    Each exchange has a connection of its own: none is shared between tenants, no proxy or
    credential is taken from the environment, nothing is retried.
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
        self._given_tls = tls
        self._connector = Connector(
            addresses=self._rules.addresses,
            resolver=resolver or self._own_resolver,
            dns_timeout_seconds=settings.dns_timeout_seconds,
            tls=lambda: self._tls,
        )

    def check(self, url: str, *, webhook: bool = False) -> Target:
        """Judge a URL as far as that goes without DNS; does no input or output.

        Raises:
            AddressNotAllowedError: the address is not allowed.
        """
        target = parse_url(url)
        self._rules.check(target, webhook=webhook)
        return target

    async def fetch(self, url: str) -> bytes:
        """Download an image file, following a few redirects, each judged like the first URL.

        Raises:
            AddressNotAllowedError: the address, or one it redirects to, is not allowed.
            FetchRejectedError: an answer came that cannot be used: 4xx, too large, compressed.
            FetchFailedError: no answer came, or a 5xx one; `reason` is one word.
        """
        target = self.check(url)
        async with _deadline(self._settings.image_timeout_seconds, FETCH):
            for _ in range(MAX_REDIRECTS + 1):
                async with send_request(self._connector, target, "GET", IMAGE_HEADERS) as response:
                    location = response.headers.get("location")
                    if response.status not in REDIRECTS or location is None:
                        return await self._read_image(response)
                    target = resolve_redirect(target, location)
                    self._rules.check(target, webhook=False)
        raise FetchRejectedError(f"{FETCH}: too many redirects")

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        timeout_seconds: float,
        response_bytes: int,
    ) -> WebhookResponse:
        """Send a webhook and give the receiver's answer, whatever its status.

        `timeout_seconds` covers everything from DNS to the end of the answer, of whose body
        `response_bytes` are read at most. Redirects are answers like any other.

        Raises:
            AddressNotAllowedError: the address is not allowed.
            FetchFailedError: no answer came in time; `reason` is one word.
        """
        target = self.check(url, webhook=True)
        begun = monotonic()
        sent = {"content-length": str(len(body)), **headers}
        async with (
            _deadline(timeout_seconds, POST),
            send_request(self._connector, target, "POST", sent, body) as response,
        ):
            # A broken body does not unsay the status: the receiver has had the webhook.
            excerpt = (
                b"" if response.is_encoded else await response.read(response_bytes, may_be_cut=True)
            )
            return WebhookResponse(response.status, response.headers, excerpt, monotonic() - begun)

    async def aclose(self) -> None:
        """Let go of the threads that look names up."""
        await self._own_resolver.aclose()

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """One context for all connections: loading the certificates takes milliseconds."""
        context = self._given_tls or default_ssl_context()
        context.set_alpn_protocols(["http/1.1"])
        context.hostname_checks_common_name = False  # only what it is valid for, as browsers do
        return context

    async def _read_image(self, response: HttpResponse) -> bytes:
        if response.status in range(500, 600):
            raise FetchFailedError(f"{FETCH}: HTTP {response.status}", reason=Reason.HTTP_5XX)
        if response.status not in range(200, 300):
            raise FetchRejectedError(f"{FETCH}: HTTP {response.status}")
        if response.is_encoded:
            raise FetchRejectedError(f"{FETCH}: the answer is compressed")
        limit = self._settings.image_max_bytes
        if response.declared_bytes <= limit:
            image = await response.read(limit + 1)
            if len(image) <= limit:
                return image
        raise FetchRejectedError(f"{FETCH}: too large, at most {limit} bytes are taken")


def _make_resolver(settings: OutboundSettings) -> ThreadedResolver | NameserverResolver:
    if not settings.nameservers:
        return ThreadedResolver()
    return NameserverResolver(settings.nameservers, timeout_seconds=settings.dns_timeout_seconds)


@asynccontextmanager
async def _deadline(seconds: float, failure: str) -> AsyncIterator[None]:
    """Bound everything inside by one deadline, and tell the tenant of trouble in one way.

    Beside a time-out all trouble reads the same: nothing says whether a port was open.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise FetchFailedError(f"{failure}: timed out", reason=Reason.TIMEOUT) from error
    except ExchangeError as error:
        raise FetchFailedError(
            f"{failure}: the host gave no usable answer", reason=error.reason, detail=error.detail
        ) from error
