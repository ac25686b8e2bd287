"""What a model may fail with, told as errors of ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from common.domain.errors import GenerationError, InfillError


@contextmanager
def told_as_ours() -> Iterator[None]:
    """Turn whatever comes out of the block into an error of ours.

    Raises:
        GenerationError: the model failed or ran out of memory; another try may succeed.
    """
    try:
        yield
    except InfillError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise GenerationError(
            "the model ran out of memory, a smaller image may fit", detail=str(error)
        ) from error
    except Exception as error:  # a model can fail in any way; the worker has to go on
        raise GenerationError("the model failed", detail=repr(error)) from error
