"""The models file: which models this installation serves, and for which endpoints."""

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
_LATENT_PIXELS: Final = 8  # pixels that one latent stands for


class Shape(NamedTuple):
    """What a model is warmed up for: so many images of this size (pixels) at once."""

    width: int
    height: int
    samples: int


def _parse_shape(written: Any) -> Any:
    """Read `512x768` or, of four images at once, `512x768*4`.

    Raises:
        ValueError: it is written otherwise, or a side does not divide by 8.
    """
    found = _SHAPE_PATTERN.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise ValueError(
            f"{written!r} is no shape: write WIDTHxHEIGHT, or WIDTHxHEIGHT*IMAGES for several "
            "at once, such as 512x768*4"
        )
    shape = Shape(int(found[1]), int(found[2]), int(found[3] or 1))
    if shape.width % _LATENT_PIXELS or shape.height % _LATENT_PIXELS or not shape.samples:
        raise ValueError(
            f"{written}: sides are multiples of {_LATENT_PIXELS}, and one image at least"
        )
    return shape


class ModelEntry(BaseModel):
    """One model; the keys are explained at the top of deploy/models.toml."""

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
        """Whether this is a stand-in that draws noise."""
        return self.source.startswith(RANDOM_PREFIX)

    @property
    def queue(self) -> str:
        """The queue its jobs wait in."""
        return self.name


class Catalogue:
    """The models served, in the order of the file."""

    def __init__(self, entries: tuple[ModelEntry, ...]) -> None:
        """Keep `entries`; their names must be unique."""
        self.entries = entries
        self._by_name = {entry.name: entry for entry in entries}

    def get(self, name: str) -> ModelEntry | None:
        """Give the model of that name, None if it is not served."""
        return self._by_name.get(name)

    def find_models(
        self, endpoint: Endpoint, names: Container[str] | None = None
    ) -> tuple[ModelEntry, ...]:
        """Give the models that serve `endpoint`, of those named; the first is its default."""
        return tuple(
            entry
            for entry in self.entries
            if endpoint in entry.endpoints and (names is None or entry.name in names)
        )

    @property
    def queues(self) -> tuple[str, ...]:
        """Every queue, in the order of the models."""
        return tuple(entry.queue for entry in self.entries)


class _ModelsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: tuple[ModelEntry, ...] = Field(min_length=1)


def load_catalogue(settings: ModelSettings) -> Catalogue:
    """Read the models file and keep the models named by `settings.serve` (empty: all).

    A relative folder in `source` is taken relative to the file.

    Raises:
        ConfigurationError: the file is missing or malformed, or names an unknown model.
    """
    path = settings.file or Path(str(files("deploy") / "models.toml"))
    parsed = _read_file(path)
    names = [entry.name for entry in parsed.models]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigurationError(f"{path}: models named twice: {', '.join(sorted(twice))}")
    if unknown := set(settings.serve) - set(names):
        raise ConfigurationError(
            f"INFILL_MODELS_SERVE names {', '.join(sorted(unknown))}, but {path} has only: "
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
        raise ConfigurationError(f"the models file {path} is not right: {wrong}") from error
    except ValueError as error:  # no UTF-8, no TOML
        raise ConfigurationError(f"the models file {path} cannot be read: {error}") from error


def _resolve_source(entry: ModelEntry, folder: Path) -> ModelEntry:
    if not entry.source.startswith("."):
        return entry
    return entry.model_copy(update={"source": str((folder / entry.source).resolve())})
