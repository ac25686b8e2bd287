"""The pages are complete: links have a target, tables have every metric, route and field."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from fastapi.routing import APIRoute
from prometheus_client.metrics import MetricWrapperBase

import api.metrics
import common.runtime.metrics
from api.admin.dependencies import PREFIX as ADMIN_PREFIX
from api.admin.routes import router
from api.dialects.v1 import webhooks
from api.dialects.v3.openapi import BODIES
from common.domain.limits import NAMES
from common.domain.schedulers import SCHEDULERS, UNSUPPORTED
from deploy.cli.main import infill
from deploy.cli.operators.commands import COMMANDS

OF_OPERATORS = {command.name for command in COMMANDS}
ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_have_a_target(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    for link in links:
        target, _, anchor = link.partition("#")
        if "://" in target:
            continue
        linked = page.parent / target if target else page
        assert linked.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {heading.lower().replace(" ", "-") for heading in headings}, link


def test_every_decision_is_listed() -> None:
    listed = set(re.findall(r"\((\d{4}-[^)]+)\)", text("docs/decisions/README.md")))
    assert listed == {path.name for path in ROOT.glob("docs/decisions/0*.md")}


def commands(command: click.Command, *path: str) -> Iterator[str]:
    """Yield the words of every command below this one."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *path, name)
    else:
        yield " ".join(path)


def exposed_name(metric: MetricWrapperBase) -> str:
    (family,) = metric.describe()
    return f"{family.name}_total" if family.type == "counter" else family.name


def test_the_operations_page_has_every_metric() -> None:
    defined = {
        exposed_name(value)
        for module in (api.metrics, common.runtime.metrics)
        for value in vars(module).values()
        if isinstance(value, MetricWrapperBase)
    }
    listed = set(re.findall(r"^\| `(infill_\w+)", text("docs/operations.md"), re.MULTILINE))
    assert listed == defined


def test_the_administration_page_has_every_command_and_route() -> None:
    page = text("docs/administration.md")
    listed = set(re.findall(r"`infill ([a-z-]+(?: [a-z-]+)?)` \|", page))
    defined = {name for name in commands(infill) if name.split()[0] in OF_OPERATORS}
    assert listed == defined - {"keys webhook", "tenants rotate-secret"}
    shown = set(re.findall(r"`([A-Z]+ /\S+)` \|$", page, re.MULTILINE))
    assert shown == {
        f"{method} {route.path.removeprefix(ADMIN_PREFIX)}"
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }


def test_the_webhooks_page_has_every_route() -> None:
    shown = re.findall(r"^\| `([A-Z]+ /\S+)` \|", text("docs/webhooks.md"), re.MULTILINE)
    assert sorted(shown) == sorted(
        f"{method} {route.path.removeprefix(webhooks.router.prefix)}"
        for route in webhooks.router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    )


def test_the_administration_page_has_every_limit() -> None:
    page = text("docs/administration.md")
    assert [name for name in sorted(NAMES) if f"| `{name}` |" not in page] == []


def test_the_api_page_has_every_scheduler() -> None:
    page = text("docs/api.md")
    names = [name for entry in SCHEDULERS for name in (entry.name, *entry.aliases)]
    assert [name for name in (*names, *UNSUPPORTED) if f"`{name}`" not in page] == []


def test_the_api_page_has_every_field() -> None:
    fields = {
        field.alias or name for body in BODIES.values() for name, field in body.model_fields.items()
    }
    page = text("docs/api.md")
    assert [name for name in sorted(fields) if f"`{name}`" not in page] == []
