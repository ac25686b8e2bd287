"""Compare the schema of the database with the one that this release needs."""

from typing import Final

from sqlalchemy import column, text

from common.postgres.errors import INSUFFICIENT_PRIVILEGE, find_sqlstate, is_wrong_schema
from common.postgres.statements import Executor

# The revision of the latest file in `migrations/versions`.
SCHEMA_REVISION: Final = "0001"

_READ: Final = text(
    """
    SELECT (SELECT max(version_num) FROM alembic_version) AS revision,
        row_security_active(to_regclass('jobs')) AS is_restricted
    """
).columns(column("revision"), column("is_restricted"))

NOT_MIGRATED: Final = "the database has no schema of Infill: run `infill migrate`"
OLDER: Final = (
    "the schema of the database ({found}) is older than this release ({SCHEMA_REVISION}): run "
    "`infill migrate`"
)
NEWER: Final = (
    "the schema of the database ({found}) is newer than this release ({SCHEMA_REVISION}): run the "
    "release whose `infill migrate` made it"
)
UNRESTRICTED: Final = "row-level security is not in force on this connection"


class SchemaCheck:
    """Finds what is wrong with the schema, and with row-level security if it is `restricted`.

    After the schema has been the right one, a newer schema is accepted: the processes of the old
    release go on while the new release is rolled out.
    """

    def __init__(self, *, restricted: bool) -> None:
        self._restricted = restricted
        self._was_current = False

    async def find_problem(self, connection: Executor) -> str | None:
        """Return a sentence for operators, or None if the connection can serve requests."""
        try:
            revision, is_restricted = (await connection.execute(_READ, {})).first()
        except Exception as error:
            if is_wrong_schema(error) or find_sqlstate(error) == INSUFFICIENT_PRIVILEGE:
                return NOT_MIGRATED
            raise
        if revision is None:
            return NOT_MIGRATED
        if revision < SCHEMA_REVISION:
            return OLDER.format(found=revision, SCHEMA_REVISION=SCHEMA_REVISION)
        if revision > SCHEMA_REVISION and not self._was_current:
            return NEWER.format(found=revision, SCHEMA_REVISION=SCHEMA_REVISION)
        self._was_current = True
        return UNRESTRICTED if self._restricted and not is_restricted else None
