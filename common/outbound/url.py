"""Strict parsing of URLs and redirects; pure functions."""

import re
import string
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin

from common.domain.errors import AddressNotAllowedError
from common.outbound.address import Address
from common.outbound.host import parse_host

MAX_URL: Final = 2048
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# Parsers disagree about these characters, which attackers use to disguise the host.
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>[^#]*)(?:#.*)?",
    re.ASCII | re.IGNORECASE,
)
_AUTHORITY: Final = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[^\[\]:@%]+)(?::(?P<port>[1-9][0-9]{0,4}))?",
    re.ASCII | re.IGNORECASE,
)
_PRINTABLE: Final = string.ascii_letters + string.digits + string.punctuation


@dataclass(frozen=True, slots=True)
class Target:
    """The parsed URL of a request.

    `host` is an ASCII name or an IP address in its shortest notation; if it is an IP address,
    `literal` is the parsed address. `path` is the path and query, encoded as sent to the server.
    """

    scheme: str
    host: str
    port: int
    path: bytes
    literal: Address | None = None

    @property
    def authority(self) -> str:
        """The value of the Host header: the host, and the port unless it is the default port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port: the key of delivery limits and circuit breakers."""
        return f"{self.scheme}://{self.authority}"


def not_allowed_error(reason: str) -> AddressNotAllowedError:
    """Return the error that tenants see for every disallowed address; only logs show `reason`."""
    return AddressNotAllowedError("the address is not allowed", detail=reason)


def parse_url(url: str) -> Target:
    """Parse a URL; reject everything that different parsers could interpret differently.

    Raises:
        AddressNotAllowedError: the URL is not an http or https URL with a valid host and port.
    """
    if len(url) > MAX_URL:
        raise not_allowed_error("longer than 2048 characters")
    if _FORBIDDEN.search(url):
        raise not_allowed_error("white space, a control character or a backslash")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise not_allowed_error("not an http or https URL")
    host_and_port = _AUTHORITY.fullmatch(parts["authority"])
    if host_and_port is None:
        raise not_allowed_error("not a plain host and port")
    try:
        host, literal = parse_host(host_and_port["host"])
        path = quote(parts["path"], safe=_PRINTABLE).encode("ascii")
    except ValueError as error:
        raise not_allowed_error(str(error)) from error
    scheme = parts["scheme"].lower()
    target = Target(
        scheme=scheme,
        host=host,
        port=int(host_and_port["port"] or DEFAULT_PORTS[scheme]),
        path=path if path.startswith(b"/") else b"/" + path,
        literal=literal,
    )
    # Checked again in the encoding that is sent, where one character can take twelve.
    if len(target.origin) + len(target.path) > MAX_URL:
        raise not_allowed_error("longer than 2048 characters once encoded")
    return target


def resolve_redirect(target: Target, location: str) -> Target:
    """Return the target of a redirect, parsed as strictly as the first URL.

    Raises:
        AddressNotAllowedError: `location` is not valid, or redirects from https to http.
    """
    # Checked before joining, because urljoin drops tabs and line ends silently.
    if _FORBIDDEN.search(location):
        raise not_allowed_error("white space, a control character or a backslash in a redirect")
    try:
        url = urljoin(target.origin + target.path.decode("ascii"), location)
    except ValueError as error:
        raise not_allowed_error(str(error)) from error
    following = parse_url(url)
    if (target.scheme, following.scheme) == ("https", "http"):
        raise not_allowed_error("a redirect from https to http")
    return following
