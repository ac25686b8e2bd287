"""The `infill usage` command."""

from datetime import date, datetime

import click

from common.operations import usage
from common.operations.paging import Listed
from common.runtime.clock import utc_now
from deploy.cli.operators.printing import json_option, show_list
from deploy.cli.operators.run import run_operation

COLUMNS = (
    *("tenant", "day", "model", "jobs", "images", "megapixel_steps", "gpu_milliseconds"),
    "flagged_images",
)
DAY = click.DateTime(["%Y-%m-%d"])


@click.command("usage")
@click.option("--tenant", help="Only usage of this tenant.")
@click.option("--since", type=DAY, help="First day in UTC; by default the first of this month.")
@click.option("--until", type=DAY, help="Last day in UTC; by default today.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@json_option
def report(
    tenant: str | None,
    since: datetime | None,
    until: datetime | None,
    *,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Report usage per tenant, day and model."""
    first, last = _period(since, until)
    lines = run_operation(
        lambda database: usage.report_usage(database, tenant=tenant, since=first, until=last)
    )
    if as_csv:
        click.echo(usage.to_csv(lines), nl=False)
    else:
        show_list(Listed(lines), COLUMNS, as_json=as_json)


def _period(since: datetime | None, until: datetime | None) -> tuple[date, date]:
    today = utc_now().date()
    first = today.replace(day=1) if since is None else since.date()
    return first, today if until is None else until.date()
