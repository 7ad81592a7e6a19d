"""Size of a picture, and whether viewers turn it, mostly by its header."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import ImageReadError
from ..readers.files import RASTER, file_kind
from ..readers.image import read_pixels, why_unreadable
from ..readers.limits import TooLargeError, open_raster

__all__ = ["open_image"]

EXIF_ORIENTATION = 0x0112


def open_image(path: Path, full: bool) -> tuple[tuple[int, int], bool]:
    """``(H, W)`` of an image and whether an EXIF tag asks viewers to turn it; ``full`` decodes every byte."""
    if file_kind(path) != RASTER:
        pixels = read_pixels(path)
        if not np.isfinite(pixels.values).all():
            raise ValueError("NaN or infinite values")
        return pixels.values.shape[:2], False
    try:
        with open_raster(path) as img:
            shape = (img.height, img.width)
            if full:
                img.draft(None, (img.width // 8, img.height // 8))  # JPEG: reads all bytes, computes few pixels
                img.load()
            # In a PNG the tag may lie behind the pixels, and asking for it would decode them.
            turned = (full or img.format != "PNG") and img.getexif().get(EXIF_ORIENTATION, 1) != 1
    except (TooLargeError, PermissionError, FileNotFoundError):
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise ImageReadError(f"{path}: {why_unreadable(path, error)}") from error
    return shape, turned
