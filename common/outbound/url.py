"""Strict parsing of URLs and redirects; pure functions."""

import re
import string
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin

from common.domain.errors import AddressNotAllowedError
from common.outbound.address import Address
from common.outbound.host import parse_host

MAX_URL: Final = 8192  # presigned links with session tokens take some 3,000
MAX_PORT: Final = 65535
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

# Parsers disagree about these characters, which attackers use to disguise the host.
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f\\]")
_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>[^#]*)(?:#.*)?",
    re.ASCII | re.IGNORECASE,
)
_AUTHORITY: Final = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[^\[\]:@%]+)(?::(?P<port>[^:@]*))?",
    re.ASCII | re.IGNORECASE,
)
_PORT: Final = re.compile(r"0*(?P<digits>[0-9]{1,5})", re.ASCII)
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
    """Return the error for an address that our network's rules deny; only logs show `reason`."""
    return AddressNotAllowedError("the address is not allowed", detail=reason)


def invalid_url_error(problem: str) -> AddressNotAllowedError:
    """Return the error for a URL that is invalid regardless of its host; tenants see `problem`."""
    return AddressNotAllowedError(problem, detail=problem)


def parse_url(url: str) -> Target:
    """Parse a URL; reject everything that different parsers could interpret differently.

    Raises:
        AddressNotAllowedError: the URL is not an http or https URL with a valid host and port.
    """
    if len(url) > MAX_URL:
        raise invalid_url_error(f"the URL is longer than {MAX_URL} characters")
    if _FORBIDDEN.search(url):
        raise invalid_url_error("the URL has white space, a control character or a backslash")
    parts = _URL.fullmatch(url)
    if parts is None:
        raise invalid_url_error("the URL does not start with http:// or https:// and a host")
    scheme = parts["scheme"].lower()
    try:
        host_text, port_text = _split_authority(parts["authority"])
        port = _parse_port(port_text) if port_text else DEFAULT_PORTS[scheme]
        host, literal = parse_host(host_text)
    except ValueError as error:
        raise invalid_url_error(str(error)) from error
    target = Target(scheme, host, port, _encode_path(parts["path"]), literal)
    # Checked again in the encoding that is sent, where one character can take twelve.
    if len(target.origin) + len(target.path) > MAX_URL:
        raise invalid_url_error(f"the URL is longer than {MAX_URL} characters once encoded")
    return target


def _split_authority(authority: str) -> tuple[str, str | None]:
    if "@" in authority:
        raise ValueError("the URL has a user name or a password, which are not sent")
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        raise ValueError("the URL has no valid host name")
    return parts["host"], parts["port"]


def _parse_port(text: str) -> int:
    """Return the port, read as browsers read it: leading zeros are ignored."""
    digits = _PORT.fullmatch(text)
    port = int(digits["digits"]) if digits else 0
    if not 0 < port <= MAX_PORT:
        raise ValueError(f"the port in the URL is not a number from 1 to {MAX_PORT}")
    return port


def _encode_path(path: str) -> bytes:
    try:
        encoded = quote(path, safe=_PRINTABLE).encode("ascii")
    except UnicodeEncodeError as error:
        raise invalid_url_error("the URL has half of a surrogate pair") from error
    return encoded if encoded.startswith(b"/") else b"/" + encoded


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
