"""Credentials of the local stack's tenant, published in HOME/credentials.json."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from common.domain.api_key import digest
from common.domain.errors import ConflictError
from common.operations.api_keys import issue_key
from common.operations.tenants import create_tenant
from common.operations.webhook_secrets import rotate_webhook_secret
from common.postgres.database import Database
from common.postgres.repositories.tenants.authentication import find_key_owner
from common.settings import Settings
from deploy.cli.operators.run import current_operator
from deploy.local.local_secrets import write_private

TENANT = "local"


@dataclass(frozen=True, slots=True)
class Credentials:
    """The gateway's address, API key, webhook secret and admin key of a local stack."""

    base_url: str
    api_key: str
    webhook_secret: str
    admin_key: str


async def ensure_credentials(home: Path, settings: Settings) -> Credentials:
    """Return the credentials of the tenant `local`; create the tenant if it does not exist.

    Credentials from earlier starts remain valid.
    """
    path = home / "tenant.json"
    database = Database(settings.database, application="infill-up")
    pepper = settings.gateway.require_pepper()
    try:
        issued = json.loads(path.read_text()) if path.exists() else None
        # A database given by URL may be another one than before, which does not have the key.
        if issued is None or not await _is_live(database, issued["api_key"], pepper):
            issued = await _issue(database, pepper)
            write_private(path, issued)
    finally:
        await database.aclose()
    admin_key = settings.gateway.admin_key
    return Credentials(
        base_url=settings.gateway.public_url,
        api_key=issued["api_key"],
        webhook_secret=issued["webhook_secret"],
        admin_key=admin_key.get_secret_value() if admin_key else "",
    )


@contextmanager
def publish_credentials(credentials: Credentials, home: Path) -> Iterator[Path]:
    """Write HOME/credentials.json for the duration of the block and yield its path.

    The block runs while the gateway is ready, so other programs can wait for this file.
    """
    path = home / "credentials.json"
    write_private(path, asdict(credentials))
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


async def _is_live(database: Database, key: str, pepper: str) -> bool:
    async with database.direct() as connection:
        return await find_key_owner(connection, digest(key, pepper)) is not None


async def _issue(database: Database, pepper: str) -> dict[str, str]:
    me = current_operator()
    try:
        secret = (await create_tenant(database, me, TENANT)).webhook_secret
    except ConflictError:  # created by a start that was interrupted before it wrote the file
        secret = (await rotate_webhook_secret(database, me, TENANT)).webhook_secret
    key = await issue_key(database, me, TENANT, "local", pepper=pepper)
    return {"api_key": key.key, "webhook_secret": secret}
