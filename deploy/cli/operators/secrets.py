"""The `infill secrets` commands, and `infill tenants rotate-secret`."""

import click

from common.operations import webhook_secrets
from common.operations.paging import Page
from common.operations.webhook_secrets import SECRET_OVERLAP_SECONDS
from deploy.cli.operators.options import ID, page_options
from deploy.cli.operators.printing import json_option, show_json, show_list, show_record
from deploy.cli.operators.run import current_operator, run_operation

COLUMNS = ("id", "created_at", "expires_at")


@click.group("secrets")
def group() -> None:
    """Webhook secrets, with which tenants verify their webhooks."""


@group.command("list")
@click.argument("tenant")
@page_options
@json_option
def list_all(tenant: str, page: Page, *, as_json: bool) -> None:
    """List the ids and dates of TENANT's webhook secrets."""
    listed = run_operation(
        lambda database: webhook_secrets.list_webhook_secrets(database, tenant, page)
    )
    show_list(listed, COLUMNS, as_json=as_json)


@group.command("rotate")
@click.argument("tenant")
@click.option(
    "--overlap-seconds",
    type=float,
    default=SECRET_OVERLAP_SECONDS,
    show_default=True,
    help="How long webhooks are signed with the previous secret too.",
)
@json_option
def rotate(tenant: str, overlap_seconds: float, *, as_json: bool) -> None:
    """Create a webhook secret for TENANT, shown once; the old one stays valid for some time."""
    made = run_operation(
        lambda database: webhook_secrets.rotate_webhook_secret(
            database, current_operator(), tenant, overlap_seconds=overlap_seconds
        )
    )
    if as_json:
        show_json(made)
    else:
        click.echo(f"webhook secret: {made.webhook_secret}")


@group.command("expire")
@click.argument("tenant")
@click.argument("secret_id", type=ID)
@json_option
def expire(tenant: str, secret_id: int, *, as_json: bool) -> None:
    """Stop signing with TENANT's previous webhook secret SECRET_ID."""
    expired = run_operation(
        lambda database: webhook_secrets.expire_webhook_secret(
            database, current_operator(), tenant, secret_id
        )
    )
    show_record(expired, as_json=as_json)
