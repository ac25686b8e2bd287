"""Rules for a URL's scheme, port and host (a name or an IP literal); checked without DNS."""

from dataclasses import dataclass
from typing import Final, Self

from common.domain.errors import ConfigurationError
from common.outbound.address import AddressRules
from common.outbound.host import parse_name
from common.outbound.internal_hosts import InternalHost, parse_internal_hosts
from common.outbound.url import DEFAULT_PORTS, Target, invalid_url_error, not_allowed_error
from common.settings import OutboundSettings

ANY_PORT: Final = 0

# Names that denote this machine or the local network (RFC 6761, 6762, 7686, 8375, and ICANN's
# reservation of .internal, under which clouds have their metadata services).
INTERNAL_NAMES: Final = frozenset(
    {"localhost", "localdomain", "local", "internal", "home.arpa", "onion", "invalid"}
)


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's rules for outbound requests, prepared from the settings."""

    addresses: AddressRules
    ports: frozenset[int]
    denied_names: frozenset[str]
    internal_hosts: tuple[InternalHost, ...]
    webhooks_https_only: bool

    @classmethod
    def from_settings(cls, settings: OutboundSettings) -> Self:
        """Return the rules that `settings` define.

        Raises:
            ConfigurationError: a denied host is not a host name, or an internal host is invalid.
        """
        try:
            denied = frozenset(map(parse_name, settings.denied_hosts))
        except ValueError as error:
            raise ConfigurationError(
                f"INFILL_OUTBOUND_DENIED_HOSTS: each entry must be a host name: {error}"
            ) from error
        return cls(
            addresses=AddressRules(settings.allowed_networks, settings.denied_networks),
            ports=settings.allowed_ports.union(DEFAULT_PORTS.values()),
            denied_names=denied,
            internal_hosts=parse_internal_hosts(settings.internal_hosts),
            webhooks_https_only=settings.webhooks_https_only,
        )

    def check(self, target: Target, *, webhook: bool) -> None:
        """Raise unless `target` is allowed; does not resolve its host name.

        Raises:
            AddressNotAllowedError: its scheme, port, host name or IP literal is not allowed.
        """
        if webhook and self.webhooks_https_only and target.scheme != "https":
            raise invalid_url_error("webhook URLs must start with https://")
        internal = self.is_internal(target)
        if target.literal is None and "." not in target.host and not internal:
            raise invalid_url_error("the host name in the URL has no dot")
        # Before the port, because the message about a port says what is allowed.
        if _is_below(target.host, self.denied_names if internal else self._closed_names):
            raise not_allowed_error("an internal or denied name")
        if target.literal is not None and not self.addresses.allows(target.literal):
            raise not_allowed_error(f"address {target.literal}")
        if not self._is_port_allowed(target):
            allowed = ", ".join(map(str, sorted(self.ports)))
            raise invalid_url_error(f"port {target.port} is not one of the allowed ports {allowed}")

    def is_internal(self, target: Target) -> bool:
        """Return whether `target` is at an internal host that the operator opened."""
        return any(host.matches(target) for host in self.internal_hosts)

    @property
    def _closed_names(self) -> frozenset[str]:
        return self.denied_names | INTERNAL_NAMES

    def _is_port_allowed(self, target: Target) -> bool:
        # In a network the operator opened, every port is allowed; elsewhere those on the list.
        opened = target.literal is not None and self.addresses.is_opened(target.literal)
        listed = any(host.port and host.matches(target) for host in self.internal_hosts)
        return opened or listed or target.port in self.ports or ANY_PORT in self.ports


def _is_below(name: str, ancestors: frozenset[str]) -> bool:
    return any(name == ancestor or name.endswith(f".{ancestor}") for ancestor in ancestors)
