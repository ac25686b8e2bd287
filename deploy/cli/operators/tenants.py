"""The `infill tenants` commands."""

from collections.abc import Mapping
from typing import Any

import click

from common.operations import tenants
from common.operations.paging import Page
from common.postgres.repositories.tenants.tenants import DEFAULT_PLAN
from deploy.cli.operators.options import limit_options, page_options
from deploy.cli.operators.printing import json_option, show_json, show_list, show_record
from deploy.cli.operators.run import current_operator, run_operation

COLUMNS = ("id", "name", "plan", "created_at", "disabled_at", "deleting_at")


@click.group("tenants")
def group() -> None:
    """Create, list, limit, disable and delete tenants."""


@group.command("create")
@click.argument("name")
@click.option("--plan", default=DEFAULT_PLAN, show_default=True)
@json_option
def create(name: str, plan: str, *, as_json: bool) -> None:
    """Create tenant NAME; its webhook secret is shown once."""
    made = run_operation(
        lambda database: tenants.create_tenant(database, current_operator(), name, plan=plan)
    )
    if as_json:
        show_json(made)
    else:
        click.echo(f"tenant {made.name} (id {made.id})\nwebhook secret: {made.webhook_secret}")


@group.command("list")
@page_options
@json_option
def list_all(page: Page, *, as_json: bool) -> None:
    """List tenants, oldest first."""
    show_list(
        run_operation(lambda database: tenants.list_tenants(database, page)),
        COLUMNS,
        as_json=as_json,
    )


@group.command("show")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show tenant NAME with its effective limits."""
    show_record(
        run_operation(lambda database: tenants.show_tenant(database, name)), as_json=as_json
    )


@group.command("set-plan")
@click.argument("name")
@click.argument("plan")
@json_option
def set_plan(name: str, plan: str, *, as_json: bool) -> None:
    """Move tenant NAME to PLAN."""
    changed = run_operation(
        lambda database: tenants.set_tenant_plan(database, current_operator(), name, plan)
    )
    show_record(changed, as_json=as_json)


@group.command("set-limits")
@click.argument("name")
@limit_options
@json_option
def set_limits(name: str, limits: Mapping[str, Any], *, as_json: bool) -> None:
    """Replace tenant NAME's own limits, which override its plan's; without --set, remove them."""
    changed = run_operation(
        lambda database: tenants.set_tenant_limits(database, current_operator(), name, limits)
    )
    show_record(changed, as_json=as_json)


@group.command("disable")
@click.argument("name")
@json_option
def disable(name: str, *, as_json: bool) -> None:
    """Disable tenant NAME: its keys are rejected, and its waiting jobs are not started."""
    changed = run_operation(
        lambda database: tenants.disable_tenant(database, current_operator(), name)
    )
    show_record(changed, as_json=as_json)


@group.command("enable")
@click.argument("name")
@json_option
def enable(name: str, *, as_json: bool) -> None:
    """Enable the disabled tenant NAME."""
    changed = run_operation(
        lambda database: tenants.enable_tenant(database, current_operator(), name)
    )
    show_record(changed, as_json=as_json)


@group.command("delete")
@click.argument("name")
@click.confirmation_option(prompt="All data of this tenant will be erased. Continue?")
@json_option
def delete(name: str, *, as_json: bool) -> None:
    """Disable tenant NAME, and erase all its data once none of its jobs is running."""
    changed = run_operation(
        lambda database: tenants.delete_tenant(database, current_operator(), name)
    )
    show_record(changed, as_json=as_json)
