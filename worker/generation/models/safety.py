"""The model's own safety checker, run on finished images."""

from typing import Any, Self

import numpy as np
from PIL import Image


class SafetyChecker:
    """Looks at one image at a time."""

    def __init__(self, checker: Any, extractor: Any) -> None:
        """Keep the checking model and the extractor that prepares pictures for it."""
        self._checker = checker
        self._extractor = extractor

    @classmethod
    def taken_from(cls, pipeline: Any) -> Self | None:
        """Take the checker out of `pipeline`, None if it has none.

        Taken out, since a pipeline with a checker runs it on every request, asked for or not.
        """
        checker = pipeline.components.get("safety_checker")
        if checker is None:
            return None
        pipeline.register_modules(safety_checker=None)
        return cls(checker, pipeline.feature_extractor)

    def finds_unsafe(self, image: Image.Image) -> bool:
        """Whether `image` (RGB) shows what the model's makers taught it to flag."""
        features = self._extractor([image], return_tensors="pt").pixel_values
        # The checker blanks pictures in place; it is given one pixel to do so with.
        _, flags = self._checker(
            clip_input=features.to(self._checker.device, self._checker.dtype),
            images=np.zeros((1, 1, 1, 3)),
        )
        return bool(flags[0])
