"""The audit: who changed what, and when."""

from common.operations.paging import Listed, Page, parse_page
from common.postgres.database import Database
from common.postgres.repositories.tenants.audit import AuditRecord, list_audit_entries


async def list_audit(
    database: Database, page: Page, *, tenant: str | None = None
) -> Listed[AuditRecord]:
    """Give what operators changed, latest first; of one tenant's name, also one long gone.

    Raises:
        InvalidValueError: there is no such page.
    """
    place = parse_page(page, "audit")
    async with database.statement() as connection:
        rows = await list_audit_entries(
            connection, tenant=tenant, after=place.after, limit=place.fetch
        )
    return place.listed(rows)
