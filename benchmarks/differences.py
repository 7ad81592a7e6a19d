"""How far two versions' results for the same weights and input lie apart."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["Difference", "difference", "relative_difference"]

VANISHING = 1e-6
"""A gradient below this part of the largest one is rounding (that of a bias before a batch norm, for one): such a
tensor is compared on the scale of this part instead of on its own."""

Difference = tuple[float, float, str]
"""Of all tensors together, of the worst tensor, and the name of that one."""


def relative_difference(ours: Tensor, theirs: Tensor, least: float = 0.0) -> float:
    """Greatest difference of two tensors over the greatest value of the second, or over ``least`` if that is greater.

    Raises:
        ValueError: when their shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"results of shapes {tuple(ours.shape)} and {tuple(theirs.shape)} cannot be compared.")
    apart = (ours.double() - theirs.double()).abs().max().item()
    scale = max(theirs.double().abs().max().item(), least)
    return apart / scale if apart else 0.0


def difference(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> Difference:
    """Relative differences of named tensors: of all as one vector (Euclidean norms), and of the worst tensor (maxima).

    A tensor that one side alone has counts as zeros on the other.

    Raises:
        ValueError: when one side has none, or shapes differ.
    """
    if not ours or not theirs:
        raise ValueError("there is nothing to compare.")
    least = VANISHING * max(value.abs().max().item() for value in theirs.values())
    worst, apart, size = (0.0, ""), 0.0, 0.0
    for name in {**theirs, **ours}:
        a, b = ours.get(name), theirs.get(name)
        a, b = torch.zeros_like(b) if a is None else a, torch.zeros_like(a) if b is None else b
        worst = max(worst, (relative_difference(a, b, least), name))
        apart += (a.double() - b.double()).square().sum().item()
        size += b.double().square().sum().item()
    return ((apart / size) ** 0.5 if apart else 0.0), *worst
