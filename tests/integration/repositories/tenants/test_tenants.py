"""Tenants, their keys and their secrets."""

from datetime import timedelta

from sqlalchemy import update

from common.postgres.database import Database
from common.postgres.models import ApiKey, WebhookSecret
from common.postgres.repositories.tenants.api_keys import add_api_key, list_api_keys, revoke_api_key
from common.postgres.repositories.tenants.authentication import find_key_owner
from common.postgres.repositories.tenants.tenants import (
    add_webhook_secret,
    create_tenant,
    find_tenant,
    list_tenants,
    set_tenant_disabled,
)
from common.runtime.clock import utc_now
from tests.integration.repositories.support.tenant_rows import FAR_AHEAD, LONG_AGO, TenantRows

DIGEST, OTHER_DIGEST = b"a" * 32, b"b" * 32


async def add_key(alice: TenantRows, digest: bytes = DIGEST) -> int:
    async with alice.database.statement() as connection:
        made = await add_api_key(
            connection, tenant_id=alice.tenant_id, name="laptop", digest=digest, last_four="wxyz"
        )
    return made.id


async def owner(alice: TenantRows, digest: bytes = DIGEST) -> int | None:
    async with alice.database.direct() as connection:
        found = await find_key_owner(connection, digest)
    return None if found is None else found.tenant_id


async def set_expiry(alice: TenantRows, **columns: object) -> None:
    async with alice.database.statement() as connection:
        await connection.execute(update(ApiKey).values(**columns))


async def test_tenant_names_are_unique(database: Database) -> None:
    async with database.statement() as connection:
        first = await create_tenant(connection, "alice")
        assert await create_tenant(connection, "alice") is None
        second = await create_tenant(connection, "Alice")
        assert await find_tenant(connection, "alice") == first
        assert await find_tenant(connection, "bob") is None
        tenants = await list_tenants(connection, after=None, limit=9)
    assert [(tenant.id, tenant.name) for tenant in tenants] == [(first, "alice"), (second, "Alice")]
    assert [tenant.disabled_at for tenant in tenants] == [None, None]


async def test_a_live_key_has_an_owner(alice: TenantRows) -> None:
    await add_key(alice)
    assert await owner(alice) == alice.tenant_id
    assert await owner(alice, OTHER_DIGEST) is None


async def test_a_revoked_key_has_no_owner(alice: TenantRows, bob: TenantRows) -> None:
    key_id = await add_key(alice)
    async with alice.database.statement() as connection:
        stranger = bob.tenant_id
        assert not await revoke_api_key(connection, tenant_id=stranger, key_id=key_id)
        assert await owner(alice) == alice.tenant_id
        assert await revoke_api_key(connection, tenant_id=alice.tenant_id, key_id=key_id)
        assert not await revoke_api_key(connection, tenant_id=alice.tenant_id, key_id=key_id)
    assert await owner(alice) is None


async def test_an_expired_key_has_no_owner(alice: TenantRows) -> None:
    await add_key(alice)
    await set_expiry(alice, expires_at=FAR_AHEAD)
    assert await owner(alice) == alice.tenant_id
    await set_expiry(alice, expires_at=LONG_AGO)
    assert await owner(alice) is None


async def test_keys_of_a_disabled_tenant_have_no_owner(alice: TenantRows) -> None:
    await add_key(alice)
    async with alice.database.statement() as connection:
        assert await set_tenant_disabled(connection, "alice", disabled=True)
        assert await owner(alice) is None
        assert await set_tenant_disabled(connection, "alice", disabled=False)
        assert await owner(alice) == alice.tenant_id
        assert not await set_tenant_disabled(connection, "nobody", disabled=True)


async def test_keys_are_listed_by_tenant(alice: TenantRows, bob: TenantRows) -> None:
    first, second = await add_key(alice), await add_key(alice, OTHER_DIGEST)
    async with alice.database.statement() as connection:
        await revoke_api_key(connection, tenant_id=alice.tenant_id, key_id=first)
        keys = await list_api_keys(connection, alice.tenant_id, after=None, limit=9)
        theirs = await list_api_keys(connection, bob.tenant_id, after=None, limit=9)
    assert theirs == []
    assert [(key.id, key.name, key.last_four) for key in keys] == [
        (first, "laptop", "wxyz"),
        (second, "laptop", "wxyz"),
    ]
    assert [key.revoked_at is None for key in keys] == [False, True]
    assert [key.expires_at for key in keys] == [None, None]


async def test_an_older_secret_expires_after_the_overlap(
    alice: TenantRows, bob: TenantRows
) -> None:
    async with alice.database.transaction() as connection:
        for tenant in (alice, bob):
            await add_webhook_secret(
                connection, tenant_id=tenant.tenant_id, secret="first", overlap_seconds=3600
            )
        for secret, overlap in (("second", 3600), ("third", 7200)):
            await add_webhook_secret(
                connection, tenant_id=alice.tenant_id, secret=secret, overlap_seconds=overlap
            )
    ends = {
        (row["tenant_id"], row["secret"]): row["expires_at"]
        for row in await alice.read_rows(WebhookSecret)
    }
    in_an_hour = utc_now() + timedelta(hours=1)
    # The third rotation did not extend the first secret.
    assert abs(ends[alice.tenant_id, "first"] - in_an_hour) < timedelta(minutes=5)
    assert ends[alice.tenant_id, "second"] > ends[alice.tenant_id, "first"]
    assert ends[alice.tenant_id, "third"] is None
    assert ends[bob.tenant_id, "first"] is None
