"""The embedded demo set for classification: four synthetic classes written to disk on first use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.config import PathLike
from PIL import Image

from .class_demo_render import CLASS_DEMO_NAMES, render_class_sample
from .generated import generated_folder
from .splits import PARTS

__all__ = ["CLASS_DEMO_COUNTS", "CLASS_DEMO_SIZE", "class_demo_sample", "prepare_class_demo"]

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
    (folder / "README.txt").write_text(
        "Synthetic demo images of medssm-monai, computed, not photographed. For trying the software only.\n",
        encoding="utf-8",
    )


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
