from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_image():
    """Write a random picture: ``write_image(path, width, height)``."""

    def write(path: Path, width: int, height: int, mode: str = "RGB", seed: int = 0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(seed)
        channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[mode]
        Image.fromarray(generator.integers(0, 256, (height, width, *channels), dtype=np.uint8), mode).save(path)
        return path

    return write
