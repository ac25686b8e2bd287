"""Who races: the engine, and a plain pipeline that is called for one request after another."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import torch

from common.domain.generation import Endpoint
from common.settings.catalogue import ModelEntry
from tests.bench.engine.architectures import Architecture
from tests.bench.engine.orders import MODEL, Order
from worker.engine.diffusers_engine import DiffusersEngine


class Contestant(Protocol):
    """Draws orders for several threads."""

    def draw(self, order: Order) -> None: ...


class Engine:
    """Ours."""

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

    def draw(self, order: Order) -> None:
        self.engine.generate(order.request, order.pixels)

    @property
    def busy(self) -> float:
        """The part of the last seconds under load in which the device was at work."""
        return self.engine._loop._utilization.ratio

    def pipeline(self) -> Any:
        """Diffusers' own pipeline over the very same weights."""
        with self.engine._models.borrow(MODEL) as model:
            return model.pipelines[Endpoint.INPAINT]

    def new_scheduler(self) -> Any:
        with self.engine._models.borrow(MODEL) as model:
            return type(model.scheduler).from_config(model.scheduler.config)


class Plain:
    """diffusers as its documentation shows it; who comes while it draws waits."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._pipeline = engine.pipeline()
        # One thread, so that they are served in the order they came: a lock serves whom it will.
        self._turn = ThreadPoolExecutor(1)
        self._turn.submit(torch.set_num_threads, threads)

    def draw(self, order: Order) -> None:
        self._turn.submit(self._draw, order).result()

    def _draw(self, order: Order) -> None:
        request = order.request
        self._pipeline.scheduler = self._engine.new_scheduler()
        self._pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            image=order.pixels.init,
            mask_image=order.pixels.mask,
            width=request.width,
            height=request.height,
            strength=request.strength,
            num_inference_steps=request.inference_steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
        )
