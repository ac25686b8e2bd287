"""The two that race: the engine, and a plain pipeline called for one request after another."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import torch

from common.domain.generation import Endpoint
from common.settings.catalogue import ModelEntry
from tests.bench.engine.architectures import Architecture
from tests.bench.engine.requests import MODEL, RaceRequest
from worker.engine.diffusers_engine import DiffusersEngine


class Contestant(Protocol):
    """Generates for requests of several threads."""

    def generate(self, one: RaceRequest) -> None: ...


class Engine:
    """The product's engine."""

    def __init__(
        self, architecture: Architecture, folder: Path, device: str, threads: int, **entry: Any
    ) -> None:
        given = {
            "name": MODEL,
            "source": str(folder),
            "dtype": architecture.dtype,
            "endpoints": (Endpoint.INPAINT,),
            "licence": "none",
            **entry,
        }
        self.engine = DiffusersEngine(
            [ModelEntry.model_validate(given)], folder, device, threads=threads
        )
        self.engine.load()

    def generate(self, one: RaceRequest) -> None:
        self.engine.generate(one.request, one.images)

    @property
    def busy(self) -> float:
        """The share of the last seconds under load in which the device was busy."""
        return self.engine._loop._utilization.ratio

    def pipeline(self) -> Any:
        """Return diffusers' own pipeline over the same weights."""
        with self.engine._models.borrow(MODEL) as model:
            return model.pipelines[Endpoint.INPAINT]

    def new_scheduler(self) -> Any:
        with self.engine._models.borrow(MODEL) as model:
            return type(model.scheduler).from_config(model.scheduler.config)


class Plain:
    """diffusers as its documentation shows it; requests that arrive meanwhile wait."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._pipeline = engine.pipeline()
        # One thread serves requests in order of arrival; a lock would not.
        self._thread = ThreadPoolExecutor(1)
        self._thread.submit(torch.set_num_threads, threads)

    def generate(self, one: RaceRequest) -> None:
        self._thread.submit(self._generate, one).result()

    def _generate(self, one: RaceRequest) -> None:
        request = one.request
        self._pipeline.scheduler = self._engine.new_scheduler()
        self._pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            image=one.images.init,
            mask_image=one.images.mask,
            width=request.width,
            height=request.height,
            strength=request.strength,
            num_inference_steps=request.inference_steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        )
