"""The operators' commands against a real database."""

import asyncio
import json
import re
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import SecretStr

from common.domain.api_key import KeyKind, is_well_formed
from common.domain.errors import (
    ConfigurationError,
    ConflictError,
    InvalidLimitsError,
    InvalidNameError,
    NotFoundError,
)
from common.postgres.database import Database
from common.settings import DatabaseSettings
from common.standard_webhooks.keys import load_signing_key
from deploy.cli.main import infill
from deploy.cli.operators import run as running
from tests.integration.operations.rows import add_job
from tests.support.operators import PEPPER, is_live


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("INFILL_DATABASE_URL", database_url)
    monkeypatch.setenv("INFILL_API_KEY_PEPPER", PEPPER)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(infill, arguments, catch_exceptions=False)


def run(*arguments: str) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def run_json(*arguments: str) -> Any:
    """Run a command and return its JSON output."""
    return json.loads(run(*arguments, "--json"))


def names(listed: Any) -> list[str]:
    return [item["name"] for item in listed["items"]]


async def use_database(database_url: str, ask: Any) -> Any:
    """Call `ask` with the database; the commands open an event loop of their own."""
    database = Database(DatabaseSettings(url=SecretStr(database_url)), application="test")
    try:
        return await ask(database)
    finally:
        await database.aclose()


def test_a_tenant_is_created_and_its_webhook_secret_is_printed() -> None:
    assert re.fullmatch(
        r"tenant acme \(id 1\)\nwebhook secret: whsec_[A-Za-z0-9+/]{43}=\n",
        run("tenants", "create", "acme"),
    )
    created = run_json("tenants", "create", "beta")
    assert (created["id"], created["plan"], created["webhook_secret"][:6]) == (
        2,
        "default",
        "whsec_",
    )


def test_tenants_are_listed_without_secrets() -> None:
    run("tenants", "create", "acme")
    run("tenants", "create", "a-longer-name")
    title, *lines = run("tenants", "list").splitlines()
    assert title.split()[:3] == ["id", "name", "plan"]
    assert [line.split()[:3] for line in lines] == [
        ["1", "acme", "default"],
        ["2", "a-longer-name", "default"],
    ]
    assert lines[0].index("default") == lines[1].index("default")
    assert "whsec_" not in run("tenants", "list", "--json")


def test_a_list_continues_at_its_cursor() -> None:
    for name in ("a", "b", "c"):
        run("tenants", "create", name)
    first = invoke("tenants", "list", "--limit", "2")
    more = re.fullmatch(r"there are more: --cursor (\S+)\n", first.stderr)
    assert more is not None
    assert names(run_json("tenants", "list", "--cursor", more[1])) == ["c"]
    assert invoke("tenants", "list", "--limit", "0").exit_code == 2


def test_a_used_or_malformed_name_is_rejected() -> None:
    run("tenants", "create", "acme")
    with pytest.raises(ConflictError, match="there is already a tenant called acme"):
        run("tenants", "create", "acme")
    with pytest.raises(InvalidNameError):
        run("tenants", "create", "no spaces")


def test_a_tenant_gets_a_plan_and_limits_of_its_own() -> None:
    created = run_json(
        "plans", "create", "pro", "--set", "max_running=4", "--set", 'models=["sd15"]'
    )
    assert created["limits"] == {"max_running": 4, "models": ["sd15"]}
    run("tenants", "create", "acme")
    assert "plan: pro\n" in run("tenants", "set-plan", "acme", "pro")
    changed = run_json("tenants", "set-limits", "acme", "--set", "max_running=null")
    assert changed["limits"] == {"max_running": None}
    assert run_json("tenants", "show", "acme")["effective_limits"]["models"] == ["sd15"]
    checked = run_json("plans", "set-limits", "pro", "--set", "require_safety_checker=true")
    assert checked["limits"] == {"require_safety_checker": True}
    assert run_json("tenants", "show", "acme")["effective_limits"]["require_safety_checker"] is True
    (latest, *_) = run_json("audit")["items"]
    assert latest["details"]["limits"] == {"require_safety_checker": True}
    assert run_json("plans", "set-limits", "pro")["limits"] == {}
    assert run_json("plans", "show", "pro")["tenants"] == 1
    run("tenants", "set-plan", "acme", "default")
    assert run("plans", "delete", "pro") == "deleted\n"
    assert names(run_json("plans", "list")) == ["default"]


@pytest.mark.parametrize("entry", ["max_running", "max_running=", "max_running=four", "=4="])
def test_a_limit_that_is_not_name_and_json_is_rejected(entry: str) -> None:
    result = invoke("plans", "create", "pro", "--set", entry)
    assert result.exit_code == 2
    assert "is not NAME=VALUE with a value in JSON, such as max_running=4" in result.stderr


def test_an_unknown_limit_is_an_error() -> None:
    with pytest.raises(InvalidLimitsError, match="max_runing is not a limit; the limits are: max_"):
        run("plans", "create", "pro", "--set", "max_runing=4")


def test_a_tenant_is_disabled_enabled_and_deleted() -> None:
    run("tenants", "create", "acme")
    assert run_json("tenants", "disable", "acme")["disabled_at"] is not None
    assert "disabled at: -\n" in run("tenants", "enable", "acme")
    declined = CliRunner().invoke(infill, ["tenants", "delete", "acme"], input="n\n")
    assert declined.exit_code == 1
    assert run_json("tenants", "show", "acme")["deleting_at"] is None
    assert run_json("tenants", "delete", "acme", "--yes")["deleting_at"] is not None


def test_webhook_secrets_are_rotated_and_expired() -> None:
    first = run("tenants", "create", "acme").rsplit(maxsplit=1)[-1]
    rotated = run("tenants", "rotate-secret", "acme")
    assert rotated.startswith("webhook secret: whsec_")
    assert rotated.split()[-1] != first
    again = run_json("secrets", "rotate", "acme", "--overlap-seconds", "60")
    assert again["webhook_secret"].startswith("whsec_")
    assert "whsec_" not in run("secrets", "list", "acme")
    ids = [item["id"] for item in run_json("secrets", "list", "acme")["items"]]
    assert run_json("secrets", "expire", "acme", str(ids[0]))["id"] == ids[0]
    with pytest.raises(ConflictError, match="rotate the secret first"):
        run("secrets", "expire", "acme", str(ids[-1]))


async def test_a_key_authenticates_until_it_is_revoked(database_url: str) -> None:
    async def live(key: str) -> bool:
        found: bool = await use_database(database_url, lambda database: is_live(database, key))
        return found

    await asyncio.to_thread(run, "tenants", "create", "acme")
    shown = await asyncio.to_thread(run, "keys", "create", "acme", "--name", "laptop")
    key = shown.rsplit(maxsplit=1)[-1]
    assert shown == f"API key 1: {key}\n"
    assert is_well_formed(key)
    assert await live(key)
    listed = (await asyncio.to_thread(run, "keys", "list", "acme")).splitlines()
    assert listed[1].split()[:3] == ["1", "laptop", key[-4:]]
    revoked = await asyncio.to_thread(run_json, "keys", "revoke", "acme", "1")
    assert revoked["revoked_at"] is not None
    assert not await live(key)


def test_the_expiry_of_a_key_is_read_as_utc() -> None:
    run("tenants", "create", "acme")
    created = run_json("keys", "create", "acme", "--expires-at", "2999-01-31")
    assert created["expires_at"] == "2999-01-31T00:00:00+00:00"
    assert created["key"].startswith("inf_")


def test_an_admin_key_is_created_listed_and_revoked() -> None:
    shown = run("admin-keys", "create", "ops")
    assert is_well_formed(shown.split()[-1], KeyKind.ADMIN)
    created = run_json("admin-keys", "create", "more", "--expires-at", "2999-01-31T12:00:00")
    assert created["key"][-4:] == created["last_four"]
    assert names(run_json("admin-keys", "list")) == ["ops", "more"]
    assert "revoked at: 2" in run("admin-keys", "revoke", "1")


@pytest.mark.parametrize("arguments", [("keys", "create", "acme"), ("admin-keys", "create", "x")])
def test_no_key_is_created_without_a_pepper(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("INFILL_API_KEY_PEPPER", "")
    with pytest.raises(ConfigurationError, match="INFILL_API_KEY_PEPPER is not set"):
        run(*arguments)


async def test_jobs_and_queues_are_listed_and_changed(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INFILL_REDIS_URL", redis_url)
    await asyncio.to_thread(run, "tenants", "create", "acme")
    job_id = str(await use_database(database_url, lambda database: add_job(database, "acme")))

    def operate() -> None:
        assert run("jobs", "list", "--tenant", "acme", "--state", "queued").count("acme") == 1
        assert run_json("jobs", "list", "--queue", "none")["items"] == []
        assert run_json("jobs", "set-priority", job_id, "-5")["priority"] == -5
        assert "priority: -5\n" in run("jobs", "show", job_id)
        (queue,) = run_json("queues")["items"]
        assert (queue["waiting"], queue["workers"]) == (1, 0)
        assert "ready tenants" in run("queues")
        assert run_json("jobs", "cancel", job_id)["state"] == "canceled"

    await asyncio.to_thread(operate)


def test_usage_is_of_this_month_by_default() -> None:
    assert run_json("usage") == {"items": [], "next_cursor": None}
    titles = ("tenant", "day", "model", "jobs", "images")
    assert run("usage").split()[: len(titles)] == list(titles)
    report = run("usage", "--csv", "--since", "2026-01-01", "--until", "2026-01-31")
    amounts = "jobs,images,megapixel_steps,gpu_milliseconds,flagged_images"
    assert report == f"tenant,day,model,{amounts}\n"
    with pytest.raises(NotFoundError, match="there is no tenant called missing"):
        run("usage", "--tenant", "missing")


def test_the_audit_log_names_the_operators_account() -> None:
    run("tenants", "create", "acme")
    (entry,) = run_json("audit", "--tenant", "acme")["items"]
    assert entry["actor"] == running.current_operator().name
    assert entry["actor"].startswith("cli:")
    assert "tenant.create" in run("audit")


def test_an_account_without_a_name_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.cli.operators.run.os.getuid", lambda: 2**31 - 7)
    assert running.current_operator().name == f"cli:uid-{2**31 - 7}"


def test_missing_tenants_and_keys_are_named_in_the_error() -> None:
    for arguments in (
        ("keys", "create", "missing"),
        ("keys", "list", "missing"),
        ("keys", "revoke", "missing", "1"),
        ("tenants", "rotate-secret", "missing"),
        ("tenants", "show", "missing"),
    ):
        with pytest.raises(NotFoundError, match="there is no tenant called missing"):
            run(*arguments)
    run("tenants", "create", "acme")
    with pytest.raises(NotFoundError, match="the tenant acme has no active API key with the id 7"):
        run("keys", "revoke", "acme", "7")


def test_a_signing_key_is_created_without_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFILL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nothing")
    load_signing_key(run("keys", "webhook").strip())
