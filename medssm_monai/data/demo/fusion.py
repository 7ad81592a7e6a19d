"""The embedded demo set for fusion: synthetic registered pairs of images or volumes, written on first use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import
from PIL import Image

from ..datalists.split_files import PARTS
from .folder import generated_folder
from .grid import ellipsoid_radius, waves, within

__all__ = [
    "FUSION_DEMO_COUNTS",
    "FUSION_DEMO_SIZE",
    "FUSION_DEMO_SOURCES",
    "fusion_demo_sample",
    "prepare_fusion_demo",
    "render_pair",
]

Array = np.ndarray


def _spots(rng: np.random.Generator, grid: Array, count: int, radius: tuple[float, float], soft: float) -> Array:
    """Share covered by ``count`` round spots inside the head."""
    covered = np.zeros(grid.shape[1:])
    for _ in range(count):
        center, size = rng.uniform(-0.4, 0.4, (grid.shape[0],)), rng.uniform(*radius)
        covered = np.maximum(
            covered, within(ellipsoid_radius(grid, center, np.full(grid.shape[0], size)), 1.0, soft / size)
        )
    return covered


def render_pair(
    rng: np.random.Generator,
    size: Sequence[int],
    lesions: tuple[int, int] = (1, 2),
    specks: tuple[int, int] = (2, 4),
) -> tuple[Array, Array]:
    """Source A and source B, uint8 arrays of ``size`` (two or three axes).

    Args:
        rng: generator; the pair depends on its state and the other arguments only.
        size: pixels or voxels along each axis.
        lesions: smallest and largest number of soft lesions, which only source A shows.
        specks: smallest and largest number of dense specks, which only source B shows.
    """
    dims = len(size)
    axes = [(np.arange(side) + 0.5) / side * 2.0 - 1.0 for side in size]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))  # (dims, *size)
    pixel = 2.0 / min(size)
    head = ellipsoid_radius(grid, rng.uniform(-0.05, 0.05, dims), rng.uniform(0.72, 0.9, dims))
    inside, shell = within(head, 0.86, 2 * pixel), within(head, 0.95, 2 * pixel)
    scalp = within(head, 1.02, 2 * pixel) - shell
    bone = shell - inside
    folds = np.tanh(2.0 * waves(rng, grid, 8, 3.0, 8.0))
    cavity = np.zeros(tuple(size))
    for side in (-1.0, 1.0):
        center = rng.uniform(-0.1, 0.1, dims)
        center[-1] = side * rng.uniform(0.14, 0.22)
        cavity = np.maximum(
            cavity, within(ellipsoid_radius(grid, center, rng.uniform(0.1, 0.25, dims)), 1.0, 8 * pixel)
        )
    lesion = _spots(rng, grid, int(rng.integers(lesions[0], lesions[1] + 1)), (0.1, 0.2), 3 * pixel)
    dense = _spots(rng, grid, int(rng.integers(specks[0], specks[1] + 1)), (0.04, 0.09), 2 * pixel)
    a = (
        inside * (0.48 + 0.14 * folds * (1.0 - lesion) + 0.3 * lesion) * (1.0 - 0.85 * cavity)
        + 0.65 * scalp
        + 0.04 * bone
    )
    b = inside * (0.3 + 0.02 * folds - 0.08 * cavity) + 0.95 * bone + 0.2 * scalp
    b = b + (0.8 - b) * dense * inside
    images = (image + rng.normal(0.0, 0.01, image.shape) * (head < 1.05) for image in (a, b))
    a, b = (np.floor(np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8) for image in images)
    return a, b


nib, _ = optional_import("nibabel")
FUSION_DEMO_SIZE = {2: 64, 3: 48}
FUSION_DEMO_COUNTS = {2: (48, 12, 12), 3: (6, 2, 2)}
FUSION_DEMO_SOURCES = ("source_a", "source_b")
FUSION_DEMO_VERSION = 1  # raise it with every change of a pixel: the version is part of the folder name
SEED = 2026
SMALLEST = 24
SPACING = np.diag([1.5, 1.5, 1.5, 1.0])  # mm, of the volumes


def fusion_demo_sample(part: str, index: int, size: int, spatial_dims: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Sources A and B number ``index`` of a part: uint8, ``spatial_dims`` axes of ``size``."""
    rng = np.random.default_rng([SEED, spatial_dims, PARTS.index(part), index])
    return render_pair(rng, (size,) * spatial_dims)


def _save(image: np.ndarray, stem: Path) -> None:
    if image.ndim == 2:
        Image.fromarray(image).save(stem.with_suffix(".png"))
    else:
        nib.save(nib.Nifti1Image(image, SPACING), stem.with_suffix(".nii.gz"))


def _write(folder: Path, size: int, counts: Sequence[int], spatial_dims: int) -> None:
    for part, count in zip(PARTS, counts, strict=True):
        for source in FUSION_DEMO_SOURCES:
            (folder / part / source).mkdir(parents=True)
        for index in range(count):
            pair = fusion_demo_sample(part, index, size, spatial_dims)
            for source, image in zip(FUSION_DEMO_SOURCES, pair, strict=True):
                _save(image, folder / part / source / f"demo_{part}_{index:03d}")


def prepare_fusion_demo(
    demo_dir: PathLike | None = None,
    spatial_dims: int = 2,
    size: int | None = None,
    counts: Sequence[int] | None = None,
) -> Path:
    """Folder of the fusion demo set (``training/source_a/``, ``training/source_b/``, ...), written on first use.

    Args:
        demo_dir: parent folder; None is ``medssm_monai`` in the user's cache folder.
        spatial_dims: 2 for PNG pictures, 3 for NIfTI volumes.
        size: pixels along every axis, at least 24; None is 64 in 2D, 48 in 3D.
        counts: pairs for training, validation and test, each at least one; None is 48, 12, 12 in 2D, 6, 2, 2 in 3D.

    Raises:
        ValueError: arguments out of range.
        OSError: ``demo_dir`` cannot be written.
    """
    if spatial_dims not in FUSION_DEMO_SIZE:
        raise ValueError(f"the fusion demo set has 2 or 3 spatial dimensions, got spatial_dims={spatial_dims}.")
    size = FUSION_DEMO_SIZE[spatial_dims] if size is None else size
    counts = tuple(int(count) for count in (FUSION_DEMO_COUNTS[spatial_dims] if counts is None else counts))
    if size < SMALLEST or len(counts) != 3 or min(counts) < 1:
        raise ValueError(f"demo pairs need size >= {SMALLEST} and three counts >= 1, got {size}, {counts}.")
    name = f"fusion-demo-v{FUSION_DEMO_VERSION}-{spatial_dims}d-{size}px-{'-'.join(map(str, counts))}"
    facts = {"version": FUSION_DEMO_VERSION, "seed": SEED, "size": size, "counts": list(counts)}
    return generated_folder(demo_dir, name, lambda folder: _write(folder, size, counts, spatial_dims), facts)
