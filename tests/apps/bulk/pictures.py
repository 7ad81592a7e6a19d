"""Small pictures for bulk inference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, count: int) -> Path:
    """Pictures of noise, in two folders below ``folder``."""
    for number in range(count):
        path = folder / f"Anna {number % 2}" / f"image {number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (24, 28), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return folder


def known_secret(out: Path) -> Path:
    """Make a folder of results with a secret that others have too, so that results are called the same; returns it."""
    out.mkdir()
    (out / "run.id").write_text("0123456789abcdef" * 2)
    return out


def contents(out: Path) -> dict[str, bytes]:
    """Every file of the results."""
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / "results").rglob("*") if path.is_file()}
