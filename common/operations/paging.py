"""Page lists by opaque cursors."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from common.domain.errors import InvalidValueError

DEFAULT_LIMIT: Final = 50
LARGEST_LIMIT: Final = 200
LARGEST_ID: Final = 2**63 - 1  # of Postgres' bigint


class HasId(Protocol):
    """Protocol for records that have an id, by which they are ordered in a list."""

    @property
    def id(self) -> int:
        """The id of the record."""


T = TypeVar("T")
N = TypeVar("N", bound=HasId)


@dataclass(frozen=True, slots=True)
class Page:
    """A request for up to `limit` items.

    `cursor` is the `next_cursor` of the previous page, or None for the first page.
    """

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """A page of a list; `next_cursor` is the cursor of the next page, or None on the last page."""

    items: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PagePosition:
    """A validated page request: up to `limit` items that follow the id `after`."""

    listing: str
    limit: int
    after: int | None

    @property
    def rows_to_read(self) -> int:
        """The limit plus one; the extra row shows whether there is a next page."""
        return self.limit + 1

    def to_page(self, rows: Sequence[N]) -> Listed[N]:
        """Return the page made of `rows`, leaving out the extra row."""
        items = list(rows[: self.limit])
        more = len(rows) > self.limit
        return Listed(items, self.cursor_after(items[-1].id) if more else None)

    def cursor_after(self, last: int) -> str:
        """Return an opaque cursor for the items that follow the id `last`."""
        return base64.urlsafe_b64encode(f"{self.listing}:{last}".encode()).decode().rstrip("=")


def parse_page(page: Page, listing: str) -> PagePosition:
    """Validate a page request for the list called `listing`, and decode its cursor.

    Raises:
        InvalidValueError: the limit is out of range, or the cursor does not belong to this list.
    """
    if not 1 <= page.limit <= LARGEST_LIMIT:
        raise InvalidValueError("limit", f"must be a whole number from 1 to {LARGEST_LIMIT}")
    position = PagePosition(listing, page.limit, None)
    if page.cursor is None:
        return position
    after = _parse_cursor(page.cursor)
    # Compared as issued: `int` and base64 also read digits of other scripts, signs and padding.
    if not 0 < after <= LARGEST_ID or position.cursor_after(after) != page.cursor:
        raise InvalidValueError(
            "cursor", "must be the next_cursor of an earlier page of this list, unchanged"
        )
    return PagePosition(listing, page.limit, after)


def _parse_cursor(cursor: str) -> int:
    """Return the id in a cursor, or 0 if it has none."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        decoded = base64.urlsafe_b64decode(padded.encode("ascii")).decode()
        return int(decoded.rpartition(":")[2])
    except (ValueError, binascii.Error):
        return 0
