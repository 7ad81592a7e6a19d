"""Predictions averaged over mirror images of the input (test-time augmentation)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers import Inferer

__all__ = ["FlippedInferer"]


class FlippedInferer(Inferer):
    """Averages what another inferer gives for the images and for their mirror images.

    Maps are mirrored back before they are averaged, so that they lie on the image again; class logits ``(B, K)`` have
    no axes to mirror. What is averaged is the network's output: logits of a classification or segmentation (the
    geometric mean of the odds), the image of a fusion.

    Args:
        inferer: does the work.
        flips: sets of axes to mirror, each one more prediction, counted within the spatial axes, 0 or -1 and so on:
            ``[[-1]]`` left and right, ``[[-1], [-2], [-1, -2]]`` all mirror images of a picture. ``False``, None and an
            empty list change nothing.

    Raises:
        ValueError: something else, an axis twice in one set, one set twice, or, when it is called, an axis that the
            images lack.

    Example:
        >>> from monai.inferers import SimpleInferer
        >>> left = torch.tensor([[[[1.0, 3.0]]]])
        >>> FlippedInferer(SimpleInferer(), [[-1]])(left, lambda x: x * torch.tensor([1.0, 0.0]))
        tensor([[[[0.5000, 1.5000]]]])
    """

    def __init__(self, inferer: Inferer, flips: Sequence[Sequence[int]] | bool | None = False) -> None:
        super().__init__()
        self.inferer = inferer
        self.flips = _checked(flips)

    def __call__(self, inputs: torch.Tensor, network: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> Any:
        """``inputs`` ``(B, C, *spatial)``; the mean prediction, of the shape that the inferer gives."""
        first = self.inferer(inputs, network, *args, **kwargs)
        if not self.flips:
            return first
        spatial = inputs.ndim - 2
        total = first
        for flip in self.flips:
            if any(not -spatial <= axis < spatial for axis in flip):
                raise ValueError(f"flips: {list(flip)} names an axis that images with {spatial} spatial axes lack.")
            axes = [axis % spatial + 2 for axis in flip]
            given = self.inferer(inputs.flip(axes), network, *args, **kwargs)
            total = total + (given.flip(axes) if given.ndim == inputs.ndim else given)
        return total / (1 + len(self.flips))


def _checked(flips: Any) -> tuple[tuple[int, ...], ...]:
    if flips is None or flips is False:
        return ()
    listed = isinstance(flips, (list, tuple)) and all(isinstance(flip, (list, tuple)) and flip for flip in flips)
    if not listed or not all(type(axis) is int for flip in flips for axis in flip):
        raise ValueError(
            f"flips must be false or a list of lists of axes, [[-1]] for left and right, "
            f"[[-1], [-2], [-1, -2]] for all mirror images of a picture; got {flips!r}."
        )
    sets = [frozenset(flip) for flip in flips]
    if len(set(sets)) < len(sets) or any(len(one) < len(flip) for one, flip in zip(sets, flips, strict=True)):
        raise ValueError(f"flips names an axis or a set of axes twice: {flips!r}.")
    return tuple(tuple(flip) for flip in flips)
