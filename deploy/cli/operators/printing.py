"""What people read: tables and lists of facts; and JSON for programs."""

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
    "--json", "as_json", is_flag=True, help="Print JSON, as the admin API answers."
)


def show_list(listed: Listed[Any], columns: Sequence[str], *, as_json: bool) -> None:
    """Print one page of a list, and how to get at the next."""
    if as_json:
        show_json(listed)
        return
    click.echo(table(listed.items, columns), nl=False)
    if listed.next_cursor is not None:
        click.echo(f"there are more: --cursor {listed.next_cursor}", err=True)


def show_record(record: Any, *, as_json: bool) -> None:
    """Print one record, a fact to a line."""
    if as_json:
        show_json(record)
        return
    for name, value in asdict(record).items():
        click.echo(f"{_title(name)}: {format_value(value)}")


def show_json(answer: Any) -> None:
    """Print what a use-case gave as JSON."""
    click.echo(encode_json(answer, indented=True))


def table(rows: Sequence[Any], columns: Sequence[str]) -> str:
    """Give rows under their titles, each column as wide as its widest cell."""
    cells = [[_title(column) for column in columns]]
    cells += [[format_value(getattr(row, column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )
    return "".join(f"{line}\n" for line in lines)


def format_value(value: Any) -> str:
    """Write one value for people; times are in UTC."""
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, dict):
        return orjson.dumps(value, default=str).decode()
    return str(value)


def _title(column: str) -> str:
    return column.replace("_", " ")
