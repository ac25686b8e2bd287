"""Long lists, a page at a time."""

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
    """A record with an id."""

    @property
    def id(self) -> int:
        """Its position in the list."""


T = TypeVar("T")
N = TypeVar("N", bound=HasId)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted: up to `limit` items after what `cursor` points to."""

    limit: int = DEFAULT_LIMIT
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Listed(Generic[T]):
    """One page of a list; `next_cursor` leads to the next one, and is null at the list's end."""

    items: list[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class PagePosition:
    """A page, read: `limit` items after the id `after`; `fetch` is one more, to see if more is."""

    listing: str
    limit: int
    after: int | None

    @property
    def rows_to_read(self) -> int:
        """How many rows to read."""
        return self.limit + 1

    def to_page(self, rows: Sequence[N]) -> Listed[N]:
        """Make a page of up to `fetch` rows."""
        items = list(rows[: self.limit])
        more = len(rows) > self.limit
        return Listed(items, self.cursor_after(items[-1].id) if more else None)

    def cursor_after(self, last: int) -> str:
        """Give the cursor to what follows the id `last`; its form is nobody's business."""
        return base64.urlsafe_b64encode(f"{self.listing}:{last}".encode()).decode().rstrip("=")


def parse_page(page: Page, listing: str) -> PagePosition:
    """Read a page of the list called `listing`.

    Raises:
        InvalidValueError: the limit is out of its range, or the cursor is of no list like this.
    """
    if not 1 <= page.limit <= LARGEST_LIMIT:
        raise InvalidValueError("limit", f"must be a whole number from 1 to {LARGEST_LIMIT}")
    after = None if page.cursor is None else _parse_cursor(page.cursor, listing)
    return PagePosition(listing, page.limit, after)


def _parse_cursor(cursor: str, listing: str) -> int:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        name, _, number = base64.urlsafe_b64decode(padded.encode("ascii")).decode().rpartition(":")
        last = int(number)
    except (ValueError, binascii.Error):
        name, last = "", 0
    if name != listing or not 0 < last <= LARGEST_ID:
        raise InvalidValueError(
            "cursor", "must be the next_cursor of an earlier page of this list, unchanged"
        )
    return last
