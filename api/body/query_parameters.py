"""Path and query parameters shared by the routes of the native API and the admin API."""

from typing import Annotated

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field

from common.operations.paging import DEFAULT_LIMIT, LARGEST_ID, LARGEST_LIMIT, Page

Id = Annotated[int, Path(ge=1, le=LARGEST_ID)]


class Parameters(BaseModel):
    """Base class of a route's query parameters; an unknown parameter is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PageParameters(Parameters):
    """Query parameters of a list: the page size, and the cursor at which the page starts."""

    limit: int = Field(DEFAULT_LIMIT, ge=1, le=LARGEST_LIMIT, description="entries per page")
    cursor: str | None = Field(
        None,
        description="`next_cursor` of the previous page",
        json_schema_extra={"pattern": "^[A-Za-z0-9_-]+$"},
    )

    @property
    def page(self) -> Page:
        """The requested page, in the form that `common.operations` expects."""
        return Page(self.limit, self.cursor)


Paged = Annotated[PageParameters, Query()]
