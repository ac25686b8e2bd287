"""How settings are read: from the environment, once, each section by the part that needs it."""

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
    """A group of settings; field `x` of a section with prefix `P` is read from variable `Px`."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix="INFILL_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    def __init__(self, **given: Any) -> None:
        """Read the section; a bad value is the operator's to mend, so the error names it.

        Raises:
            ConfigurationError: names each variable, what was wrong and what was given.
        """
        try:
            super().__init__(**given)
        except ValidationError as error:
            lines = [self._describe_problem(problem) for problem in error.errors()]
            raise ConfigurationError("bad settings: " + "; ".join(lines)) from error
        except SettingsError as error:
            field = re.findall(r'"(\w+)"', str(error))[0]
            raise ConfigurationError(
                f"bad settings: {self._variable_name(field)}: not JSON: {error.__cause__}"
            ) from error

    @classmethod
    def _describe_problem(cls, problem: ErrorDetails) -> str:
        first, *rest = problem["loc"] or ("*",)  # none where fields do not fit together
        # Beside places in a list, pydantic names the validators it tried: nobody's business.
        places = "".join(f"[{part}]" for part in rest if isinstance(part, int))
        said = f"{cls._variable_name(str(first))}{places}: {problem['msg']}"
        field = cls.model_fields.get(str(first))
        if field is None or SecretStr in {field.annotation, *get_args(field.annotation)}:
            return said
        return f"{said} (given: {problem['input']!r})"

    @classmethod
    def _variable_name(cls, field: str) -> str:
        return f"{cls.model_config.get('env_prefix', '')}{field}".upper()


def section_config(prefix: str) -> SettingsConfigDict:
    """Give the model configuration of a section whose variables start with `prefix`."""
    return SettingsConfigDict(env_prefix=prefix, frozen=True, extra="ignore", env_ignore_empty=True)


def is_set(variable: str) -> bool:
    """Tell whether the operator set this variable to something."""
    return bool(os.environ.get(variable))  # noqa: TID251 this is the place that may


def export_environment(environment: Mapping[str, str]) -> None:
    """Set variables for this process and its children; for a program that starts the others."""
    os.environ.update(environment)  # noqa: TID251 this is the place that may
