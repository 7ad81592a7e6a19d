"""Synthetic pairs of registered head-like images or volumes with complementary structure; NumPy only.

Source A shows soft structure (folds, dark cavities, a soft lesion) and a dark shell, source B a bright shell and dense
specks over nearly flat insides. Neither an average nor a maximum keeps the edges of both at their contrast.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["render_pair"]

Array = np.ndarray


def _radius(grid: Array, centre: Array, radii: Array) -> Array:
    """Distance from a centre in units of the radii: 1 on the ellipsoid. ``grid`` is ``(dims, *size)`` in [-1, 1]."""
    shape = (-1,) + (1,) * (grid.ndim - 1)
    return np.sqrt((((grid - centre.reshape(shape)) / radii.reshape(shape)) ** 2).sum(axis=0))


def _within(radius: Array, edge: float, softness: float) -> Array:
    """1 inside, 0 outside, linear over ``softness`` around ``edge``."""
    return np.clip(0.5 + (edge - radius) / softness, 0.0, 1.0)


def _waves(rng: np.random.Generator, grid: Array, count: int, low: float, high: float) -> Array:
    """Sum of plane waves of random direction, phase and frequency (periods per side), about in [-1, 1]."""
    total = np.zeros(grid.shape[1:])
    for _ in range(count):
        direction = rng.normal(size=grid.shape[0])
        direction *= np.pi * rng.uniform(low, high) / np.linalg.norm(direction)
        total += np.cos(np.tensordot(direction, grid, axes=1) + rng.uniform(0.0, 2 * np.pi))
    return total / np.sqrt(count)


def _spots(rng: np.random.Generator, grid: Array, count: int, radius: tuple[float, float], soft: float) -> Array:
    """Share covered by ``count`` round spots inside the head."""
    covered = np.zeros(grid.shape[1:])
    for _ in range(count):
        centre, size = rng.uniform(-0.4, 0.4, grid.shape[0]), rng.uniform(*radius)
        covered = np.maximum(covered, _within(_radius(grid, centre, np.full(grid.shape[0], size)), 1.0, soft / size))
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
    head = _radius(grid, rng.uniform(-0.05, 0.05, dims), rng.uniform(0.72, 0.9, dims))
    inside, shell = _within(head, 0.86, 2 * pixel), _within(head, 0.95, 2 * pixel)
    scalp = _within(head, 1.02, 2 * pixel) - shell
    bone = shell - inside
    folds = np.tanh(2.0 * _waves(rng, grid, 8, 3.0, 8.0))
    cavity = np.zeros(tuple(size))
    for side in (-1.0, 1.0):
        centre = rng.uniform(-0.1, 0.1, dims)
        centre[-1] = side * rng.uniform(0.14, 0.22)
        cavity = np.maximum(cavity, _within(_radius(grid, centre, rng.uniform(0.1, 0.25, dims)), 1.0, 8 * pixel))
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
