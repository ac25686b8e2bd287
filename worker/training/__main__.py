"""`python -m worker.training`: train the small model from a seed; resumes an interrupted run.

With a trained model, `sheet` generates example images, `measure` checks the quality requirements,
`card` writes the model card.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from diffusers import AutoencoderKL

from common.domain.errors import ConfigurationError
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
_TASKS: Final = ("train", "sheet", "measure", "card")
_ON_SHEET: Final = 16
_SHEET_SEED: Final = 7
_SHEET_SIZE: Final = 256  # pixels


def main() -> None:
    """Run the subcommand given on the command line."""
    arguments = _arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.what == "train":
        _train(arguments.work, arguments.model)
    elif arguments.what == "measure":
        _measure(arguments)
    elif arguments.what == "card":
        _write_card(arguments.work, arguments.model)
    if arguments.what in {"train", "sheet"}:
        _write_sheet(
            arguments.model, arguments.work / f"sheet-{arguments.size}.png", arguments.size
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.training", description=__doc__)
    parser.add_argument("what", nargs="?", default="train", choices=_TASKS)
    parser.add_argument("--model", type=Path, default=MODEL, help="folder of the finished model")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of checkpoints and losses")
    parser.add_argument("--size", type=int, default=_SHEET_SIZE, help="pixels of a side")
    parser.add_argument("--scenes", type=int, default=500, help="how many to measure")
    parser.add_argument("--few", type=int, default=50, help="how many for each other setting")
    parser.add_argument("--threads", type=int, help="threads of torch")
    return parser.parse_args()


def _train(work: Path, model: Path) -> None:
    autoencoder = _trained_autoencoder(work)
    denoiser = train_denoiser(autoencoder, SEED, work)
    save_model(autoencoder, denoiser, train_checker(SEED, work), model)
    print(f"{model}: {weight_bytes(model) / 1e6:.1f} MB of weights")


def _trained_autoencoder(work: Path) -> AutoencoderKL:
    folder = work / "autoencoder"
    if not folder.exists():
        train_autoencoder(SEED, work).save_pretrained(folder)
    return AutoencoderKL.from_pretrained(folder)


def _write_sheet(model: Path, file: Path, size: int) -> None:
    rng = np.random.default_rng(_SHEET_SEED)
    tasks = [random_task(rng, size) for _ in range(_ON_SHEET)]
    draw_sheet(tasks, fill(open_model(model), tasks), file)
    print(f"sheet: {file}")


def _write_card(work: Path, model: Path) -> None:
    courses = (TOGETHER, SHARPER, *(stage.course for stage in STAGES), COURSE)
    losses = [replace(course, folder=work).losses for course in courses]
    qualities = sorted(work.glob("quality-*.json"))
    _write_sheet(model, model / SHEET, _SHEET_SIZE)
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
