"""Small synthetic image files for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(height: int = 12, width: int = 16, seed: int = 0) -> np.ndarray:
    """``(H, W, 3)`` uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def square_mask(height: int = 12, width: int = 16, value: int = 255) -> np.ndarray:
    """``(H, W)`` uint8 with a filled rectangle."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[2:6, 3:9] = value
    return mask


def save(array: np.ndarray, path: Path) -> Path:
    """Write an array as an image, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def save_pairs(image_dir: Path, mask_dir: Path, names: list[str], ending: str = "", suffix: str = ".png") -> None:
    """One picture and one mask per name."""
    for seed, name in enumerate(names):
        save(picture(seed=seed), image_dir / f"{name}{suffix}")
        save(square_mask(), mask_dir / f"{name}{ending}.png")


def truncate(path: Path, share: float = 0.6) -> Path:
    """Cut a file off, as an interrupted copy does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def names(items: list[dict[str, str]]) -> list[str]:
    """Names of a datalist."""
    return [item["name"] for item in items]
