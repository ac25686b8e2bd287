"""The timesteps of one image and the number of steps for a strength."""

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
    """One image's own scheduler and the timesteps it is called for, the noisiest first.

    `values` are tensors without dimensions, on the host: reading them does not wait for the device.
    """

    scheduler: Any
    values: tuple[Any, ...]
    takes_generator: bool

    @classmethod
    def of(cls, request: GenerationRequest, scheduler: Any) -> Self:
        """Set the timesteps of a new `scheduler` for `request`, as diffusers' pipelines do.

        Raises:
            UnsupportedRequestError: the scheduler does not support that number of steps.
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
    """Return the steps and the strength to pass to diffusers, so that at least one step is run.

    diffusers runs the last int(steps × strength) of `steps` steps (`get_timesteps` of its image to
    image and inpainting pipelines), which can be none. Then more steps are set, until one of them
    lies within the strength.
    """
    strength = max(strength, LEAST_STRENGTH)
    finer = count(max(steps, floor(1 / strength)))
    return next(laid_out for laid_out in finer if int(laid_out * strength)), strength
