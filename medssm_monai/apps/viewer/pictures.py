"""Pictures of the page: results laid over images, at a size that a browser shows at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ...visualize import overlay_heatmap, titled_panel
from ...visualize.overlay import PREDICTION_COLOR

__all__ = ["SHOWN", "map_over", "mask_over", "panel", "shown", "shown_map", "shown_mask"]

SHOWN, SMALLEST = 1024, 384  # pixels of the longer side
PANEL = 512


def _size(shape: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of the preview: smaller images are enlarged by a whole factor, larger ones made smaller."""
    height, width = shape[:2]
    longest = max(height, width)
    if longest < SMALLEST:
        factor = -(-SMALLEST // longest)
        return height * factor, width * factor
    share = min(1.0, SHOWN / longest)
    return max(1, round(height * share)), max(1, round(width * share))


def _resized(values: np.ndarray) -> np.ndarray:
    height, width = _size(values.shape)
    if (height, width) == values.shape[:2]:
        return np.array(values)
    larger = height > values.shape[0]
    method = Image.Resampling.NEAREST if larger else Image.Resampling.BOX
    return np.array(Image.fromarray(np.ascontiguousarray(values)).resize((width, height), method))


def shown(picture: np.ndarray) -> np.ndarray:
    """Preview of a picture, uint8 ``(H, W, 3)``."""
    return _resized(picture)


def shown_map(values: np.ndarray) -> np.ndarray:
    """Preview of a map, float32 ``(H, W)``."""
    return _resized(np.asarray(values, dtype=np.float32))


def shown_mask(mask: np.ndarray) -> np.ndarray:
    """Preview of a mask, boolean: a pixel of it is foreground where half of what it stands for is."""
    return _resized(np.asarray(mask, dtype=np.float32)) >= 0.5


def mask_over(
    picture: np.ndarray, mask: np.ndarray, opacity: float, color_of_mask: Sequence[int] = PREDICTION_COLOR
) -> np.ndarray:
    """A mask, yellow by default, on its image, with an outline that stays at any opacity.

    Args:
        picture: uint8 ``(H, W, 3)``.
        mask: ``(H, W)``, foreground where true.
        opacity: of the area, 0 to 1.
        color_of_mask: red, green, blue.
    """
    from scipy.ndimage import binary_erosion

    inside = np.asarray(mask, dtype=bool)
    result = np.array(picture)
    color = np.array(color_of_mask, dtype=np.float32)
    result[inside] = (result[inside] * np.float32(1 - opacity) + color * np.float32(opacity) + 0.5).astype(np.uint8)
    width = max(1, round(max(inside.shape) / 400))
    result[inside & ~binary_erosion(inside, iterations=width)] = color_of_mask
    return result


def map_over(picture: np.ndarray, values: np.ndarray, opacity: float, top: float | None = None) -> np.ndarray:
    """A map in the colors of viridis on its image; ``top`` is yellow, by default the map's own maximum."""
    return overlay_heatmap(picture.transpose(2, 0, 1) / 255.0, values, peak=top, alpha=opacity, min_size=1)


def panel(pictures: Sequence[np.ndarray], captions: Sequence[str], title: str) -> np.ndarray:
    """Pictures of any size side by side with captions, to be saved."""
    height = max(PANEL, min(SHOWN, max(picture.shape[0] for picture in pictures)))
    equal = [
        np.asarray(Image.fromarray(picture).resize((max(1, round(picture.shape[1] * height / len(picture))), height)))
        for picture in pictures
    ]
    return titled_panel(equal, title, legend=False, captions=captions)
