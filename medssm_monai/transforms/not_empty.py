"""Which voxels of a volume hold something, for cropping."""

from __future__ import annotations

import torch

__all__ = ["not_empty"]


def not_empty(image: torch.Tensor) -> torch.Tensor:
    """Where an image is not 0, bool of the same shape; everywhere when it is 0 throughout.

    The ``select_fn`` for MONAI's ``CropForeground``, which would leave nothing of an image of zeros.
    """
    there = image != 0
    return there if there.any() else torch.ones_like(there)
