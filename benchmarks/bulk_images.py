"""Images for the measurements of bulk inference: noise with a bright disk, gray, of one size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FOLDERS = 20


def write_images(folder: Path, count: int, size: int = 28) -> Path:
    """Write ``count`` pictures into folders below ``folder``, and return it."""
    rows, columns = np.mgrid[:size, :size]
    for number in range(count):
        draw = np.random.default_rng(number)
        x, y, radius = draw.uniform(0.3, 0.7) * size, draw.uniform(0.3, 0.7) * size, draw.uniform(0.1, 0.4) * size
        disk = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        pixels = np.clip(110 + 80 * disk + draw.normal(0, 25, (size, size)), 0, 255).astype(np.uint8)
        path = folder / f"{number % FOLDERS:02d}" / f"image_{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return folder
