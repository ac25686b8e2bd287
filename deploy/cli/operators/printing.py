"""Output of commands: tables and records for people, JSON for programs."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeVar

import click
import orjson

from common.operations.json_output import encode_json
from common.operations.paging import Listed

F = TypeVar("F", bound=Callable[..., Any])

json_option: Callable[[F], F] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON like that of the admin API."
)


def show_list(listed: Listed[Any], columns: Sequence[str], *, as_json: bool) -> None:
    """Print a page of a list as a table or JSON, and the option that requests the next page."""
    if as_json:
        show_json(listed)
        return
    click.echo(table(listed.items, columns), nl=False)
    if listed.next_cursor is not None:
        click.echo(f"there are more: --cursor {listed.next_cursor}", err=True)


def show_record(record: Any, *, as_json: bool) -> None:
    """Print one record as JSON, or as text with one field per line."""
    if as_json:
        show_json(record)
        return
    for name, value in asdict(record).items():
        click.echo(f"{_title(name)}: {format_value(value)}")


def show_json(result: Any) -> None:
    """Print the result of a use case as indented JSON."""
    click.echo(encode_json(result, indented=True))


def table(rows: Sequence[Any], columns: Sequence[str]) -> str:
    """Return `rows` as a text table with a header line; cells are padded to align the columns."""
    cells = [[_title(column) for column in columns]]
    cells += [[format_value(getattr(row, column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
    return "".join(f"{line}\n" for line in lines)


def format_value(value: Any) -> str:
    """Return `value` as human-readable text; times are in UTC, and None is shown as `-`."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, dict):
        return orjson.dumps(value, default=str).decode()
    return str(value)


def _title(column: str) -> str:
    return column.replace("_", " ")
