"""Who makes a change."""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Operator:
    """Whoever runs the installation, as the audit names them."""

    name: str

    @classmethod
    def with_admin_key(cls, key_name: str) -> Self:
        """Name whoever came over HTTP, by their admin key."""
        return cls(f"admin-key:{key_name}")

    @classmethod
    def at_command_line(cls, user: str) -> Self:
        """Name whoever ran `infill`, by their account on that machine."""
        return cls(f"cli:{user}")
