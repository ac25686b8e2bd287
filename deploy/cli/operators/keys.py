"""The `infill keys` commands."""

from datetime import datetime

import click

from common.operations import api_keys
from common.operations.paging import Page
from common.standard_webhooks.keys import new_signing_key
from deploy.cli.operators.options import ID, expiry_option, page_options
from deploy.cli.operators.printing import json_option, show_json, show_list, show_record
from deploy.cli.operators.run import current_operator, require_pepper, run_operation

COLUMNS = (*("id", "name", "last_four", "created_at", "last_used_at", "expires_at", "revoked_at"),)


@click.group("keys")
def group() -> None:
    """API keys, and the key that signs webhooks."""


@group.command("create")
@click.argument("tenant")
@click.option("--name", default="default", show_default=True)
@expiry_option
@json_option
def create(tenant: str, name: str, expires_at: datetime | None, *, as_json: bool) -> None:
    """Create an API key for TENANT; it is shown once."""
    secret = require_pepper()
    made = run_operation(
        lambda database: api_keys.issue_key(
            database, current_operator(), tenant, name, pepper=secret, expires_at=expires_at
        )
    )
    if as_json:
        show_json(made)
    else:
        click.echo(f"API key {made.id}: {made.key}")


@group.command("list")
@click.argument("tenant")
@page_options
@json_option
def list_all(tenant: str, page: Page, *, as_json: bool) -> None:
    """List TENANT's API keys, including revoked ones, with their last four characters."""
    listed = run_operation(lambda database: api_keys.list_keys(database, tenant, page))
    show_list(listed, COLUMNS, as_json=as_json)


@group.command("revoke")
@click.argument("tenant")
@click.argument("key_id", type=ID)
@json_option
def revoke(tenant: str, key_id: int, *, as_json: bool) -> None:
    """Revoke TENANT's API key KEY_ID; gateways may accept it for a few more seconds."""
    revoked = run_operation(
        lambda database: api_keys.revoke_key(database, current_operator(), tenant, key_id)
    )
    show_record(revoked, as_json=as_json)


@group.command("webhook")
def webhook() -> None:
    """Generate a key for v1a webhook signatures, to be set as INFILL_WEBHOOK_SIGNING_KEY."""
    click.echo(new_signing_key())
