"""Use cases for API keys, which give tenants access to the API."""

from dataclasses import dataclass
from datetime import UTC, datetime

from common.domain import api_key
from common.domain.errors import InvalidValueError, NotFoundError
from common.domain.names import check_name
from common.operations.audit import Operator, audited_change
from common.operations.lookups import require_tenant_id
from common.operations.paging import Listed, Page, parse_page
from common.postgres.database import Database
from common.postgres.repositories.tenants import api_keys
from common.postgres.repositories.tenants.key_records import KeyRecord
from common.runtime.clock import utc_now


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A newly created key; `key` cannot be shown again, because only its digest is stored."""

    id: int
    name: str
    last_four: str
    expires_at: datetime | None
    key: str


async def issue_key(
    database: Database,
    operator: Operator,
    tenant: str,
    name: str,
    *,
    pepper: str,
    expires_at: datetime | None = None,
) -> IssuedKey:
    """Create an API key called `name` for a tenant; only its digest, keyed by `pepper`, is stored.

    Raises:
        InvalidNameError: the name is not valid.
        InvalidValueError: the expiry has no time zone or is in the past.
        NotFoundError: the tenant does not exist.
    """
    check_name(name)
    check_expiry(expires_at)
    key = api_key.new_key()
    async with audited_change(database, operator, "key.issue", tenant=tenant) as change:
        made = await api_keys.add_api_key(
            change.connection,
            tenant_id=await require_tenant_id(change.connection, tenant),
            name=name,
            digest=api_key.digest(key, pepper),
            last_four=api_key.last_four(key),
            expires_at=expires_at,
        )
        change.subject = str(made.id)
        change.details = {"name": name, "expires_at": expires_at}
    return IssuedKey(made.id, name, made.last_four, expires_at, key)


async def list_keys(database: Database, tenant: str, page: Page) -> Listed[KeyRecord]:
    """Return a page of a tenant's API keys, oldest first, including revoked ones.

    Raises:
        NotFoundError: the tenant does not exist.
        InvalidValueError: the page's limit or cursor is invalid.
    """
    position = parse_page(page, "keys")
    async with database.statement() as connection:
        rows = await api_keys.list_api_keys(
            connection,
            await require_tenant_id(connection, tenant),
            after=position.after,
            limit=position.rows_to_read,
        )
    return position.to_page(rows)


async def revoke_key(database: Database, operator: Operator, tenant: str, key_id: int) -> KeyRecord:
    """Revoke an API key; gateways that have cached it accept it for a few more seconds.

    Raises:
        NotFoundError: the tenant does not exist or has no such key, or the key has already been
            revoked.
    """
    async with audited_change(database, operator, "key.revoke", tenant=tenant) as change:
        tenant_id = await require_tenant_id(change.connection, tenant)
        revoked = await api_keys.revoke_api_key(
            change.connection, tenant_id=tenant_id, key_id=key_id
        )
        if revoked is None:
            raise NotFoundError(f"the tenant {tenant} has no active API key with the id {key_id}")
        change.subject, change.details = str(key_id), {"name": revoked.name}
    return revoked


def check_expiry(expires_at: datetime | None) -> None:
    """Check that `expires_at` is a valid expiry for a new key; None means no expiry.

    Raises:
        InvalidValueError: the time has no time zone, is in the past, or is after the year 9999 in
            UTC.
    """
    if expires_at is None:
        return
    if expires_at.tzinfo is None:
        raise InvalidValueError("expires_at", "must have a time zone, like 2027-01-31T00:00:00Z")
    try:
        in_utc = expires_at.astimezone(UTC)
    except OverflowError as error:
        raise InvalidValueError("expires_at", "must be in the years 1 to 9999 in UTC") from error
    if in_utc <= utc_now():
        raise InvalidValueError("expires_at", "must be in the future")
