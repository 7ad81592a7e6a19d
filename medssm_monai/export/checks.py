"""Whether an export computes what the network computes, in figures with limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["MAX_ERROR", "MIN_AGREEMENT", "Check", "agreement", "compare", "relative_error"]

MAX_ERROR = 1e-4
MIN_AGREEMENT = 0.999


@dataclass(frozen=True)
class Check:
    """One comparison.

    Attributes:
        name: what was compared.
        value: the figure, or what went wrong.
        limit: in words.
        passed: whether the figure keeps the limit.
    """

    name: str
    value: float | str
    limit: str
    passed: bool

    def __str__(self) -> str:
        shown = f"{self.value:.3g}" if isinstance(self.value, float) else self.value
        return f"{self.name} {shown} (limit: {self.limit})"


def relative_error(result: Tensor, expected: Tensor) -> float:
    """``max |result - expected| / max |expected|``.

    Infinite when the result holds NaN or infinity, or is not zero where nothing but zeros was expected.

    Raises:
        ValueError: for tensors of different shapes.
    """
    if result.shape != expected.shape:
        raise ValueError(f"shapes differ: {tuple(result.shape)}, expected {tuple(expected.shape)}.")
    if not torch.isfinite(result).all():
        return float("inf")
    difference, scale = (x.double().abs().max().item() for x in (result - expected, expected))
    return difference / scale if scale else (float("inf") if difference else 0.0)


def agreement(result: Tensor, expected: Tensor, task: Any) -> float | None:
    """Share of equal decisions: pixels of the masks or of the label map (segmentation), classes (classification); None
    for a fusion."""
    if task.kind == "segmentation" and task.labels.softmax:
        masks = [x.argmax(1) for x in (result, expected)]
    elif task.kind == "segmentation":
        masks = [x.sigmoid() >= task.threshold for x in (result, expected)]
    elif task.kind == "classification":
        masks = [x.argmax(1) for x in (result, expected)]
    else:
        return None
    return (masks[0] == masks[1]).double().mean().item()


def compare(results: Sequence[Tensor], expected: Sequence[Tensor], task: Any) -> list[Check]:
    """Compare batches of raw network outputs with those of the network in PyTorch.

    Args:
        results, expected: one ``(B, ...)`` per batch, in the same order.
        task: the bundle's ``prediction``; its kind, threshold and labels count.
    """
    for one, other in zip(results, expected, strict=True):
        if one.shape != other.shape:
            shapes = f"{tuple(one.shape)} for {tuple(other.shape)}"
            return [Check("output shape", shapes, "equal", False)]
    result, truth = torch.cat(list(results)), torch.cat(list(expected))
    error = relative_error(result, truth)
    checks = [Check("relative error", error, f"at most {MAX_ERROR:g}", error <= MAX_ERROR)]
    share = agreement(result, truth, task)
    if share is not None:
        name, least = ("mask agreement", MIN_AGREEMENT) if task.kind == "segmentation" else ("equal classes", 1.0)
        checks.append(Check(name, share, f"at least {least:g}", share >= least))
    return checks
