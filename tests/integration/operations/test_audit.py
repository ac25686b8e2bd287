"""Every change adds one audit entry, which never contains a secret."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest
from sqlalchemy import text

from common.domain.errors import PermanentError
from common.operations import (
    admin_keys,
    api_keys,
    audit,
    jobs,
    plans,
    tenants,
    webhook_secrets,
)
from common.operations.audit import Operator, audited_change
from common.postgres.database import Database
from common.postgres.models import AdminKey, ApiKey, AuditEntry, WebhookSecret
from common.runtime.clock import utc_now
from tests.integration.operations.rows import add_job, rows
from tests.integration.operations.use_cases import UseCase, changing_use_cases
from tests.support.operators import EVERYTHING, OPERATOR, PEPPER

ME = Operator.with_admin_key("ops")


class Installation:
    """An installation with one of everything that can be changed."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def prepare(self) -> None:
        for name in ("acme", "closed"):
            await tenants.create_tenant(self.database, OPERATOR, name)
        await tenants.disable_tenant(self.database, OPERATOR, "closed")
        await plans.create_plan(self.database, OPERATOR, "pro", {"max_running": 3})
        key = await api_keys.issue_key(self.database, OPERATOR, "acme", "web", pepper=PEPPER)
        admin = await admin_keys.issue_admin_key(self.database, OPERATOR, "old", pepper=PEPPER)
        await webhook_secrets.rotate_webhook_secret(self.database, OPERATOR, "acme")
        secrets = await webhook_secrets.list_webhook_secrets(self.database, "acme", EVERYTHING)
        self.key, self.admin, self.secret = key.id, admin.id, secrets.items[0].id
        self.job = await add_job(self.database, "acme")

    async def known_secrets(self) -> set[str]:
        """Return the secrets that may be in no row but their own."""
        digests = [*await rows(self.database, ApiKey), *await rows(self.database, AdminKey)]
        secrets = await rows(self.database, WebhookSecret)
        return {row["digest"].hex() for row in digests} | {row["secret"] for row in secrets}


Change = Callable[[Installation], Awaitable[Any]]

CHANGES: dict[UseCase, tuple[str, Change]] = {
    tenants.create_tenant: (
        "tenant.create",
        lambda it: tenants.create_tenant(it.database, ME, "new", plan="pro"),
    ),
    tenants.set_tenant_plan: (
        "tenant.set_plan",
        lambda it: tenants.set_tenant_plan(it.database, ME, "acme", "pro"),
    ),
    tenants.set_tenant_limits: (
        "tenant.set_limits",
        lambda it: tenants.set_tenant_limits(it.database, ME, "acme", {"models": ["sd15"]}),
    ),
    tenants.disable_tenant: (
        "tenant.disable",
        lambda it: tenants.disable_tenant(it.database, ME, "acme"),
    ),
    tenants.enable_tenant: (
        "tenant.enable",
        lambda it: tenants.enable_tenant(it.database, ME, "closed"),
    ),
    tenants.delete_tenant: (
        "tenant.delete",
        lambda it: tenants.delete_tenant(it.database, ME, "acme"),
    ),
    plans.create_plan: (
        "plan.create",
        lambda it: plans.create_plan(it.database, ME, "gold", {"max_running": 9}),
    ),
    plans.set_plan_limits: (
        "plan.set_limits",
        lambda it: plans.set_plan_limits(it.database, ME, "pro", {}),
    ),
    plans.delete_plan: ("plan.delete", lambda it: plans.delete_plan(it.database, ME, "pro")),
    api_keys.issue_key: (
        "key.issue",
        lambda it: api_keys.issue_key(it.database, ME, "acme", "next", pepper=PEPPER),
    ),
    api_keys.revoke_key: (
        "key.revoke",
        lambda it: api_keys.revoke_key(it.database, ME, "acme", it.key),
    ),
    admin_keys.issue_admin_key: (
        "admin_key.issue",
        lambda it: admin_keys.issue_admin_key(it.database, ME, "next", pepper=PEPPER),
    ),
    admin_keys.revoke_admin_key: (
        "admin_key.revoke",
        lambda it: admin_keys.revoke_admin_key(it.database, ME, it.admin),
    ),
    webhook_secrets.rotate_webhook_secret: (
        "webhook_secret.rotate",
        lambda it: webhook_secrets.rotate_webhook_secret(it.database, ME, "acme"),
    ),
    webhook_secrets.expire_webhook_secret: (
        "webhook_secret.expire",
        lambda it: webhook_secrets.expire_webhook_secret(it.database, ME, "acme", it.secret),
    ),
    jobs.cancel_job: ("job.cancel", lambda it: jobs.cancel_job(it.database, ME, it.job)),
    jobs.set_job_priority: (
        "job.set_priority",
        lambda it: jobs.set_job_priority(it.database, ME, it.job, 5),
    ),
}


REPEATABLE: Final[set[UseCase]] = {
    tenants.set_tenant_plan,
    tenants.set_tenant_limits,
    plans.set_plan_limits,
    api_keys.issue_key,
    webhook_secrets.rotate_webhook_secret,
    jobs.set_job_priority,
}
DONE_ONCE: Final = [change for change in CHANGES if change not in REPEATABLE]


@pytest.fixture
async def installation(database: Database) -> Installation:
    made = Installation(database)
    await made.prepare()
    return made


def test_every_change_is_tested() -> None:
    assert set(CHANGES) == changing_use_cases()


def written(value: Any) -> str:
    return json.dumps(value, default=str)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_change_adds_one_entry_without_secrets(
    installation: Installation, change: UseCase
) -> None:
    action, make = CHANGES[change]
    before = await rows(installation.database, AuditEntry)
    shown = await make(installation)
    (row,) = (await rows(installation.database, AuditEntry))[len(before) :]
    assert (row["actor"], row["action"]) == ("admin-key:ops", action)
    assert abs((utc_now() - row["created_at"]).total_seconds()) < 600
    assert row["tenant"] or row["subject"]

    kept = written(dict(row))
    assert not re.search(r"(inf|adm)_[0-9A-Za-z]{10}|whsec_|\\\\x", kept)
    secrets = await installation.known_secrets()
    # What the change returned is such a secret, or contains none.
    secrets |= {getattr(shown, name, "-") for name in ("key", "webhook_secret")} - {"-"}
    assert len(secrets) >= 4
    assert not [secret for secret in secrets if secret in kept]


@pytest.mark.parametrize(
    "change",
    [change for change in CHANGES if change not in REPEATABLE],
    ids=lambda change: change.__name__,
)
async def test_a_failed_change_adds_no_entry(installation: Installation, change: UseCase) -> None:
    """Each change here can be made only once, so the second time fails."""
    _, make = CHANGES[change]
    await make(installation)
    before = await rows(installation.database, AuditEntry)
    with pytest.raises(PermanentError):
        await make(installation)
    assert await rows(installation.database, AuditEntry) == before


async def test_the_audit_log_is_read_latest_first_and_by_tenant(installation: Installation) -> None:
    database = installation.database
    everything = (await audit.list_audit(database, EVERYTHING)).items
    assert [entry.id for entry in everything] == sorted(
        (entry.id for entry in everything), reverse=True
    )
    theirs = (await audit.list_audit(database, EVERYTHING, tenant="closed")).items
    assert [entry.action for entry in theirs] == ["tenant.disable", "tenant.create"]
    assert theirs[-1].details == {"plan": "default"}
    assert (await audit.list_audit(database, EVERYTHING, tenant="nobody")).items == []


async def test_a_job_is_recorded_under_its_tenant(installation: Installation) -> None:
    await jobs.cancel_job(installation.database, ME, installation.job)
    (entry,) = (await audit.list_audit(installation.database, EVERYTHING)).items[:1]
    assert (entry.tenant, entry.subject) == ("acme", str(installation.job))
    assert entry.details == {"before": "queued"}


async def is_lock_awaited(database: Database) -> bool:
    async with database.statement() as connection:
        asked = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool((await connection.execute(text(asked))).scalar_one())


async def test_a_change_waits_for_the_previous_one(installation: Installation) -> None:
    database = installation.database
    async with asyncio.timeout(60):
        async with audited_change(database, ME, "first") as first:
            second = asyncio.create_task(tenants.create_tenant(database, ME, "new"))
            while not await is_lock_awaited(database):
                assert not second.done()
            first.subject = "the first"
        await second
    entries = (await audit.list_audit(database, EVERYTHING)).items[:2]
    assert [entry.action for entry in entries] == ["tenant.create", "first"]
