"""Random perspective distortion, which MONAI 1.6.1 lacks, with scikit-image's warp."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from monai.utils import convert_to_dst_type

__all__ = ["RandPerspective", "RandPerspectiveD", "RandPerspectiveDict", "RandPerspectived"]


class RandPerspective(RandomizableTransform):
    """Look at a 2D image from the side: its corners move inwards, each by its own share.

    Every corner moves towards the middle by up to ``distortion / 2`` of height and of width, uniformly; bilinear
    sampling, and the border is repeated outside the picture. Defined like torchvision's ``RandomPerspective``.

    Args:
        prob: probability.
        distortion: 0 (none) to below 1.

    Raises:
        ValueError: values outside these ranges; an image that is not ``(C, H, W)`` with at least 2 x 2 pixels.
    """

    def __init__(self, prob: float = 0.5, distortion: float = 0.2) -> None:
        if not 0 <= distortion < 1 or not 0 <= prob <= 1:
            raise ValueError(f"distortion must be in [0, 1) and prob in [0, 1], got {distortion} and {prob}.")
        super().__init__(prob)
        self.distortion = distortion
        self.moves = np.zeros((4, 2))

    def randomize(self, data: Any = None) -> None:
        """Draw whether to distort, and how far each corner moves, as shares of width and height."""
        super().randomize(None)
        if self._do_transform:
            self.moves = self.R.uniform(0, self.distortion / 2, (4, 2))

    def __call__(self, img: torch.Tensor, randomize: bool = True) -> torch.Tensor:
        """``(C, H, W)`` to the same shape and type."""
        from skimage.transform import estimate_transform, warp

        if img.ndim != 3:
            raise ValueError(f"a perspective needs a 2D image (C, H, W), got {tuple(img.shape)}.")
        if randomize:
            self.randomize()
        if not self._do_transform:
            return img
        if min(img.shape[1:]) < 2:  # the corners of a single row lie on a line
            raise ValueError(f"a perspective needs an image of 2 x 2 pixels or more, got {tuple(img.shape)}.")
        extent = np.array(img.shape[:0:-1]) - 1.0  # width, height
        signs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        corners = signs * extent
        moved = corners + (1 - 2 * signs) * self.moves * extent
        plain = img.as_tensor() if isinstance(img, MetaTensor) else torch.as_tensor(img)
        pixels = plain.cpu().numpy().transpose(1, 2, 0)
        back = estimate_transform("projective", moved, corners)  # warp asks where each pixel comes from
        seen = warp(pixels, back, order=1, mode="edge", preserve_range=True)
        return convert_to_dst_type(np.ascontiguousarray(seen.transpose(2, 0, 1)), dst=img)[0]


class RandPerspectived(MapTransform, RandomizableTransform):
    """Dictionary version of :class:`RandPerspective`; all keys are distorted alike.

    Args:
        keys: 2D images ``(C, H, W)``.
        prob, distortion: see :class:`RandPerspective`.
        allow_missing_keys: pass over keys that are not there.
    """

    def __init__(
        self, keys: KeysCollection, prob: float = 0.5, distortion: float = 0.2, allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.perspective = RandPerspective(prob, distortion)

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> RandPerspectived:
        super().set_random_state(seed, state)
        self.perspective.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        self.perspective.randomize()
        for key in self.key_iterator(result):
            result[key] = self.perspective(result[key], randomize=False)
        return result


RandPerspectiveD = RandPerspectiveDict = RandPerspectived
