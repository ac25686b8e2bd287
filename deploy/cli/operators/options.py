"""Command-line options shared by several commands, as decorators."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Final

import click
import orjson

from common.operations.paging import DEFAULT_LIMIT, LARGEST_ID, LARGEST_LIMIT, Page

ID: Final = click.IntRange(1, LARGEST_ID)

Command = Callable[..., None]


def page_options(command: Command) -> Command:
    """Add the options --limit and --cursor to `command`, which gets them as the argument `page`."""

    @click.option(
        "--limit",
        type=click.IntRange(1, LARGEST_LIMIT),
        default=DEFAULT_LIMIT,
        show_default=True,
        help="Maximum number of items.",
    )
    @click.option("--cursor", help="Cursor printed below the previous page.")
    @wraps(command)
    def with_page(limit: int, cursor: str | None, **given: Any) -> None:
        command(page=Page(limit, cursor), **given)

    return with_page


def limit_options(command: Command) -> Command:
    """Add the repeatable option --set NAME=JSON to `command`, which gets a mapping as `limits`."""

    @click.option(
        "--set",
        "entries",
        multiple=True,
        metavar="NAME=VALUE",
        help="A limit with its value in JSON: max_running=4, models='[\"sd15\"]', max_queued=null.",
    )
    @wraps(command)
    def with_limits(entries: Sequence[str], **given: Any) -> None:
        command(limits=_parse_limits(entries), **given)

    return with_limits


def expiry_option(command: Command) -> Command:
    """Add the option --expires-at to `command`, which gets it as `expires_at` in UTC, or None."""

    @click.option(
        "--expires-at",
        type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
        help="When it expires, in UTC; without, it is valid until it is revoked.",
    )
    @wraps(command)
    def with_expiry(expires_at: datetime | None, **given: Any) -> None:
        aware = None if expires_at is None else expires_at.replace(tzinfo=UTC)
        command(expires_at=aware, **given)

    return with_expiry


def _parse_limits(entries: Sequence[str]) -> Mapping[str, Any]:
    limits = {}
    for entry in entries:
        name, separator, value = entry.partition("=")
        try:
            limits[name] = orjson.loads(value)
        except orjson.JSONDecodeError:
            separator = ""
        if not separator:
            raise click.BadParameter(
                f"{entry!r} is not NAME=VALUE with a value in JSON, such as max_running=4",
                param_hint="--set",
            )
    return limits
