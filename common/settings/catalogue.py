"""The models file, and the catalogue of served models and their endpoints."""

import re
import tomllib
from collections.abc import Container
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from common.settings import ModelSettings

RANDOM_PREFIX = "random:"

_SHAPE_PATTERN: Final = re.compile(r"([0-9]{2,4})x([0-9]{2,4})(?:\*([0-9]{1,2}))?")
_LATENT_PIXELS: Final = 8  # image pixels per latent pixel, in each direction


class Shape(NamedTuple):
    """A batch shape for which a model is warmed up: image size in pixels, and number of images."""

    width: int
    height: int
    samples: int


def _parse_shape(written: Any) -> Any:
    """Parse a shape such as `512x768` or, for four images at once, `512x768*4`.

    Raises:
        ValueError: the format is invalid, or a side is not a multiple of 8.
    """
    found = _SHAPE_PATTERN.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise ValueError(
            f"{written!r} is not a shape: write WIDTHxHEIGHT, or WIDTHxHEIGHT*IMAGES for several "
            "images at once, such as 512x768*4"
        )
    shape = Shape(int(found[1]), int(found[2]), int(found[3] or 1))
    if shape.width % _LATENT_PIXELS or shape.height % _LATENT_PIXELS or not shape.samples:
        raise ValueError(
            f"{written}: sides must be multiples of {_LATENT_PIXELS}, images at least 1"
        )
    return shape


class ModelEntry(BaseModel):
    """One model of the models file; its keys are documented at the top of deploy/models.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    source: str = Field(min_length=1)
    revision: str | None = None
    dtype: Literal["float32", "float16", "bfloat16"] = "float16"
    scheduler: str | None = None
    safety_checker: bool = False
    compile: Literal["off", "regional", "graphs"] = "off"
    shapes: tuple[Annotated[Shape, BeforeValidator(_parse_shape)], ...] = ()
    channels_last: bool | None = None
    endpoints: tuple[Endpoint, ...] = Field(min_length=1)
    licence: str

    @property
    def has_random_weights(self) -> bool:
        """Whether this is a stand-in model with random weights, which generates noise."""
        return self.source.startswith(RANDOM_PREFIX)

    @property
    def queue(self) -> str:
        """The name of the queue for jobs of this model."""
        return self.name


class Catalogue:
    """The served models, in the order of the models file."""

    def __init__(self, entries: tuple[ModelEntry, ...]) -> None:
        """Index `entries` by name; their names must be unique."""
        self.entries = entries
        self._by_name = {entry.name: entry for entry in entries}

    def get(self, name: str) -> ModelEntry | None:
        """Return the model with this name, or None if it is not served."""
        return self._by_name.get(name)

    def find_models(
        self, endpoint: Endpoint, names: Container[str] | None = None
    ) -> tuple[ModelEntry, ...]:
        """Return the models that serve `endpoint`; the first is the default.

        If `names` is given, only models with these names are returned.
        """
        return tuple(
            entry
            for entry in self.entries
            if endpoint in entry.endpoints and (names is None or entry.name in names)
        )

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues of all models, in the order of the models."""
        return tuple(entry.queue for entry in self.entries)


class _ModelsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: tuple[ModelEntry, ...] = Field(min_length=1)


def load_catalogue(settings: ModelSettings) -> Catalogue:
    """Read the models file and return the models named in `settings.serve`, or all if it is empty.

    A relative folder in an entry's `source` is resolved against the models file's folder.

    Raises:
        ConfigurationError: the file is missing or malformed, or `serve` names an unknown model.
    """
    path = settings.file or Path(str(files("deploy") / "models.toml"))
    parsed = _read_file(path)
    names = [entry.name for entry in parsed.models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"{path}: duplicate model names: {', '.join(sorted(twice))}")
    if unknown := set(settings.serve) - set(names):
        raise ConfigurationError(
            f"INFILL_MODELS_SERVE names {', '.join(sorted(unknown))}, but {path} has: "
            + ", ".join(names)
        )
    wanted = set(settings.serve or names)
    return Catalogue(
        tuple(
            _resolve_source(entry, path.parent) for entry in parsed.models if entry.name in wanted
        )
    )


def _read_file(path: Path) -> _ModelsFile:
    try:
        return _ModelsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigurationError(f"cannot read the models file {path}: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ConfigurationError(f"the models file {path} is invalid: {wrong}") from error
    except ValueError as error:  # no UTF-8, no TOML
        raise ConfigurationError(f"the models file {path} cannot be read: {error}") from error


def _resolve_source(entry: ModelEntry, folder: Path) -> ModelEntry:
    if not entry.source.startswith("."):
        return entry
    return entry.model_copy(update={"source": str((folder / entry.source).resolve())})
