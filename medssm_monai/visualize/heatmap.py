"""Heat maps laid over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.visualize import blend_images

from .overlay import to_rgb

__all__ = ["overlay_heatmap"]

MARK_COLOUR = (255, 64, 64)


def overlay_heatmap(
    image: Any,
    heatmap: Any,
    peak: float | None = None,
    alpha: float = 0.5,
    min_size: int = 320,
    mark: Sequence[int] | None = None,
) -> np.ndarray:
    """Lay a heat map over an image, in the colours of viridis: dark violet is nothing, yellow the peak.

    Args:
        image: ``(C, H, W)`` or ``(H, W)``, see ``to_rgb``.
        heatmap: ``(1, h, w)`` or ``(h, w)``, not negative. A map coarser than the image (tokens of a scan) is enlarged:
            each value fills its own part of the image.
        peak: value shown in yellow, and above; ``None``: the map's own maximum.
        alpha: weight of the colour against the image, 0 to 1.
        min_size: images with a smaller longer side are enlarged by a whole factor.
        mark: row and column in the heat map that gets a red frame.

    Returns:
        uint8 ``(H * f, W * f, 3)`` with the whole factor ``f >= 1``.

    Raises:
        ValueError: a heat map that is no 2D map or holds values below zero or not finite.
    """
    values = heatmap.detach().cpu().float().numpy() if isinstance(heatmap, torch.Tensor) else np.asarray(heatmap, float)
    values = values[0] if values.ndim == 3 and values.shape[0] == 1 else values
    if values.ndim != 2 or values.size == 0 or not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(f"heatmap must be a map (h, w) of finite values >= 0, got shape {values.shape}.")
    canvas = to_rgb(image)
    factor = max(1, -(-min_size // max(canvas.shape[:2])))
    canvas = canvas.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = canvas.shape[:2]
    rows, columns = (np.arange(n) * size // n for n, size in zip((height, width), values.shape, strict=True))
    top = values.max() if peak is None else peak
    share = np.clip(values / top, 0.0, 1.0) if top > 0 else np.zeros_like(values)
    blended = blend_images(
        canvas.transpose(2, 0, 1) / 255.0,
        share[np.ix_(rows, columns)][None],
        alpha=alpha,
        cmap="viridis",
        rescale_arrays=False,
        transparent_background=False,
    )
    picture = (np.asarray(blended).transpose(1, 2, 0) * 255.0 + 0.5).astype(np.uint8)
    if mark is not None:
        inside = np.ix_(rows == mark[0], columns == mark[1])
        patch = picture[inside]
        frame = min(2, *patch.shape[:2])
        patch[:frame], patch[-frame:], patch[:, :frame], patch[:, -frame:] = (MARK_COLOUR,) * 4
        picture[inside] = patch
    return picture
