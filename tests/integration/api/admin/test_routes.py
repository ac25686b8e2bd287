"""The routes of the admin API."""

from datetime import UTC, datetime

from common.domain.job import JobState
from common.messaging.completion import CHANNEL
from common.messaging.doorbell import DISPATCHER_LIST
from tests.integration.api.admin.harness import AdminHarness
from tests.integration.operations.rows import add_job, share
from tests.support.requests import INPAINT_BODY

HOOK = "https://hooks.example.com/x"


async def test_a_tenant_is_created_changed_disabled_and_deleted(admin: AdminHarness) -> None:
    ask = admin.ask
    code, tenant = await ask("POST", "tenants", {"name": "acme"})
    assert (code, tenant["name"], tenant["plan"]) == (201, "acme", "default")
    assert tenant["webhook_secret"].startswith("whsec_")
    listed = await admin.get("tenants")
    assert [entry["name"] for entry in listed["items"]] == ["alice", "acme"]
    assert tenant["webhook_secret"] not in str(listed)

    code, plan = await ask("POST", "plans", {"name": "pro", "limits": {"max_running": 4}})
    assert (code, plan["limits"]) == (201, {"max_running": 4})
    code, changed = await ask("PUT", "tenants/acme/plan", {"plan": "pro"})
    assert (code, changed["plan"], changed["effective_limits"]["max_running"]) == (200, "pro", 4)
    code, changed = await ask("PUT", "tenants/acme/limits", {"limits": {"max_running": 2}})
    assert (code, changed["limits"]) == (200, {"max_running": 2})
    shown = await admin.get("tenants/acme")
    assert shown["effective_limits"]["max_running"] == 2
    assert (await share(admin.gateway.services.operator_database, "acme")).max_running == 2

    code, changed = await ask("POST", "tenants/acme/disable")
    assert (code, changed["disabled_at"] is None) == (200, False)
    code, changed = await ask("POST", "tenants/acme/enable")
    assert (code, changed["disabled_at"]) == (200, None)
    code, changed = await ask("DELETE", "tenants/acme")
    assert (code, changed["deleting_at"] is None) == (202, False)


async def test_a_plan_is_created_changed_and_deleted(admin: AdminHarness) -> None:
    await admin.ask("POST", "plans", {"name": "pro"})
    code, changed = await admin.ask("PUT", "plans/pro/limits", {"limits": {"weight": 2.5}})
    assert (code, changed["limits"]) == (200, {"weight": 2.5})
    assert await admin.get("plans/pro") == changed
    checked = {"limits": {"require_safety_checker": True}}
    assert (await admin.ask("PUT", "tenants/alice/limits", checked))[0] == 200
    effective = (await admin.get("tenants/alice"))["effective_limits"]
    assert effective["require_safety_checker"] is True
    code, rejected = await admin.ask(
        "PUT", "tenants/alice/limits", {"limits": {"require_safety_checker": "yes"}}
    )
    assert (code, rejected["errors"][0]["detail"]) == (422, "must be true or false")
    assert [plan["name"] for plan in (await admin.get("plans"))["items"]] == ["default", "pro"]
    assert await admin.ask("DELETE", "plans/pro") == (204, None)
    assert (await admin.ask("GET", "plans/pro"))[0] == 404


async def test_a_key_authenticates_until_it_is_revoked(admin: AdminHarness) -> None:
    code, issued = await admin.ask(
        "POST", "tenants/alice/keys", {"name": "web", "expires_at": "2999-01-31T00:00:00Z"}
    )
    assert code == 201
    assert datetime.fromisoformat(issued["expires_at"]) == datetime(2999, 1, 31, tzinfo=UTC)
    response = await admin.gateway.post("inpaint", {**INPAINT_BODY, "key": issued["key"]})
    assert response["status"] == "processing"
    listed = await admin.get("tenants/alice/keys")
    key = listed["items"][-1]
    assert (key["name"], key["last_four"]) == ("web", issued["key"][-4:])
    assert issued["key"] not in str(listed)

    path = f"tenants/alice/keys/{key['id']}"
    code, revoked = await admin.ask("DELETE", path)
    assert (code, revoked["revoked_at"] is None) == (200, False)
    code, gone = await admin.ask("DELETE", path)
    missing = f"the tenant alice has no active API key with the id {key['id']}"
    assert (code, gone["detail"]) == (404, missing)


async def test_webhook_secrets_are_rotated_and_expired(admin: AdminHarness) -> None:
    path = "tenants/alice/webhook-secrets"
    code, rotated = await admin.ask("POST", path)
    assert (code, rotated["webhook_secret"].startswith("whsec_")) == (201, True)
    code, _ = await admin.ask("POST", path, {"overlap_seconds": 60})
    assert code == 201
    listed = await admin.get(path)
    first, second, third = listed["items"]
    assert [entry["expires_at"] is None for entry in listed["items"]] == [False, False, True]
    assert "whsec_" not in str(listed)
    assert first["expires_at"] > second["expires_at"]
    assert (await admin.ask("DELETE", f"{path}/{second['id']}"))[0] == 200
    assert (await admin.ask("DELETE", f"{path}/{second['id']}"))[0] == 404
    assert (await admin.ask("DELETE", f"{path}/{third['id']}"))[0] == 409


async def test_the_end_of_a_canceled_job_is_announced(admin: AdminHarness) -> None:
    services = admin.gateway.services
    job_id = await add_job(services.operator_database, "alice")
    async with services.redis.pubsub(ignore_subscribe_messages=True) as subscription:
        await subscription.subscribe(CHANNEL)
        code, job = await admin.ask("POST", f"jobs/{job_id}/cancel")
        assert (code, job["state"]) == (200, "canceled")
        signal = None
        while signal is None:
            signal = await subscription.get_message(timeout=30)
    assert len(signal["data"]) == 16
    assert await services.redis.llen(DISPATCHER_LIST) == 1
    assert await admin.get(f"jobs/{job_id}") == job
    assert (await admin.ask("POST", f"jobs/{job_id}/cancel"))[0] == 409


async def test_jobs_and_queues_are_listed(admin: AdminHarness) -> None:
    database = admin.gateway.services.operator_database
    first = await add_job(database, "alice", "deep")
    await add_job(database, "alice", state=JobState.FAILED)
    listed = await admin.get("jobs?tenant=alice&state=queued&queue=deep")
    assert [job["id"] for job in listed["items"]] == [first]
    code, changed = await admin.ask("PUT", f"jobs/{first}/priority", {"priority": 9})
    assert (code, changed["priority"]) == (200, 9)
    queues = {queue["name"]: queue for queue in (await admin.get("queues"))["items"]}
    assert (queues["deep"]["waiting"], queues["deep"]["ready_tenants"]) == (1, 1)


async def test_usage_is_reported_as_json_and_csv(admin: AdminHarness) -> None:
    gateway = admin.gateway
    await gateway.post("inpaint", {**INPAINT_BODY, "width": 512, "height": 512})
    await gateway.finish(await gateway.claim(), flagged=1)
    path = "usage?since=2000-01-01&until=2999-12-31"
    (line,) = (await admin.get(f"{path}&tenant=alice"))["items"]
    assert (line["tenant"], line["jobs"], line["images"]) == ("alice", 1, 1)
    assert line["flagged_images"] == 1
    assert line["megapixel_steps"] == "5.505024"  # 512 × 512 / 10⁶ × 21, to the last digit

    for submitted, accept in ((f"{path}&format=csv", "*/*"), (path, "text/csv")):
        response = await gateway.client.get(
            f"/admin/v1/{submitted}",
            headers={"authorization": "Bearer operator's key", "accept": accept},
        )
        assert response.headers["content-type"] == "text/csv; charset=utf-8"
        names, row = response.text.splitlines()
        assert names.startswith("tenant,day,model,jobs")
        assert (row.startswith("alice,"), row.rpartition(",")[2]) == (True, "1")
    assert (await admin.get(f"{path}&format=json", accept="text/csv"))["items"] == [line]


async def test_the_audit_log_shows_who_changed_what(admin: AdminHarness) -> None:
    _, issued = await admin.ask("POST", "admin-keys", {"name": "ops"})
    theirs = {"authorization": f"Bearer {issued['key']}"}
    await admin.ask("POST", "tenants", {"name": "acme"}, **theirs)
    await admin.ask("POST", "tenants/acme/disable", **theirs)
    listed = await admin.get("audit?tenant=acme")
    assert [(entry["actor"], entry["action"]) for entry in listed["items"]] == [
        ("admin-key:ops", "tenant.disable"),
        ("admin-key:ops", "tenant.create"),
    ]
    everything = (await admin.get("audit"))["items"]
    assert ("admin-key:INFILL_ADMIN_KEY", "admin_key.issue") in [
        (entry["actor"], entry["action"]) for entry in everything
    ]
    assert issued["key"] not in str(everything)
