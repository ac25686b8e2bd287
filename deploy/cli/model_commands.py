"""The `infill models` commands: list models, download their weights, check that they work."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import click

from common.domain.errors import ConfigurationError
from common.domain.generation import Endpoint
from common.settings import Settings
from common.settings.catalogue import RANDOM_PREFIX, Catalogue, ModelEntry, load_catalogue
from deploy.cli.operators.printing import json_option, show_json, table

COLUMNS = (
    *("name", "source", "endpoints", "default_for", "scheduler", "licence", "safety", "served"),
    *("weights", "size"),
)
MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the output of `infill models list`."""

    name: str
    source: str
    endpoints: str
    default_for: str | None
    scheduler: str
    licence: str
    safety: str
    served: str
    weights: str
    size: str | None


@click.group("models")
def group() -> None:
    """List, pull and check the models of the models file."""


@group.command("list")
@json_option
def list_all(*, as_json: bool) -> None:
    """List the models of the models file, and whether their weights are on this machine."""
    served = load_catalogue(Settings().models)
    rows = [_row(entry, served) for entry in _all_models().entries]
    if as_json:
        show_json(rows)
    else:
        click.echo(table(rows, COLUMNS), nl=False)


@group.command("pull")
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Pull every model that is served.")
def pull(names: Sequence[str], *, everything: bool) -> None:
    """Download the weights of models NAMES from the hub, or build them for stand-ins."""
    if not names and not everything:
        raise click.UsageError("name at least one model, or use --all")
    for entry in load_catalogue(Settings().models).entries if everything else _named(names):
        click.echo(f"{entry.name}: {_pulled(entry)}")


@group.command("check")
@click.argument("names", nargs=-1, required=True)
@click.option("--device", help="Torch device; by default that of a worker.")
def check(names: Sequence[str], device: str | None) -> None:
    """Load models NAMES, generate a tiny image with each, and report problems."""
    from worker.engine.models.check import check_model  # noqa: PLC0415 loads torch

    settings = Settings()
    problems = []
    for entry in _named(names):
        found = check_model(entry, settings.models.directory, device or settings.worker.device)
        problems += found
        if not found:
            click.echo(f"{entry.name}: works for " + ", ".join(entry.endpoints))
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)


def _all_models() -> Catalogue:
    """Return all models of the models file, served or not."""
    return load_catalogue(Settings().models.model_copy(update={"serve": ()}))


def _named(names: Sequence[str]) -> list[ModelEntry]:
    catalogue = _all_models()
    found = [catalogue.get(name) for name in names]
    if unknown := [name for name, entry in zip(names, found, strict=True) if entry is None]:
        raise ConfigurationError(
            f"unknown models: {', '.join(unknown)}; the models file has: "
            + ", ".join(catalogue.queues)
        )
    return [entry for entry in found if entry is not None]


def _row(entry: ModelEntry, served: Catalogue) -> Row:
    from worker.engine.models.weights import find_weights  # noqa: PLC0415 the hub's client

    weights = find_weights(entry, Settings().models.directory)
    state = "present" if not weights.missing else "built when needed"
    if weights.missing and not entry.has_random_weights:
        state = f"lacks {', '.join(weights.missing)}" if weights.folder else "missing"
    defaults = [endpoint for endpoint in Endpoint if served.find_models(endpoint)[:1] == (entry,)]
    return Row(
        name=entry.name,
        source=entry.source,
        endpoints=", ".join(entry.endpoints),
        default_for=", ".join(defaults) or None,
        scheduler=entry.scheduler or "the model's own",
        licence=entry.licence,
        safety="checked" if entry.safety_checker else "no checker",
        served="yes" if served.get(entry.name) else "no",
        weights=state,
        size=f"{weights.bytes / MEGABYTE:,.0f} MB" if weights.folder else None,
    )


def _pulled(entry: ModelEntry) -> str:
    from worker.engine.models.weights import is_on_a_hub, pull_weights  # noqa: PLC0415 as above

    if entry.has_random_weights:
        from worker.engine.models.stand_in import stand_in_folder  # noqa: PLC0415 loads torch

        kind = entry.source.removeprefix(RANDOM_PREFIX)
        return f"built in {stand_in_folder(kind, Settings().models.directory)}"
    if not is_on_a_hub(entry):
        return f"is in the folder {entry.source}; nothing to download"
    return f"downloaded to {pull_weights(entry)}"
