"""The model's own safety checker, run on finished images."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import torch
from PIL import Image


class SafetyChecker:
    """Flags unsafe images, all images of a request in one call."""

    def __init__(self, checker: Any, extractor: Any) -> None:
        """Use the checker model and the feature extractor that preprocesses images for it."""
        self._checker = checker
        self._extractor = extractor

    @classmethod
    def detach_from(cls, pipeline: Any) -> Self | None:
        """Remove the checker from `pipeline` and return it; None if the pipeline has none.

        A pipeline with a checker would run it on every request, wanted or not.
        """
        checker = pipeline.components.get("safety_checker")
        if checker is None:
            return None
        pipeline.register_modules(safety_checker=None)
        return cls(checker, pipeline.feature_extractor)

    def preprocess(self, images: Sequence[Image.Image]) -> torch.Tensor:
        """Preprocess RGB images for `flags`, images × 3 × side × side; needs no device."""
        features: torch.Tensor = self._extractor(list(images), return_tensors="pt").pixel_values
        return features

    @torch.inference_mode()
    def flags(self, features: torch.Tensor) -> list[bool]:
        """Return for each image whether it shows a concept that the checker was trained to flag."""
        # The checker blanks flagged images in place; it gets one pixel of each for that.
        _, flags = self._checker(
            clip_input=features.to(self._checker.device, self._checker.dtype),
            images=np.zeros((len(features), 1, 1, 3)),
        )
        return [bool(flag) for flag in flags]
