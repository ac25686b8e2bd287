"""Use cases for webhook secrets: rotate with an overlap, list, and expire them."""

from dataclasses import dataclass
from typing import Final

from common.domain.errors import ConflictError, InvalidValueError, NotFoundError
from common.operations.audit import Operator, audited_change
from common.operations.lookups import require_tenant_id
from common.operations.paging import Listed, Page, parse_page
from common.postgres.database import Database
from common.postgres.repositories.tenants import webhook_secrets
from common.postgres.repositories.tenants.tenants import add_webhook_secret
from common.postgres.repositories.tenants.webhook_secrets import WebhookSecretRecord
from common.standard_webhooks.keys import new_secret

# Receivers are configured by hand: for a day, webhooks are signed with both secrets.
SECRET_OVERLAP_SECONDS: Final = 86_400.0
LONGEST_OVERLAP_SECONDS: Final = 30 * 86_400.0
# The current secret and the two before it: each adds a signature to the header of every webhook,
# which grows beyond what receivers accept if a script rotates often.
MAX_LIVE_SECRETS: Final = 3


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A newly created webhook secret, which is not shown again."""

    id: int
    webhook_secret: str


async def rotate_webhook_secret(
    database: Database,
    operator: Operator,
    tenant: str,
    *,
    overlap_seconds: float = SECRET_OVERLAP_SECONDS,
) -> NewSecret:
    """Create a webhook secret; the previous secret also signs webhooks for `overlap_seconds` more.

    If more than `MAX_LIVE_SECRETS` secrets would then be live, the oldest expires at once.

    Raises:
        InvalidValueError: the overlap is out of range.
        NotFoundError: the tenant does not exist.
    """
    if not 0 <= overlap_seconds <= LONGEST_OVERLAP_SECONDS:
        raise InvalidValueError(
            "overlap_seconds", f"must be a number from 0 to {LONGEST_OVERLAP_SECONDS:.0f}"
        )
    secret = new_secret()
    async with audited_change(database, operator, "webhook_secret.rotate", tenant=tenant) as change:
        tenant_id = await require_tenant_id(change.connection, tenant)
        secret_id = await add_webhook_secret(
            change.connection,
            tenant_id=tenant_id,
            secret=secret,
            overlap_seconds=overlap_seconds,
        )
        change.subject = str(secret_id)
        change.details = {"overlap_seconds": overlap_seconds}
        expired = await webhook_secrets.expire_oldest_secrets(
            change.connection, tenant_id, kept=MAX_LIVE_SECRETS
        )
        if expired:
            change.details["expired"] = expired
    return NewSecret(secret_id, secret)


async def list_webhook_secrets(
    database: Database, tenant: str, page: Page
) -> Listed[WebhookSecretRecord]:
    """Return a page with the ids and dates of a tenant's webhook secrets, oldest first.

    Raises:
        NotFoundError: the tenant does not exist.
        InvalidValueError: the page's limit or cursor is invalid.
    """
    position = parse_page(page, "webhook-secrets")
    async with database.statement() as connection:
        rows = await webhook_secrets.list_webhook_secrets(
            connection,
            await require_tenant_id(connection, tenant),
            after=position.after,
            limit=position.rows_to_read,
        )
    return position.to_page(rows)


async def expire_webhook_secret(
    database: Database, operator: Operator, tenant: str, secret_id: int
) -> WebhookSecretRecord:
    """Expire a previous webhook secret now, before the end of its overlap.

    Raises:
        NotFoundError: the tenant does not exist or has no such secret, or the secret has expired.
        ConflictError: the secret is the tenant's current one.
    """
    async with audited_change(database, operator, "webhook_secret.expire", tenant=tenant) as change:
        found = await webhook_secrets.find_live_webhook_secret(
            change.connection,
            tenant_id=await require_tenant_id(change.connection, tenant),
            secret_id=secret_id,
        )
        if found is None:
            raise NotFoundError(
                f"the tenant {tenant} has no active webhook secret with the id {secret_id}"
            )
        if found.expires_at is None:
            raise ConflictError(
                f"webhook secret {secret_id} is the current secret of {tenant} and cannot be "
                "expired; rotate the secret first"
            )
        change.subject = str(secret_id)
        return await webhook_secrets.expire_webhook_secret(change.connection, secret_id)
