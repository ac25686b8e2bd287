"""Why an exchange came to nothing, before it is told to anyone."""

from enum import StrEnum


class Reason(StrEnum):
    """One word for metrics and the delivery log."""

    DNS = "dns"  # the name did not resolve in time
    CONNECT = "connect"  # no address took the connection
    TLS = "tls"  # the handshake failed: certificate, version, name
    TIMEOUT = "timeout"  # the deadline over the whole exchange passed
    PROTOCOL = "protocol"  # the answer was cut short, malformed or beyond the caps
    HTTP_5XX = "http_5xx"  # the far side has trouble of its own


class ExchangeError(Exception):
    """No usable answer; becomes `FetchFailedError` once it is known what was asked for."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
