"""The embedded demo set: synthetic pictures written to disk on first use, the same on every machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.config import PathLike
from PIL import Image

from ..datalists.split_files import PARTS
from .folder import generated_folder
from .render import render_sample

__all__ = ["DEMO", "DEMO_COUNTS", "DEMO_SIZE", "demo_sample", "prepare_demo"]

DEMO = "demo"
DEMO_SIZE = 64
DEMO_COUNTS = (96, 32, 24)
DEMO_VERSION = 2  # raise it with every change of a pixel: the version is part of the folder name
SEED = 2024


def demo_sample(part: str, index: int, size: int = DEMO_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Picture ``(size, size, 3)`` uint8 and mask ``(size, size)`` uint8 in {0, 255} number ``index`` of a part.

    Every sample has its own generator, so a sample does not depend on how many others there are.
    """
    return render_sample(np.random.default_rng([SEED, PARTS.index(part), index]), size)


def _write(folder: Path, size: int, counts: Sequence[int]) -> None:
    split: dict[str, list[str]] = {}
    for sub in ("images", "masks"):
        (folder / sub).mkdir(parents=True)
    for part, count in zip(PARTS, counts, strict=True):
        split[part] = [f"demo_{part}_{index:03d}" for index in range(count)]
        for index, name in enumerate(split[part]):
            picture, mask = demo_sample(part, index, size)
            Image.fromarray(picture).save(folder / "images" / f"{name}.png")
            Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    (folder / "split.json").write_text(json.dumps(split, indent=1) + "\n", encoding="utf-8")


def prepare_demo(demo_dir: PathLike | None = None, size: int = DEMO_SIZE, counts: Sequence[int] = DEMO_COUNTS) -> Path:
    """Folder of the demo set (``images/``, ``masks/``, ``split.json``), written on first use.

    The set lies in a subfolder of ``demo_dir`` whose name carries version, size and counts. A complete one is used
    again; a damaged one is replaced. It is built beside its place and then renamed, so a killed process leaves nothing
    half-made and two processes may start at once.

    Args:
        demo_dir: parent folder; None is ``medssm_monai`` in the user's cache folder.
        size: side of the square pictures in pixels, at least 32.
        counts: pictures for training, validation and test.

    Raises:
        ValueError: size or counts out of range.
        OSError: ``demo_dir`` cannot be written.
    """
    counts = tuple(int(count) for count in counts)
    if size < 32 or len(counts) != 3 or min(counts) < 0 or counts[0] < 1:
        raise ValueError(f"demo images need size >= 32 and three counts >= 0 (training >= 1), got {size}, {counts}.")
    name = f"demo-v{DEMO_VERSION}-{size}px-{'-'.join(map(str, counts))}"
    facts = {"version": DEMO_VERSION, "seed": SEED, "size": size, "counts": list(counts)}
    return generated_folder(demo_dir, name, lambda folder: _write(folder, size, counts), facts)
