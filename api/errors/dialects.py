"""The faces of the gateway that tell errors as problems."""

from typing import Final

ADMIN: Final = "/admin/v1"
NATIVE: Final = "/api/v1"


def is_admin(path: str) -> bool:
    """Tell whether an address is one of operators."""
    return _is_under(ADMIN, path)


def uses_problem_details(path: str) -> bool:
    """Tell whether errors at this address are told as problems."""
    return is_admin(path) or _is_under(NATIVE, path)


def _is_under(prefix: str, path: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
