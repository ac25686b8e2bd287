"""What stands in addresses: of the admin API, and of the native one."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from common.operations.paging import DEFAULT_LIMIT, LARGEST_ID, LARGEST_LIMIT, Page

Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]


class Parameters(BaseModel):
    """Parameters of an address; one that we do not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageParameters(Parameters):
    """Which part of a list is wanted."""

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=LARGEST_LIMIT)
    cursor: str | None = Field(None, description="`next_cursor` of the page before")

    @property
    def page(self) -> Page:
        """The part, as use-cases take it."""
        return Page(self.limit, self.cursor)


Paged = Annotated[PageParameters, Query()]
