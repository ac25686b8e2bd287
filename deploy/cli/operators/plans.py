"""The `infill plans` commands."""

from collections.abc import Mapping
from typing import Any

import click

from common.operations import plans
from common.operations.paging import Page
from deploy.cli.operators.options import limit_options, page_options
from deploy.cli.operators.printing import json_option, show_list, show_record
from deploy.cli.operators.run import current_operator, run_operation

COLUMNS = ("id", "name", "tenants", "limits", "created_at")


@click.group("plans")
def group() -> None:
    """Plans: sets of limits that several tenants share."""


@group.command("create")
@click.argument("name")
@limit_options
@json_option
def create(name: str, limits: Mapping[str, Any], *, as_json: bool) -> None:
    """Create plan NAME; limits that are not set are unlimited."""
    made = run_operation(
        lambda database: plans.create_plan(database, current_operator(), name, limits)
    )
    show_record(made, as_json=as_json)


@group.command("list")
@page_options
@json_option
def list_all(page: Page, *, as_json: bool) -> None:
    """List plans, oldest first."""
    show_list(
        run_operation(lambda database: plans.list_plans(database, page)), COLUMNS, as_json=as_json
    )


@group.command("show")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show plan NAME."""
    show_record(run_operation(lambda database: plans.show_plan(database, name)), as_json=as_json)


@group.command("set-limits")
@click.argument("name")
@limit_options
@json_option
def set_limits(name: str, limits: Mapping[str, Any], *, as_json: bool) -> None:
    """Replace all limits of plan NAME; they apply at once."""
    changed = run_operation(
        lambda database: plans.set_plan_limits(database, current_operator(), name, limits)
    )
    show_record(changed, as_json=as_json)


@group.command("delete")
@click.argument("name")
def delete(name: str) -> None:
    """Delete plan NAME, which must not have any tenants."""
    run_operation(lambda database: plans.delete_plan(database, current_operator(), name))
    click.echo("deleted")
