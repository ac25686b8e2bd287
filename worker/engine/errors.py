"""Translate model and device failures into `InfillError`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from common.domain.errors import EngineLostError, GenerationError, InfillError

# Messages of torch's CPU allocator, of the driver (pinned memory, kernels loaded late) and of
# cuBLAS: none of them raises torch.OutOfMemoryError.
_FULL: Final = ("can't allocate memory", "CUDA error: out of memory", "ALLOC_FAILED")

# Message of a result with values that are not numbers (NaN) or not finite.
NOT_A_NUMBER: Final = "the model generated invalid pixels (NaN); another seed may give valid ones"


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate any exception raised in the block into an `InfillError`.

    Raises:
        GenerationError: the model failed or ran out of memory; a retry may succeed.
        EngineLostError: the device failed; no retry in this process can succeed.
    """
    try:
        yield
    except Exception as error:  # a model can raise anything; the worker must continue
        ours = to_infill_error(error)
        if ours is error:
            raise
        raise ours from error


def to_infill_error(error: Exception) -> InfillError:
    """Convert `error` to an `InfillError`; internals go into `detail`, which callers do not see."""
    if isinstance(error, InfillError):
        return error
    if is_out_of_memory(error):
        return GenerationError(
            "the model ran out of memory; try a smaller width and height", detail=str(error)
        )
    if isinstance(error, torch.AcceleratorError):
        # An illegal memory access or a lost device corrupts the CUDA context: every later call
        # fails.
        return EngineLostError("the GPU that generated the image failed", detail=repr(error))
    return GenerationError(
        "the model failed with an unexpected error, which has been logged", detail=repr(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether `error` means that the device or the host ran out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(sign in str(error) for sign in _FULL)
