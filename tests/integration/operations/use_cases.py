"""The list of all use cases, read from the code, so that a new one is not forgotten."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import common.operations
from common.operations.audit import Operator
from common.postgres.database import Database

UseCase = Callable[..., Any]


def modules() -> list[ModuleType]:
    """Return the modules of `common.operations`."""
    return [
        importlib.import_module(found.name)
        for found in pkgutil.iter_modules(common.operations.__path__, "common.operations.")
    ]


def use_cases() -> set[UseCase]:
    """Return every public coroutine with a Database argument."""
    return {
        member
        for module in modules()
        for name, member in vars(module).items()
        if isinstance(member, FunctionType)
        and member.__module__ == module.__name__
        and not name.startswith("_")
        and inspect.iscoroutinefunction(member)
        and Database in member.__annotations__.values()
    }


def changing_use_cases() -> set[UseCase]:
    """Return the use cases that change something, which have an Operator argument."""
    return {found for found in use_cases() if Operator in found.__annotations__.values()}
