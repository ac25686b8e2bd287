"""The safety checker that comes with a model, run on finished images."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from PIL import Image


class SafetyChecker:
    """Flags unsafe images; all images of a request are checked in one call."""

    def __init__(self, checker: Any, extractor: Any) -> None:
        """Use the model `checker`, and `extractor`, which preprocesses images for it."""
        self._checker = checker
        self._extractor = extractor

    @classmethod
    def detach_from(cls, pipeline: Any) -> Self | None:
        """Remove the checker from `pipeline` and return it; return None if the pipeline has none.

        If the checker were left in the pipeline, it would run on every request, even if not
        requested.
        """
        checker = pipeline.components.get("safety_checker")
        if checker is None:
            return None
        pipeline.register_modules(safety_checker=None)
        return cls(checker, pipeline.feature_extractor)

    def preprocess(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Return RGB `images` as input for `flags`, images × 3 × side × side; runs on the host."""
        features: torch.Tensor = self._extractor(list(images), return_tensors="pt").pixel_values
        return features

    @torch.inference_mode()
    def flags(self, features: torch.Tensor) -> list[bool]:
        """Return for each image whether it shows a concept that the checker is trained to flag.

        `features` is the result of `preprocess`.
        """
        # The checker blanks flagged images in place; it gets one pixel of each for that.
        _, flags = self._checker(
            clip_input=features.to(self._checker.device, self._checker.dtype),
            images=np.zeros((len(features), 1, 1, 3)),
        )
        return [bool(flag) for flag in flags]
