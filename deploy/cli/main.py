"""The `infill` command with all its subcommands."""

import logging
import sys
from pathlib import Path

import click
import structlog

from common.domain.errors import InfillError
from deploy.cli.model_commands import group as models
from deploy.cli.operators.commands import COMMANDS
from deploy.cli.processes import bucket, dispatcher, gateway, migrate, worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="infill", message="%(prog)s %(version)s")
def infill() -> None:
    """Self-hosted diffusion inpainting as jobs."""


@infill.command()
@click.option("--home", type=click.Path(path_type=Path), default=Path(".infill"), show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def up(home: Path, port: int) -> None:
    """Run the whole stack on this machine until Ctrl-C; data is kept in HOME."""
    from deploy.local.up import up as serve  # noqa: PLC0415 only the local stack needs its wheels

    serve(home, port)


@infill.command()
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    default=Path(".infill/demo"),
    show_default=True,
    help="Folder for the images: before, mask, after, and all three side by side.",
)
def demo(images: Path) -> None:
    """Run one inpainting job from request to webhook on a temporary stack, and show it."""
    from deploy.local.demo import demo as show  # noqa: PLC0415 only the local stack needs its wheels

    show(images)


for command in (gateway, worker, dispatcher, migrate, bucket, models, *COMMANDS):
    infill.add_command(command)


def main() -> None:
    """Run the command line; for an `InfillError`, print its message and exit with status 1."""
    # For the operators' commands; the processes configure their own logs.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        infill()
    except InfillError as error:
        detail = f" ({error.detail})" if error.detail else ""  # meant for operators
        click.echo(f"infill: {error.message}{detail}", err=True)
        sys.exit(1)
