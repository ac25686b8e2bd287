"""The `infill audit` command."""

import click

from common.operations import audit
from common.operations.paging import Page
from deploy.cli.operators.options import page_options
from deploy.cli.operators.printing import json_option, show_list
from deploy.cli.operators.run import run_operation

COLUMNS = ("id", "created_at", "actor", "action", "tenant", "subject", "details")


@click.command("audit")
@click.option("--tenant", help="Only changes of this tenant, which may be deleted.")
@page_options
@json_option
def list_all(page: Page, tenant: str | None, *, as_json: bool) -> None:
    """List the changes made by operators, latest first."""
    listed = run_operation(lambda database: audit.list_audit(database, page, tenant=tenant))
    show_list(listed, COLUMNS, as_json=as_json)
