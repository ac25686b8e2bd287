"""All operator commands, in the order of the help text."""

from typing import Final

import click

from deploy.cli.operators import admin_keys, audit, jobs, keys, plans, secrets, tenants, usage

# An alias of `infill secrets rotate`.
tenants.group.add_command(secrets.rotate, "rotate-secret")

COMMANDS: Final[tuple[click.Command, ...]] = (
    tenants.group,
    plans.group,
    keys.group,
    secrets.group,
    admin_keys.group,
    usage.report,
    jobs.list_queues,
    jobs.group,
    audit.list_all,
)
