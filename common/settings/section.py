"""How settings are read: from the environment, once, each section by the part that needs it."""

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

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
            prefix = self.model_config.get("env_prefix", "")
            lines = [
                f"{prefix}{'.'.join(str(part) for part in problem['loc'])}".upper()
                + f": {problem['msg']} (given: {problem['input']!r})"
                for problem in error.errors()
            ]
            raise ConfigurationError("bad settings: " + "; ".join(lines)) from error


def prefixed(prefix: str) -> SettingsConfigDict:
    """Give the model configuration of a section whose variables start with `prefix`."""
    return SettingsConfigDict(env_prefix=prefix, frozen=True, extra="ignore", env_ignore_empty=True)


def is_given(variable: str) -> bool:
    """Tell whether the operator set this variable to something."""
    return bool(os.environ.get(variable))  # noqa: TID251 this is the place that may


def export(environment: Mapping[str, str]) -> None:
    """Set variables for this process and its children; for a program that starts the others."""
    os.environ.update(environment)  # noqa: TID251 this is the place that may
