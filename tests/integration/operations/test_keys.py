"""API keys, admin keys and webhook secrets: issued, listed, expired and revoked."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from common.domain.api_key import KeyKind, digest, is_well_formed
from common.domain.errors import (
    ConflictError,
    InvalidNameError,
    InvalidValueError,
    NotFoundError,
)
from common.operations.admin_keys import issue_admin_key, list_admin_keys, revoke_admin_key
from common.operations.api_keys import issue_key, list_keys, revoke_key
from common.operations.tenants import create_tenant
from common.operations.webhook_secrets import (
    MAX_LIVE_SECRETS,
    expire_webhook_secret,
    list_webhook_secrets,
    rotate_webhook_secret,
)
from common.postgres.database import Database
from common.postgres.models import AdminKey, ApiKey, WebhookSecret
from common.postgres.repositories.tenants.admin_keys import use_admin_key
from common.postgres.repositories.tenants.webhook_secrets import read_live_secrets
from common.runtime.clock import utc_now
from tests.integration.operations.rows import rows
from tests.support.operators import EVERYTHING, OPERATOR, PEPPER, is_live

SOON = datetime(2999, 1, 31, tzinfo=UTC)


@pytest.fixture(autouse=True)
async def tenants(database: Database) -> None:
    for name in ("acme", "other"):
        await create_tenant(database, OPERATOR, name)


async def test_a_key_works_until_it_is_revoked(database: Database) -> None:
    first = await issue_key(database, OPERATOR, "acme", "web", pepper=PEPPER)
    second = await issue_key(database, OPERATOR, "acme", "web", pepper=PEPPER, expires_at=SOON)
    assert is_well_formed(first.key)
    assert await is_live(database, first.key)
    assert not await is_live(database, first.key, "another pepper")
    revoked = await revoke_key(database, OPERATOR, "acme", first.id)
    assert revoked.revoked_at is not None
    assert not await is_live(database, first.key)
    assert await is_live(database, second.key)
    with pytest.raises(NotFoundError, match="the tenant acme has no active API key with the id"):
        await revoke_key(database, OPERATOR, "acme", first.id)


async def test_only_digest_and_expiry_of_a_key_are_stored(database: Database) -> None:
    issued = await issue_key(database, OPERATOR, "acme", "web", pepper=PEPPER, expires_at=SOON)
    (row,) = await rows(database, ApiKey)
    assert row["digest"] == digest(issued.key, PEPPER)
    assert issued.key not in str(dict(row))
    (listed,) = (await list_keys(database, "acme", EVERYTHING)).items
    assert (listed.name, listed.last_four, listed.expires_at) == ("web", issued.key[-4:], SOON)
    assert listed.last_used_at is None
    assert (await list_keys(database, "other", EVERYTHING)).items == []


async def test_a_key_is_revoked_only_through_its_tenant(database: Database) -> None:
    issued = await issue_key(database, OPERATOR, "acme", "web", pepper=PEPPER)
    with pytest.raises(NotFoundError, match="the tenant other has no active API key"):
        await revoke_key(database, OPERATOR, "other", issued.id)
    assert await is_live(database, issued.key)


@pytest.mark.parametrize(
    ("expires_at", "message"),
    [
        (utc_now() - timedelta(seconds=1), "must be in the future"),
        (
            datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone(-timedelta(hours=12))),
            "must be in the years 1 to 9999 in UTC",
        ),
        (
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
            "must be in the years 1 to 9999 in UTC",
        ),
        (datetime(2999, 1, 1), "must have a time zone"),  # noqa: DTZ001 the invalid value
    ],
)
async def test_an_invalid_expiry(database: Database, expires_at: datetime, message: str) -> None:
    for asked in (
        issue_key(database, OPERATOR, "acme", "web", pepper=PEPPER, expires_at=expires_at),
        issue_admin_key(database, OPERATOR, "ops", pepper=PEPPER, expires_at=expires_at),
    ):
        with pytest.raises(InvalidValueError, match=message) as caught:
            await asked
        assert caught.value.field == "expires_at"


async def test_a_key_needs_a_name(database: Database) -> None:
    with pytest.raises(InvalidNameError):
        await issue_key(database, OPERATOR, "acme", "", pepper=PEPPER)
    with pytest.raises(InvalidNameError):
        await issue_admin_key(database, OPERATOR, "a b", pepper=PEPPER)


async def used(database: Database, key: str) -> str | None:
    async with database.statement() as connection:
        found = await use_admin_key(connection, digest(key, PEPPER))
    return None if found is None else found.name


async def test_an_admin_key_works_until_it_is_revoked(database: Database) -> None:
    issued = await issue_admin_key(database, OPERATOR, "ops", pepper=PEPPER, expires_at=SOON)
    assert is_well_formed(issued.key, KeyKind.ADMIN)
    assert not is_well_formed(issued.key)
    (row,) = await rows(database, AdminKey)
    assert issued.key not in str(dict(row))
    (listed,) = (await list_admin_keys(database, EVERYTHING)).items
    assert (listed.name, listed.last_used_at) == ("ops", None)
    assert await used(database, issued.key) == "ops"
    (listed,) = (await list_admin_keys(database, EVERYTHING)).items
    assert listed.last_used_at is not None
    assert (await revoke_admin_key(database, OPERATOR, issued.id)).revoked_at is not None
    assert await used(database, issued.key) is None
    with pytest.raises(NotFoundError, match="there is no active admin key with the id"):
        await revoke_admin_key(database, OPERATOR, issued.id)


async def test_names_of_live_admin_keys_are_unique(database: Database) -> None:
    """Otherwise the audit log would be ambiguous."""
    issued = await issue_admin_key(database, OPERATOR, "ops", pepper=PEPPER)
    for name in ("ops", "INFILL_ADMIN_KEY"):
        with pytest.raises(
            ConflictError, match=f"there is already an active admin key called {name}"
        ):
            await issue_admin_key(database, OPERATOR, name, pepper=PEPPER)
    await revoke_admin_key(database, OPERATOR, issued.id)
    await issue_admin_key(database, OPERATOR, "ops", pepper=PEPPER)


async def test_an_old_secret_stays_live_for_the_overlap(database: Database) -> None:
    rotated = await rotate_webhook_secret(database, OPERATOR, "acme", overlap_seconds=60)
    first, second = (await list_webhook_secrets(database, "acme", EVERYTHING)).items
    assert first.expires_at is not None
    assert timedelta(0) < first.expires_at - utc_now() <= timedelta(seconds=60)
    assert (second.id, second.expires_at) == (rotated.id, None)
    kept = {row["id"]: row["secret"] for row in await rows(database, WebhookSecret)}
    assert kept[rotated.id] == rotated.webhook_secret


async def test_the_oldest_secret_goes_when_secrets_are_rotated_often(database: Database) -> None:
    tenant_id = (await rows(database, WebhookSecret))[0]["tenant_id"]
    made = [await rotate_webhook_secret(database, OPERATOR, "acme") for _ in range(10)]
    async with database.statement() as connection:
        live = await read_live_secrets(connection, tenant_id)
    assert list(live) == [secret.webhook_secret for secret in reversed(made[-MAX_LIVE_SECRETS:])]
    listed = (await list_webhook_secrets(database, "acme", EVERYTHING)).items
    assert [entry.id for entry in listed if entry.expires_at is None] == [made[-1].id]


@pytest.mark.parametrize("seconds", [-1.0, 30 * 86_400 + 1.0, float("nan"), float("inf")])
async def test_an_invalid_overlap(database: Database, seconds: float) -> None:
    with pytest.raises(InvalidValueError, match="overlap_seconds must be a number from 0"):
        await rotate_webhook_secret(database, OPERATOR, "acme", overlap_seconds=seconds)


async def test_an_old_secret_can_be_expired_but_not_the_current_one(
    database: Database,
) -> None:
    await rotate_webhook_secret(database, OPERATOR, "acme")
    first, second = (await list_webhook_secrets(database, "acme", EVERYTHING)).items
    with pytest.raises(
        ConflictError, match=f"webhook secret {second.id} is the current secret of acme and cannot"
    ):
        await expire_webhook_secret(database, OPERATOR, "acme", second.id)
    with pytest.raises(NotFoundError, match="the tenant other has no active webhook secret"):
        await expire_webhook_secret(database, OPERATOR, "other", first.id)
    expired = await expire_webhook_secret(database, OPERATOR, "acme", first.id)
    assert expired.expires_at is not None
    assert expired.expires_at <= utc_now()
    with pytest.raises(NotFoundError, match="the tenant acme has no active webhook secret"):
        await expire_webhook_secret(database, OPERATOR, "acme", first.id)


async def test_an_unknown_name_is_an_error(database: Database) -> None:
    for asked in (
        issue_key(database, OPERATOR, "nobody", "web", pepper=PEPPER),
        list_keys(database, "nobody", EVERYTHING),
        revoke_key(database, OPERATOR, "nobody", 1),
        rotate_webhook_secret(database, OPERATOR, "nobody"),
        list_webhook_secrets(database, "nobody", EVERYTHING),
        expire_webhook_secret(database, OPERATOR, "nobody", 1),
    ):
        with pytest.raises(NotFoundError, match="there is no tenant called nobody"):
            await asked
