"""Use cases for admin keys, which give operators access to the admin API."""

from datetime import datetime
from typing import Final

from common.domain import api_key
from common.domain.errors import ConflictError, NotFoundError
from common.domain.names import check_name
from common.operations.api_keys import IssuedKey, check_expiry
from common.operations.audit import Operator, audited_change
from common.operations.paging import Listed, Page, parse_page
from common.postgres.database import Database
from common.postgres.repositories.tenants import admin_keys
from common.postgres.repositories.tenants.key_records import KeyRecord

# Name in the audit log of the admin key from the settings; no other key may have it.
SETTING_NAME: Final = "INFILL_ADMIN_KEY"


async def issue_admin_key(
    database: Database,
    operator: Operator,
    name: str,
    *,
    pepper: str,
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Create an admin key; its name appears in the audit entry of each change made with it.

    Raises:
        InvalidNameError: the name is not valid.
        InvalidValueError: the expiry has no time zone or is in the past.
        ConflictError: another admin key that is not revoked or expired has this name.
    """
    check_name(name)
    check_expiry(expires_at)
    key = api_key.new_key(api_key.KeyKind.ADMIN)
    async with audited_change(database, operator, "admin_key.issue") as change:
        if name == SETTING_NAME or await admin_keys.is_admin_key_name_taken(
            change.connection, name
        ):
            raise ConflictError(f"there is already an active admin key called {name}")
        made = await admin_keys.add_admin_key(
            change.connection,
            name=name,
            digest=api_key.digest(key, pepper),
            last_four=api_key.last_four(key),
            expires_at=expires_at,
        )
        change.subject = str(made.id)
        change.details = {"name": name, "expires_at": expires_at}
    return IssuedKey(made.id, name, made.last_four, expires_at, key)


async def list_admin_keys(database: Database, page: Page) -> Listed[KeyRecord]:
    """Return a page of admin keys, oldest first, including revoked ones.

    Raises:
        InvalidValueError: the page's limit or cursor is invalid.
    """
    position = parse_page(page, "admin-keys")
    async with database.statement() as connection:
        rows = await admin_keys.list_admin_keys(
            connection, after=position.after, limit=position.rows_to_read
        )
    return position.to_page(rows)


async def revoke_admin_key(database: Database, operator: Operator, key_id: int) -> KeyRecord:
    """Revoke an admin key; gateways that have cached it accept it for a few more seconds.

    Raises:
        NotFoundError: the key does not exist or has been revoked already.
    """
    async with audited_change(database, operator, "admin_key.revoke") as change:
        revoked = await admin_keys.revoke_admin_key(change.connection, key_id)
        if revoked is None:
            raise NotFoundError(f"there is no active admin key with the id {key_id}")
        change.subject, change.details = str(key_id), {"name": revoked.name}
    return revoked
