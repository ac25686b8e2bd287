"""State of a model's local weights, and their download; works without loading torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from common.domain.errors import ConfigurationError
from common.settings.catalogue import RANDOM_PREFIX, ModelEntry

INDEX: Final = "model_index.json"
# Files of a repository that are used: configurations, vocabularies, and the weights in the
# components' folders. Many repositories hold the same weights again, in one file at the top or in
# other precisions (`….fp16.safetensors`); those are not used.
_ALLOW_PATTERNS: Final = ("*.json", "*.txt", "*.model", "*/*.safetensors")
_IGNORE_PATTERNS: Final = ("*/*.*.safetensors",)
_CHECKER: Final = "safety_checker"


@dataclass(frozen=True, slots=True)
class Weights:
    """The state of a model's local weights; they are complete if nothing is `missing`.

    `folder` is None if there are no local weights. `missing` names the missing components or the
    missing index file. `bytes` is the size of all files in the folder.
    """

    folder: Path | None
    missing: tuple[str, ...]
    bytes: int


def find_weights(entry: ModelEntry, directory: Path) -> Weights:
    """Return the state of the local weights of `entry`.

    The weights are expected in the entry's folder, in the Hugging Face cache, or, for a stand-in
    model, in `directory`.
    """
    folder = _folder(entry, directory)
    if folder is None or not (folder / INDEX).is_file():
        return Weights(None, (INDEX,), 0)
    files = [path for path in folder.rglob("*") if path.is_file()]
    return Weights(folder, _missing(entry, folder), sum(path.stat().st_size for path in files))


def pull_weights(entry: ModelEntry) -> Path:
    """Download the missing weights of `entry` into the Hugging Face cache; return their folder.

    An interrupted download continues where it stopped.

    Raises:
        ConfigurationError: the hub cannot be reached, or the weights do not exist or are not
            accessible.
    """
    try:
        return Path(
            snapshot_download(
                entry.source,
                revision=entry.revision,
                allow_patterns=_ALLOW_PATTERNS,
                ignore_patterns=_IGNORE_PATTERNS,
            )
        )
    except Exception as error:
        raise ConfigurationError(
            f"model {entry.name}: {entry.source} could not be fetched: {_reason(entry, error)}",
            detail=str(error),
        ) from error


def is_on_a_hub(entry: ModelEntry) -> bool:
    """Return whether `entry` comes from a Hugging Face repository, not a folder or a stand-in."""
    return not entry.has_random_weights and not Path(entry.source).is_absolute()


def _folder(entry: ModelEntry, directory: Path) -> Path | None:
    if entry.has_random_weights:
        built = directory.glob(f"random-{entry.source.removeprefix(RANDOM_PREFIX)}-*")
        return max(built, default=None)
    if not is_on_a_hub(entry):
        return Path(entry.source)
    index = try_to_load_from_cache(entry.source, INDEX, revision=entry.revision)
    return Path(index).parent if isinstance(index, str) else None


def _missing(entry: ModelEntry, folder: Path) -> tuple[str, ...]:
    index: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    components = [
        name
        for name, component in index.items()
        if isinstance(component, list) and component[0] is not None and not name.startswith("_")
    ]
    if not entry.safety_checker and _CHECKER in components:
        components.remove(_CHECKER)
    return tuple(component for component in components if not _is_complete(folder / component))


def _is_complete(component: Path) -> bool:
    """Return whether the folder `component` exists, with all weights if it has a config.json."""
    if not (component / "config.json").is_file():
        return component.is_dir()
    shards = [
        json.loads(index.read_text("utf-8")) for index in component.glob("*.safetensors.index.json")
    ]
    names = {name for index in shards for name in index["weight_map"].values()}
    if names:
        return all((component / name).is_file() for name in names)
    return any(component.glob("*.safetensors"))


def _reason(entry: ModelEntry, error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return "access requires accepting its licence on the hub; accept it and set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"it has no revision {entry.revision}; correct `revision`"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no such repository, or it is private and needs HF_TOKEN"
    if isinstance(error, LocalEntryNotFoundError):
        return (
            "the hub cannot be reached and the local copy is incomplete; retry with a connection "
            "to the hub, or copy the hub's cache from another machine"
        )
    return "see the detail; downloaded files are kept, so retry"
