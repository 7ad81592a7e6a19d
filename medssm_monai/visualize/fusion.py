"""Pictures of a fusion: source A, source B, the fused image and where it departs from its sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from .overlay import contact_sheet, titled_panel, to_rgb

__all__ = ["fusion_panel", "fusion_planes"]

SMALLEST = 192  # pixels; smaller pictures are enlarged by a whole factor


def fusion_planes(images: Sequence[torch.Tensor]) -> list[list[torch.Tensor]]:
    """The planes that are shown of a fusion.

    Args:
        images: ``(C, H, W)`` or ``(C, X, Y, Z)``, one spatial shape, values of the first two >= 0.

    Returns:
        for 2D images one list with all of them; for volumes three: all images cut across the last, the middle and the
        first axis, through the centre of mass of the first two images' maximum, turned by 90 degrees.
    """
    if images[0].ndim == 3:
        return [list(images)]
    weight = torch.maximum(images[0].amax(0), images[1].amax(0))
    planes = []
    for axis in (2, 1, 0):
        along = weight.sum(dim=[other for other in range(3) if other != axis])
        place = (along * torch.arange(len(along), device=along.device)).sum() / along.sum().clamp(min=1e-8)
        planes.append([image.select(axis + 1, int(place.round())).rot90(1, (1, 2)) for image in images])
    return planes


def _signed(difference: torch.Tensor) -> tuple[np.ndarray, float]:
    """``(1, H, W)`` around zero as a picture, zero mid-grey; and the value that stands for white."""
    peak = max(float(difference.abs().max()), 1e-3)
    return to_rgb((difference / peak + 1) / 2), peak


def _enlarged(picture: np.ndarray) -> np.ndarray:
    factor = max(1, -(-SMALLEST // max(picture.shape[:2])))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def fusion_panel(
    planes: Sequence[Sequence[torch.Tensor]], title: str, sources: Sequence[str] = ("source A", "source B")
) -> np.ndarray:
    """One row per plane: source A, source B, fused, difference, each with its name, under a title.

    Args:
        planes: per plane source A, source B and fused image as they are shown, ``(1, H, W)`` or RGB ``(3, H, W)`` in
            [0, 1], and the difference fused minus maximum of the sources of the grey images ``(1, H, W)``; grey is 0.
        title: text above.
        sources: names of the sources, for example ``("MRI", "CT")``.

    Returns:
        uint8 ``(height, width, 3)``.
    """
    rows = []
    for number, (*shown, difference) in enumerate(planes):
        signed, peak = _signed(difference)
        pictures = [_enlarged(picture) for picture in (*map(to_rgb, shown), signed)]
        captions = (*sources, "fused", f"fused - maximum (\u00b1{peak:.2f})")
        rows.append(titled_panel(pictures, "" if number else title, legend=False, captions=captions))
    return rows[0] if len(rows) == 1 else contact_sheet(rows, columns=1)
