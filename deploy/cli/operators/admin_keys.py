"""The `infill admin-keys` commands."""

from datetime import datetime

import click

from common.operations import admin_keys
from common.operations.paging import Page
from deploy.cli.operators.options import ID, expiry_option, page_options
from deploy.cli.operators.printing import json_option, show_json, show_list, show_record
from deploy.cli.operators.run import current_operator, require_pepper, run_operation

COLUMNS = (*("id", "name", "last_four", "created_at", "last_used_at", "expires_at", "revoked_at"),)


@click.group("admin-keys")
def group() -> None:
    """Keys of the admin API, one per operator."""


@group.command("create")
@click.argument("name")
@expiry_option
@json_option
def create(name: str, expires_at: datetime | None, *, as_json: bool) -> None:
    """Create an admin key; it is shown once. The audit log records its NAME with each change."""
    secret = require_pepper()
    made = run_operation(
        lambda database: admin_keys.issue_admin_key(
            database, current_operator(), name, pepper=secret, expires_at=expires_at
        )
    )
    if as_json:
        show_json(made)
    else:
        click.echo(f"admin key {made.id}: {made.key}")


@group.command("list")
@page_options
@json_option
def list_all(page: Page, *, as_json: bool) -> None:
    """List the admin keys, including revoked ones, with their last four characters."""
    listed = run_operation(lambda database: admin_keys.list_admin_keys(database, page))
    show_list(listed, COLUMNS, as_json=as_json)


@group.command("revoke")
@click.argument("key_id", type=ID)
@json_option
def revoke(key_id: int, *, as_json: bool) -> None:
    """Revoke the admin key KEY_ID; gateways may accept it for a few more seconds."""
    revoked = run_operation(
        lambda database: admin_keys.revoke_admin_key(database, current_operator(), key_id)
    )
    show_record(revoked, as_json=as_json)
