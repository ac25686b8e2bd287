"""The timesteps of one image, and the number of steps for a given strength."""

from dataclasses import dataclass
from inspect import signature
from itertools import count
from math import floor
from typing import Any, Final, Self

from common.domain.errors import UnsupportedRequestError, pluralize
from common.domain.generation import Endpoint, GenerationRequest

# A smaller strength has no visible effect, and would need more steps than models are trained on.
LEAST_STRENGTH: Final = 0.01


@dataclass(frozen=True, slots=True)
class Timesteps:
    """One image's own scheduler and the timesteps to run, the noisiest first.

    `values` are zero-dimensional tensors on the host, so reading them does not wait for the device.
    `takes_generator` is true if the scheduler's `step` accepts a random generator.
    """

    scheduler: Any
    values: tuple[Any, ...]
    takes_generator: bool

    @classmethod
    def of(cls, request: GenerationRequest, scheduler: Any) -> Self:
        """Set the timesteps of `request` in a new `scheduler` as diffusers does, and return them.

        Raises:
            UnsupportedRequestError: the scheduler does not support the requested number of steps.
        """
        steps, strength = request.inference_steps, 1.0
        if request.endpoint is not Endpoint.TEXT2IMG:
            steps, strength = steps_and_strength(request.inference_steps, request.strength)
        try:
            scheduler.set_timesteps(steps, device="cpu")
        except (ValueError, IndexError, ZeroDivisionError) as error:
            raise UnsupportedRequestError(
                f"num_inference_steps: {type(scheduler).__name__} does not support "
                f"{pluralize(steps, 'step')}; send another number or another scheduler",
                detail=repr(error),
            ) from error
        skipped = 0
        if request.endpoint is not Endpoint.TEXT2IMG:
            skipped = (steps - min(int(steps * strength), steps)) * scheduler.order
            if hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(skipped)
        takes_generator = "generator" in signature(scheduler.step).parameters
        return cls(scheduler, tuple(scheduler.timesteps[skipped:]), takes_generator)


def steps_and_strength(steps: int, strength: float) -> tuple[int, float]:
    """Return the steps and strength to pass to diffusers, so that at least one step runs.

    diffusers runs the last int(steps × strength) of `steps` steps (`get_timesteps` in its
    image-to-image and inpainting pipelines), which can be 0. In that case the number of steps is
    increased until diffusers runs one step.
    """
    strength = max(strength, LEAST_STRENGTH)
    finer = count(max(steps, floor(1 / strength)))
    return next(laid_out for laid_out in finer if int(laid_out * strength)), strength
