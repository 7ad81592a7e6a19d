"""The embedded demo set of four structures: synthetic pictures or volumes in nnU-Net's layout, written on first use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import
from PIL import Image

from ..datalists.split_files import PARTS
from .folder import generated_folder
from .render_structures import render_structures

__all__ = [
    "STRUCTURES_DEMO_COUNTS",
    "STRUCTURES_DEMO_LABELS",
    "STRUCTURES_DEMO_SIZE",
    "prepare_structures_demo",
    "structures_demo_sample",
]

nib, _ = optional_import("nibabel")
STRUCTURES_DEMO_LABELS = {"organ": 1, "vessel": 2, "capsule": 3, "nodule": 4}
STRUCTURES_DEMO_SIZE = {2: (64, 64), 3: (48, 48, 40)}
STRUCTURES_DEMO_COUNTS = {2: (96, 32, 24), 3: (24, 6, 8)}
STRUCTURES_DEMO_VERSION = 1  # raise it with every change of a voxel: the version is part of the folder name
SEED = 2027
SMALLEST = 32
SPACING = {2: (1.0, 1.0), 3: (1.0, 1.0, 1.5)}  # mm, of the volumes
AFFINE = np.array([[-1.0, 0, 0, 24], [0, -1.0, 0, 20], [0, 0, 1.5, -110], [0, 0, 0, 1]])  # x to the left, y to the back
LARGEST = 1200  # of the volumes' values
CHANNELS = {2: ("R", "G", "B"), 3: ("MRI",)}
ENDING = {2: ".png", 3: ".nii.gz"}


def structures_demo_sample(
    part: str, index: int, spatial_dims: int = 2, size: Sequence[int] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map number ``index`` of a part.

    Args:
        part: ``"training"``, ``"validation"`` or ``"test"``.
        index: from 0; every sample has its own generator and does not depend on how many others there are.
        spatial_dims: 2 or 3.
        size: pixels or voxels along each axis; None is :data:`STRUCTURES_DEMO_SIZE`.

    Returns:
        ``(H, W, 3)`` uint8 or ``(X, Y, Z)`` int16, and numbers of :data:`STRUCTURES_DEMO_LABELS` ``(H, W)`` or
        ``(X, Y, Z)`` uint8.
    """
    rng = np.random.default_rng([SEED, spatial_dims, PARTS.index(part), index])
    shape = STRUCTURES_DEMO_SIZE[spatial_dims] if size is None else tuple(size)
    light, labels = render_structures(rng, shape, SPACING[spatial_dims])
    if spatial_dims == 2:
        tint = np.array([1.0, rng.uniform(0.65, 0.85), rng.uniform(0.55, 0.8)])
        noise = rng.normal(0.0, 0.012, (*shape, 3)) * (light > 0)[..., None]
        picture = np.clip(light[..., None] * tint + noise, 0.0, 1.0)
        return np.floor(picture * 255.0 + 0.5).astype(np.uint8), labels
    return np.floor(light * rng.uniform(0.6, 1.0) * LARGEST + 0.5).astype(np.int16), labels


def _save(values: np.ndarray, path: Path, spatial_dims: int) -> None:
    if spatial_dims == 2:
        Image.fromarray(values).save(path)
        return
    image = nib.Nifti1Image(values, AFFINE)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


def _write(folder: Path, size: Sequence[int], counts: Sequence[int], spatial_dims: int) -> None:
    ending, split = ENDING[spatial_dims], {}
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True)
    for part, count in zip(PARTS, counts, strict=True):
        split[part] = [f"demo_{part}_{index:03d}" for index in range(count)]
        for index, name in enumerate(split[part]):
            image, labels = structures_demo_sample(part, index, spatial_dims, size)
            _save(image, folder / "imagesTr" / f"{name}_0000{ending}", spatial_dims)
            _save(labels, folder / "labelsTr" / f"{name}{ending}", spatial_dims)
    facts = {
        "channel_names": {str(number): name for number, name in enumerate(CHANNELS[spatial_dims])},
        "labels": {"background": 0, **STRUCTURES_DEMO_LABELS},
        "numTraining": sum(counts),  # nnU-Net counts what lies in imagesTr; split.json says what is tested on
        "file_ending": ending,
        "description": "demo (synthetic)",
    }
    for name, content in (("dataset.json", facts), ("split.json", split)):
        (folder / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def prepare_structures_demo(
    demo_dir: PathLike | None = None,
    spatial_dims: int = 2,
    counts: Sequence[int] | None = None,
    size: int | Sequence[int] | None = None,
) -> Path:
    """Folder of the demo set of four structures in nnU-Net's layout, written on first use.

    ``imagesTr/<name>_0000.png`` (one RGB file for three channels, as nnU-Net has natural images) or ``.nii.gz`` (one
    channel, voxels of 1 x 1 x 1.5 mm), ``labelsTr/<name>.png`` or ``.nii.gz`` with the numbers of
    :data:`STRUCTURES_DEMO_LABELS`, ``dataset.json``, and ``split.json`` with the names for training, validation and
    test, all of which lie in these two folders.

    Args:
        demo_dir: parent folder; None is ``medssm_monai`` in the user's cache folder.
        spatial_dims: 2 for PNG pictures, 3 for NIfTI volumes.
        counts: images for training, validation and test, each at least one; None is 96, 32, 24 in 2D, 24, 6, 8 in 3D.
        size: pixels along every axis or along each, at least 32; None is 64 x 64 in 2D, 48 x 48 x 40 in 3D.

    Raises:
        ValueError: arguments out of range.
        OSError: ``demo_dir`` cannot be written.
    """
    if spatial_dims not in STRUCTURES_DEMO_SIZE:
        raise ValueError(f"the demo set of structures has 2 or 3 spatial dimensions, got spatial_dims={spatial_dims}.")
    given = STRUCTURES_DEMO_SIZE[spatial_dims] if size is None else size
    sides = (int(given),) * spatial_dims if isinstance(given, int) else tuple(int(side) for side in given)
    counts = tuple(int(count) for count in (STRUCTURES_DEMO_COUNTS[spatial_dims] if counts is None else counts))
    if len(sides) != spatial_dims or min(sides) < SMALLEST or len(counts) != 3 or min(counts) < 1:
        raise ValueError(
            f"demo images need {spatial_dims} sides >= {SMALLEST} and three counts >= 1, got {sides}, {counts}."
        )
    named = "x".join(map(str, sides))
    name = f"structures-demo-v{STRUCTURES_DEMO_VERSION}-{spatial_dims}d-{named}px-{'-'.join(map(str, counts))}"
    facts = {"version": STRUCTURES_DEMO_VERSION, "seed": SEED, "size": list(sides), "counts": list(counts)}
    return generated_folder(demo_dir, name, lambda folder: _write(folder, sides, counts, spatial_dims), facts)
