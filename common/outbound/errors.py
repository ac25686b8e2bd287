"""Internal errors of an HTTP exchange, converted before a tenant can see them."""

from enum import StrEnum


class Reason(StrEnum):
    """The one-word reason why an exchange failed, for metrics and the delivery log."""

    DNS = "dns"  # the name did not resolve in time
    CONNECT = "connect"  # no address accepted the connection
    TLS = "tls"  # the handshake failed: certificate, version, name
    TIMEOUT = "timeout"  # the deadline over the whole exchange passed
    PROTOCOL = "protocol"  # the response was cut short, malformed or beyond the limits
    HTTP_5XX = "http_5xx"  # the server reported an error of its own
    BUSY = "busy"  # the server asked to try again later: 408, 425 or 429


class ExchangeError(Exception):
    """No usable response was received; the guard converts this to a `FetchFailedError`."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
