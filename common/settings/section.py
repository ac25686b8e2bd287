"""Base class of settings sections, which are read from environment variables."""

import os
import re
from collections.abc import Mapping
from typing import Any, ClassVar, get_args

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from common.domain.errors import ConfigurationError


class Section(BaseSettings):
    """A group of settings; field `x` of a section with prefix `P` is read from variable `PX`."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="INFILL_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    def __init__(self, **given: Any) -> None:
        """Read the section from the environment.

        Raises:
            ConfigurationError: a variable is invalid; the error names every invalid variable and
                describes the problem.
        """
        try:
            super().__init__(**given)
        except ValidationError as error:
            lines = [self._describe_problem(problem) for problem in error.errors()]
            raise ConfigurationError("invalid settings: " + "; ".join(lines)) from error
        except SettingsError as error:
            field = re.findall(r'"(\w+)"', str(error))[0]
            raise ConfigurationError(
                f"invalid settings: {self._variable_name(field)}: not JSON: {error.__cause__}"
            ) from error

    @classmethod
    def _describe_problem(cls, problem: ErrorDetails) -> str:
        first, *rest = problem["loc"] or ("*",)  # no location if fields contradict each other
        # The location names list indexes, and validators that pydantic tried, which are left out.
        indexes = "".join(f"[{part}]" for part in rest if isinstance(part, int))
        reason = problem["msg"].removeprefix("Value error, ")
        message = f"{cls._variable_name(str(first))}{indexes}: {reason}"
        field = cls.model_fields.get(str(first))
        if field is None or _is_secret(field.annotation):
            return message
        return f"{message} (given: {problem['input']!r})"

    @classmethod
    def _variable_name(cls, field: str) -> str:
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))


def section_config(prefix: str) -> SettingsConfigDict:
    """Return the pydantic configuration of a section whose variables begin with `prefix`."""
    return SettingsConfigDict(
        env_prefix=prefix,
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        hide_input_in_errors=True,  # a check of a whole section has all its secrets as input
    )


def is_set(variable: str) -> bool:
    """Return whether an environment variable is set and not empty."""
    return bool(os.environ.get(variable))  # noqa: TID251 this package reads the environment


def export_environment(environment: Mapping[str, str]) -> None:
    """Set environment variables of this process, which its child processes inherit."""
    os.environ.update(environment)  # noqa: TID251 this package owns the environment
