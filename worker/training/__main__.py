"""`python -m worker.training`: train the small demo model from a seed; resumes an interrupted run.

With a trained model, `sheet` generates example images, `measure` checks the quality requirements,
`card` writes the model card.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL

from common.domain.errors import ConfigurationError
from worker.training.learning.scale import FULL, TINY, Scale
from worker.training.learning.stages import STAGES
from worker.training.measuring.card import SHEET, write_card
from worker.training.measuring.quality import measure, write_measurements
from worker.training.measuring.sheet import draw_sheet
from worker.training.measuring.tasks import GUIDANCE, fill, random_task
from worker.training.networks.autoencoder import SHARPER, TOGETHER, train_autoencoder
from worker.training.networks.denoiser import train_denoiser
from worker.training.networks.pipeline_folder import open_model, save_model, weight_bytes
from worker.training.networks.safety_checker import COURSE, train_checker

SEED: Final = 20_240_301
MODEL: Final = Path("deploy/models/shapes-inpainting")
WORK: Final = Path(".infill/training")
COMMANDS: Final = ("train", "sheet", "measure", "card")
_ON_SHEET: Final = 16
_SHEET_SEED: Final = 7
_SHEET_SIZE: Final = 256  # pixels


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the subcommand named in `arguments` (default: the process's command line)."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.what == "train":
        _train(options.work, options.model, TINY if options.tiny else FULL)
    elif options.what == "measure":
        _measure(options)
    elif options.what == "card":
        _write_card(options.work, options.model, options.size)
    if options.what in {"train", "sheet"}:
        _write_sheet(options.model, options.work / f"sheet-{options.size}.png", options.size)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m worker.training", description=__doc__)
    parser.add_argument("what", nargs="?", default="train", choices=COMMANDS)
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of the finished model")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of checkpoints and losses")
    parser.add_argument("--size", type=int, default=_SHEET_SIZE, help="pixels of a side")
    parser.add_argument("--scenes", type=int, default=500, help="how many to measure")
    parser.add_argument("--few", type=int, default=50, help="how many for each other setting")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument("--tiny", action="store_true", help="train a step of every course")
    return parser


def _train(work: Path, model: Path, scale: Scale) -> None:
    autoencoder = _trained_autoencoder(work, scale)
    denoiser = train_denoiser(autoencoder, SEED, work, scale)
    save_model(autoencoder, denoiser, train_checker(SEED, work, scale), model)
    print(f"{model}: {weight_bytes(model) / 1e6:.1f} MB of weights")


def _trained_autoencoder(work: Path, scale: Scale) -> AutoencoderKL:
    folder = work / "autoencoder"
    if not folder.exists():
        train_autoencoder(SEED, work, scale).save_pretrained(folder)
    return AutoencoderKL.from_pretrained(folder)


def _write_sheet(model: Path, file: Path, size: int) -> None:
    rng = np.random.default_rng(_SHEET_SEED)
    tasks = [random_task(rng, size) for _ in range(_ON_SHEET)]
    draw_sheet(tasks, fill(open_model(model), tasks), file)
    print(f"sheet: {file}")


def _write_card(work: Path, model: Path, size: int) -> None:
    courses = (TOGETHER, SHARPER, *(stage.course for stage in STAGES), COURSE)
    losses = [replace(course, folder=work).losses for course in courses]
    qualities = sorted(work.glob("quality-*.json"))
    _write_sheet(model, model / SHEET, size)
    write_card(model, losses, qualities, seed=SEED, guidance=GUIDANCE)


def _measure(arguments: argparse.Namespace) -> None:
    measurements = measure(
        open_model(arguments.model), arguments.scenes, arguments.few, arguments.size
    )
    for measurement in measurements:
        print(f"{measurement.name:<52}{measurement.value:>8.3f}  required: {measurement.required}")
    write_measurements(arguments.work / f"quality-{arguments.size}.json", measurements)
    failed = [measurement.name for measurement in measurements if not measurement.passed]
    if failed:
        raise ConfigurationError("requirements not met: " + ", ".join(failed))


if __name__ == "__main__":
    main()
