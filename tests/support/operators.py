"""The operator who makes changes in tests, and a check of API keys."""

from common.domain.api_key import digest
from common.operations.audit import Operator
from common.operations.paging import LARGEST_LIMIT, Page
from common.postgres.database import Database
from common.postgres.repositories.tenants.authentication import find_key_owner

OPERATOR = Operator("tests")
PEPPER = "pepper-of-the-unit-tests"
EVERYTHING = Page(LARGEST_LIMIT)


async def is_live(database: Database, key: str, pepper: str = PEPPER) -> bool:
    """Return whether a gateway without a cache would accept the key."""
    async with database.direct() as connection:
        return await find_key_owner(connection, digest(key, pepper)) is not None
