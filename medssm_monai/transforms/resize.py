"""Anti-aliased reduction of large images by matrix products, in place of convolutions as wide as the reduction."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.networks.layers import gaussian_1d
from monai.transforms import Resize, Resized

__all__ = ["LARGE", "LargeResize", "LargeResizeD", "LargeResizeDict", "LargeResized"]

LARGE = 1024 * 1024
"""Pixels (or voxels) above which the shorter way is taken; below, the result is MONAI's to the bit."""
LINEAR = ("linear", "bilinear", "trilinear")


class LargeResize(Resize):
    """MONAI's ``Resize``, quick for large images.

    With ``anti_aliasing``, MONAI smooths the whole image by a Gaussian of ``(factor - 1) / 2`` pixels before it takes
    the few pixels asked for. Both steps are linear and separable; for images of more than :data:`LARGE` pixels that are
    halved at least along every axis, one matrix per axis does them together. The result is equal up to rounding (about
    1e-6 of the range); smaller images, other modes, and ``align_corners`` go MONAI's way. Metadata and inverse are
    those of ``Resize``.

    Args:
        See ``monai.transforms.Resize``.
    """

    def __call__(
        self,
        img: torch.Tensor,
        mode: str | None = None,
        align_corners: bool | None = None,
        anti_aliasing: bool | None = None,
        anti_aliasing_sigma: Sequence[float] | float | None = None,
        dtype: Any = None,
        lazy: bool | None = None,
    ) -> torch.Tensor:
        smooth = self.anti_aliasing if anti_aliasing is None else anti_aliasing
        corners = self.align_corners if align_corners is None else align_corners
        sigma = self.anti_aliasing_sigma if anti_aliasing_sigma is None else anti_aliasing_sigma
        linear = str(self.mode if mode is None else mode) in LINEAR
        shorter = smooth and linear and not corners and sigma is None and not (self.lazy if lazy is None else lazy)
        if not shorter or math.prod(img.shape[1:]) <= LARGE:
            return super().__call__(img, mode, align_corners, anti_aliasing, anti_aliasing_sigma, dtype, lazy)
        # Size, metadata and trace are those of the transform; a plain resize of so few pixels costs little.
        plain = super().__call__(img, mode, align_corners, False, None, dtype, lazy)
        sizes = list(zip(plain.shape[1:], img.shape[1:], strict=False))
        if plain.ndim != img.ndim or any(2 * new > old for new, old in sizes):
            return super().__call__(img, mode, align_corners, anti_aliasing, anti_aliasing_sigma, dtype, lazy)
        values = torch.as_tensor(img).as_subclass(torch.Tensor).float()
        for axis in sorted(range(len(sizes)), key=lambda axis: sizes[axis][0] / sizes[axis][1]):
            new, old = sizes[axis]
            weights = reduction(old, new).to(values)
            values = torch.tensordot(values, weights, dims=([axis + 1], [1])).movedim(-1, axis + 1)
        plain.copy_(values)
        return plain


class LargeResized(Resized):
    """Dictionary version of :class:`LargeResize`; arguments as for ``monai.transforms.Resized``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.resizer = LargeResize(self.resizer.spatial_size, self.resizer.size_mode, lazy=self.lazy)

    def __call__(self, data: Mapping[Hashable, torch.Tensor], lazy: bool | None = None) -> dict[Hashable, torch.Tensor]:
        return super().__call__(data, lazy)


def reduction(old: int, new: int) -> torch.Tensor:
    """``(new, old)`` float32: what MONAI's smoothing and linear interpolation do along one axis.

    Row i holds the weights of the old pixels in the new pixel i: two neighboring Gaussians, cut at four standard
    deviations and at the border of the image, by the shares of linear interpolation between pixel centers.
    """
    factor = old / new
    kernel = gaussian_1d(torch.tensor(max((factor - 1) / 2, 0.0)), truncated=4.0, approx="erf")
    reach = (len(kernel) - 1) // 2
    centers = ((torch.arange(new) + 0.5) * factor - 0.5).clamp(min=0)  # float32, as torch's interpolate
    left = centers.floor().long().clamp(max=old - 1)
    share = centers - left
    weights = torch.zeros(new, old)
    for row in range(new):
        for pixel, part in ((int(left[row]), 1 - share[row]), (min(int(left[row]) + 1, old - 1), share[row])):
            first, last = max(pixel - reach, 0), min(pixel + reach + 1, old)
            weights[row, first:last] += part * kernel[first - pixel + reach : last - pixel + reach]
    return weights


LargeResizeD = LargeResizeDict = LargeResized
