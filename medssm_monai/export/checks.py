"""Whether an export computes what the network computes, in figures with limits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["MAX_ERROR", "MIN_AGREEMENT", "Check", "agreement", "compare", "relative_error", "rounding_error"]

MAX_ERROR = 1e-4
ROUNDINGS = 4
"""So many times what rounding does to PyTorch itself a file may be off, where that is more than ``MAX_ERROR``: it
rounds as much, at other places."""
MOST_ROUNDING = 1e-3
"""Above this a network is taken to hang on rounding, and no allowance is made."""
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


def rounding_error(network: nn.Module, batches: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Relative error of a network's float32 outputs against those in float64: what rounding does to it.

    A normalization over two channels, as in the last stage of Mamba-MIS, jumps where they are alike: trained networks
    had 2e-4 at single pixels.

    Args:
        network: in evaluation mode; it is copied.
        batches: inputs, ``(B, ...)`` each.
        expected: its outputs for them.
    """
    exact = copy.deepcopy(network).double()
    with torch.no_grad():
        return relative_error(torch.cat(list(expected)), torch.cat([exact(batch.double()) for batch in batches]))


def compare(
    results: Sequence[Tensor],
    expected: Sequence[Tensor],
    task: Any,
    rounding: Callable[[], float] | None = None,
) -> list[Check]:
    """Compare batches of raw network outputs with those of the network in PyTorch.

    Args:
        results, expected: one ``(B, ...)`` per batch, in the same order.
        task: the bundle's ``prediction``; its kind, threshold and labels count.
        rounding: gives :func:`rounding_error`; asked only where the error is above ``MAX_ERROR``. Up to ``ROUNDINGS``
            times of it pass, if it is at most ``MOST_ROUNDING``.
    """
    for one, other in zip(results, expected, strict=True):
        if one.shape != other.shape:
            shapes = f"{tuple(one.shape)} for {tuple(other.shape)}"
            return [Check("output shape", shapes, "equal", False)]
    result, truth = torch.cat(list(results)), torch.cat(list(expected))
    error = relative_error(result, truth)
    most, limit = MAX_ERROR, f"at most {MAX_ERROR:g}"
    if rounding is not None and MAX_ERROR < error <= ROUNDINGS * MOST_ROUNDING:
        own = rounding()
        limit += f", or {ROUNDINGS} times what rounding to float32 does in PyTorch itself, {own:.2g}"
        most = max(most, ROUNDINGS * own) if own <= MOST_ROUNDING else most
    checks = [Check("relative error", error, limit, error <= most)]
    share = agreement(result, truth, task)
    if share is not None:
        name, least = ("mask agreement", MIN_AGREEMENT) if task.kind == "segmentation" else ("equal classes", 1.0)
        checks.append(Check(name, share, f"at least {least:g}", share >= least))
    return checks
