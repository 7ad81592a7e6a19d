"""The embedded demo set for classification: four synthetic classes written to disk on first use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.config import PathLike
from PIL import Image

from ..datalists.split_files import PARTS
from .folder import generated_folder
from .render import artifacts, background, cover, noise, spot_distance

__all__ = [
    "CLASS_DEMO_COUNTS",
    "CLASS_DEMO_NAMES",
    "CLASS_DEMO_SIZE",
    "class_demo_sample",
    "prepare_class_demo",
    "render_class_sample",
]

CLASS_DEMO_NAMES = ("lobed", "mottled", "ring", "smooth")
Array = np.ndarray


def _lesion(rng: np.random.Generator, size: int, kind: str) -> tuple[Array, Array]:
    """Cover in [0, 1] of a lesion, and the change of brightness inside it, in units of its contrast."""
    pixel = 1.0 / size
    center, radius = rng.uniform(0.38, 0.62, 2), rng.uniform(0.2, 0.28)
    stretch = np.array([rng.uniform(1.0, 1.3), rng.uniform(0.0, np.pi)])
    harmonics = np.stack([rng.uniform(-0.04, 0.04, 6), rng.uniform(0.0, 2 * np.pi, 6)], axis=1)
    if kind == "lobed":
        harmonics[rng.integers(3, 6), 0] = rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.3)  # five to seven lobes
    distance = spot_distance(size, center, radius, harmonics, stretch)
    inside = np.ones((size, size))
    if kind == "ring":
        inside = 1.0 - cover(distance + rng.uniform(0.4, 0.5) * radius, 3 * pixel)
    elif kind == "mottled":
        inside = 1.0 + 1.1 * np.sign(noise(rng, size, int(rng.integers(12, 17)))) * 0.7
    return cover(distance, 3 * pixel), inside


def render_class_sample(rng: np.random.Generator, size: int, kind: str) -> Array:
    """One picture ``(size, size, 3)`` uint8 of class ``kind``.

    Args:
        rng: generator; the picture depends on its state, ``size`` and ``kind`` only.
        size: side in pixels.
        kind: one of :data:`CLASS_DEMO_NAMES`.
    """
    light = background(rng, size)
    for _ in range(rng.integers(0, 3)):  # small spots of no meaning
        far = spot_distance(size, rng.uniform(0.05, 0.95, 2), rng.uniform(0.02, 0.05), np.zeros((1, 2)), np.ones(2))
        light = light + rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.2) * cover(far, 1.5 / size)
    covered, inside = _lesion(rng, size, kind)
    contrast = -rng.uniform(0.24, 0.34)  # darker than its surroundings, as a pigmented lesion
    tint = np.array([1.0, rng.uniform(0.7, 0.8), rng.uniform(0.6, 0.7)])
    image = (light + contrast * covered * inside)[..., None] * tint
    image = artifacts(rng, size, image, 1.0 / size)
    image = image + rng.normal(0.0, 0.02, image.shape)
    return np.floor(np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


CLASS_DEMO_SIZE = 64
CLASS_DEMO_COUNTS = (480, 60, 60)
CLASS_DEMO_VERSION = 2  # raise it with every change of a pixel: the version is part of the folder name
SEED = 2025


def class_demo_sample(part: str, index: int, size: int = CLASS_DEMO_SIZE) -> tuple[np.ndarray, int]:
    """Picture ``(size, size, 3)`` uint8 and label number ``index`` of a part; the classes take turns."""
    label = index % len(CLASS_DEMO_NAMES)
    rng = np.random.default_rng([SEED, PARTS.index(part), index])
    return render_class_sample(rng, size, CLASS_DEMO_NAMES[label]), label


def _write(folder: Path, size: int, counts: Sequence[int]) -> None:
    for part, count in zip(PARTS, counts, strict=True):
        for name in CLASS_DEMO_NAMES:
            (folder / part / name).mkdir(parents=True)
        for index in range(count):
            picture, label = class_demo_sample(part, index, size)
            Image.fromarray(picture).save(folder / part / CLASS_DEMO_NAMES[label] / f"demo_{part}_{index:03d}.png")


def prepare_class_demo(
    demo_dir: PathLike | None = None, size: int = CLASS_DEMO_SIZE, counts: Sequence[int] = CLASS_DEMO_COUNTS
) -> Path:
    """Folder of the classification demo set (``training/<class>/``, ``validation/``, ``test/``), written on first use.

    Args:
        demo_dir: parent folder; None is ``medssm_monai`` in the user's cache folder.
        size: side of the square pictures in pixels, at least 32.
        counts: pictures for training, validation and test; each at least one per class.

    Raises:
        ValueError: size or counts out of range.
        OSError: ``demo_dir`` cannot be written.
    """
    counts = tuple(int(count) for count in counts)
    classes = len(CLASS_DEMO_NAMES)
    if size < 32 or len(counts) != 3 or min(counts) < classes:
        raise ValueError(f"demo images need size >= 32 and three counts >= {classes}, got {size}, {counts}.")
    name = f"class-demo-v{CLASS_DEMO_VERSION}-{size}px-{'-'.join(map(str, counts))}"
    facts = {"version": CLASS_DEMO_VERSION, "seed": SEED, "size": size, "counts": list(counts)}
    return generated_folder(demo_dir, name, lambda folder: _write(folder, size, counts), facts)
