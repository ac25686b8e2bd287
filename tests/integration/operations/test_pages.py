"""Every list is paged by a cursor."""

import base64
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from common.domain.errors import InvalidValueError
from common.operations.admin_keys import issue_admin_key, list_admin_keys
from common.operations.api_keys import issue_key, list_keys
from common.operations.audit import list_audit
from common.operations.jobs import list_jobs
from common.operations.paging import Listed, Page
from common.operations.plans import create_plan, list_plans
from common.operations.tenants import create_tenant, list_tenants
from common.operations.webhook_secrets import list_webhook_secrets, rotate_webhook_secret
from common.postgres.database import Database
from tests.integration.operations.rows import add_job
from tests.support.operators import OPERATOR, PEPPER

Lists = Callable[[Page], Awaitable[Listed[Any]]]


def every_list(database: Database) -> dict[str, Lists]:
    return {
        "tenants": partial(list_tenants, database),
        "plans": partial(list_plans, database),
        "keys": partial(list_keys, database, "t0"),
        "admin keys": partial(list_admin_keys, database),
        "secrets": partial(list_webhook_secrets, database, "t0"),
        "jobs": partial(list_jobs, database),
        "audit": partial(list_audit, database),
    }


@pytest.fixture(autouse=True)
async def three_of_each(database: Database) -> None:
    for number in range(3):
        await create_tenant(database, OPERATOR, f"t{number}")
        await create_plan(database, OPERATOR, f"p{number}", {})
        await issue_key(database, OPERATOR, "t0", "web", pepper=PEPPER)
        await issue_admin_key(database, OPERATOR, f"ops{number}", pepper=PEPPER)
        await rotate_webhook_secret(database, OPERATOR, "t0")
        await add_job(database, "t0")


async def test_every_list_can_be_read_page_by_page(database: Database) -> None:
    for name, ask in every_list(database).items():
        whole = await ask(Page(200))
        assert whole.next_cursor is None, name
        collected: list[Any] = []
        page = Page(2)
        while True:
            listed = await ask(page)
            assert len(listed.items) == 2 or listed.next_cursor is None, name
            collected += listed.items
            if listed.next_cursor is None:
                break
            page = Page(2, listed.next_cursor)
        assert collected == whole.items, name
        assert len(collected) >= 3, name


async def test_a_cursor_is_valid_for_its_own_list_only(database: Database) -> None:
    lists = every_list(database)
    cursors = {name: (await ask(Page(1))).next_cursor for name, ask in lists.items()}
    for name, ask in lists.items():
        for other, cursor in cursors.items():
            if other != name:
                with pytest.raises(InvalidValueError, match="cursor must be the next_cursor"):
                    await ask(Page(1, cursor))


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    "cursor",
    [
        *("", "x", "é", "\ud800", "%%%%", "====", "_w"),
        *(
            encoded(text)
            for text in ("tenants", "tenants:", "tenants:x", "tenants:0", "tenants:-1")
        ),
        encoded(f"tenants:{2**63}"),
        encoded("tenants:" + "9" * 5000),
        encoded("tenants:1:1"),
        *(encoded(f"tenants:{number}") for number in ("+1", "01", "1_0", " 1", "1 ", "\u0661")),
        "dGVuYW50czox=",  # padded
        "dGVuYW50czoxMA==",
        "dGVuYW50czoxMB",  # other unused bits
    ],
)
async def test_a_broken_cursor_is_an_error(database: Database, cursor: str) -> None:
    with pytest.raises(InvalidValueError, match="cursor must be the next_cursor") as caught:
        await list_tenants(database, Page(1, cursor))
    assert caught.value.field == "cursor"


@pytest.mark.parametrize("limit", [0, -1, 201])
async def test_an_invalid_page_size(database: Database, limit: int) -> None:
    with pytest.raises(InvalidValueError, match="limit must be a whole number from 1 to 200"):
        await list_tenants(database, Page(limit))
