"""What tenants, plans and keys may be called."""

import re
from typing import Final

from common.domain.errors import InvalidNameError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def is_name(text: str) -> bool:
    """Tell whether anything can be called `text`."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str) -> None:
    """Refuse what nothing can be called.

    Raises:
        InvalidNameError: says what a name is.
    """
    if not is_name(text):
        raise InvalidNameError(
            "a name has 1 to 64 letters, digits, dots, hyphens or underscores, "
            "and starts with a letter or a digit"
        )
