"""Validate the names of tenants, plans and keys."""

import re
from typing import Final

from common.domain.errors import InvalidNameError

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_NAME: Final = re.compile(NAME_PATTERN)


def is_name(text: str) -> bool:
    """Return whether `text` is a valid name of a tenant, plan or key."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str) -> None:
    """Raise unless `text` is a valid name of a tenant, plan or key.

    Raises:
        InvalidNameError: the name is invalid; the message describes valid names.
    """
    if not is_name(text):
        raise InvalidNameError(
            "the name must be 1 to 64 letters, digits, dots, hyphens or underscores, "
            "beginning with a letter or a digit"
        )
