"""Generated (not real) registered pairs with labels that take both sources to tell."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from ..data.demo.fusion import render_pair

PARTS = ("training", "validation", "test")
SOURCES = ("source_a", "source_b")
CLASSES = {"neither": (0, 0), "lesion": (1, 0), "specks": (0, 1), "both": (1, 1)}  # seen in A, seen in B
LESIONS, SPECKS = ((0, 0), (1, 2)), ((0, 0), (3, 5))
SEED = 4242


def write_pairs(folder: Path, dims: int, size: int, counts: Sequence[int]) -> None:
    """``folder/<part>/<source>/<class>-<number>``: PNG in 2D, NIfTI in 3D; the classes take turns.

    Two of the four classes look alike in source A, and two others in source B: nothing that sees one source alone can
    be right more often than in half of the cases, but by luck.
    """
    for part_number, (part, count) in enumerate(zip(PARTS, counts, strict=True)):
        for source in SOURCES:
            (folder / part / source).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            name = list(CLASSES)[index % len(CLASSES)]
            in_a, in_b = CLASSES[name]
            rng = np.random.default_rng([SEED, dims, part_number, index])
            pair = render_pair(rng, (size,) * dims, LESIONS[in_a], SPECKS[in_b])
            for source, image in zip(SOURCES, pair, strict=True):
                _save(image, folder / part / source / f"{name}-{index:04d}")


def _save(image: np.ndarray, stem: Path) -> None:
    if image.ndim == 2:
        Image.fromarray(image).save(f"{stem}.png")
    else:
        nib.save(nib.Nifti1Image(image, np.eye(4)), f"{stem}.nii.gz")


def sort_into_classes(images: Path, target: Path) -> None:
    """Copy the images of one part, ``<class>-<number>...``, into one folder per class under ``target``."""
    for file in sorted(images.iterdir()):
        folder = target / file.name.partition("-")[0]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file.name)
