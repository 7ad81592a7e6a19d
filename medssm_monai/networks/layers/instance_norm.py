"""Instance normalization of channel-last maps, without parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F

__all__ = ["instance_normalized"]


def instance_normalized(x: torch.Tensor) -> torch.Tensor:
    """Every channel of every image minus its mean, over its standard deviation, both over the places of the map.

    Args:
        x: ``(B, *spatial, C)``, of two places or more.

    Returns:
        ``(B, *spatial, C)``. Of constant channels zeros.

    Raises:
        ValueError: for maps of one place, of which nothing but zeros would be left.

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance normalization" (2016, arXiv 1607.08022); epsilon 1e-5.
    """
    return F.instance_norm(x.movedim(-1, 1)).movedim(1, -1)
