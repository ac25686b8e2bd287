"""Every use case has exactly one admin route and one command.

What a route or a command calls is read from its code, with names resolved in their module: so
the use case itself is found, whatever its name there.
"""

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import click
from fastapi.routing import APIRoute

from api.admin.dependencies import PREFIX
from api.admin.routes import router
from deploy.cli.main import infill
from deploy.cli.operators.commands import COMMANDS
from tests.integration.operations.use_cases import UseCase, use_cases

# The one operator command that only generates random bytes, without the database.
OF_NO_USE_CASE = {"keys webhook"}


def called(function: Any) -> Iterator[UseCase]:
    """Yield the use cases called in `function`, and in helpers of its module that it calls."""
    known = use_cases()
    plain = inspect.unwrap(function)
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(plain)))):
        if not isinstance(node, ast.Call):
            continue
        target = resolved(node.func, plain.__globals__)
        if target in known:
            yield target
        elif isinstance(target, FunctionType) and target.__module__ == plain.__module__:
            yield from called(target)


def resolved(node: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = resolved(node.value, names)
        return getattr(owner, node.attr, None) if isinstance(owner, ModuleType) else None
    return None


def routes() -> dict[str, Any]:
    return {
        f"{method} {route.path}": route.endpoint
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
    }


def commands(command: click.Command, *path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, *path, name)
    else:
        yield " ".join(path), command.callback


def all_commands() -> dict[str, Any]:
    found = dict(commands(infill))
    mine = {name for name in found if name.split()[0] in {command.name for command in COMMANDS}}
    return {name: found[name] for name in mine - OF_NO_USE_CASE - {"tenants rotate-secret"}}


def test_every_use_case_has_exactly_one_route() -> None:
    calls = {name: list(called(endpoint)) for name, endpoint in routes().items()}
    assert {name: found for name, found in calls.items() if len(found) != 1} == {}
    assert Counter(found for (found,) in calls.values()) == Counter(use_cases())


def test_every_use_case_has_exactly_one_command() -> None:
    calls = {name: list(called(callback)) for name, callback in all_commands().items()}
    assert {name: found for name, found in calls.items() if len(found) != 1} == {}
    assert Counter(found for (found,) in calls.values()) == Counter(use_cases())


def test_a_command_alias_is_the_same_command() -> None:
    found = dict(commands(infill))
    assert found["tenants rotate-secret"] is found["secrets rotate"]


def test_all_routes_have_the_admin_prefix() -> None:
    assert all(name.split()[1].startswith(PREFIX) for name in routes())
    assert len(use_cases()) >= 29
