"""Synthetic pictures and volumes of four structures; NumPy only, the same on every machine.

A body lies on black. In it are an organ, a large ellipsoid; a small round nodule inside the organ; a vessel, a long
bent tube; and a capsule, a closed layer around a cavity. Brightness tells little: organ, vessel and capsule share one,
the nodule and the cavity have that of the body around them, whose light is uneven, and soft glows and small specks are
as bright as the structures. Shape, size and place tell them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .grid import ellipsoid_radius, waves, within

__all__ = ["render_structures"]

Array = np.ndarray
ORGAN, VESSEL, CAPSULE, NODULE = 1, 2, 3, 4


def _directions(rng: np.random.Generator, dims: int) -> Array:
    """Orthonormal rows: from the capsule to the organ, along the vessel, and in 3D what is left."""
    turn, tilt = rng.uniform(-0.5, 0.5, 2)
    across, beside = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    if dims == 2:
        return np.stack([across, beside])
    across, beside, up = np.append(across, 0.0), np.append(beside, 0.0), np.array([0.0, 0.0, 1.0])
    return np.stack([across, np.cos(tilt) * up + np.sin(tilt) * beside, np.cos(tilt) * beside - np.sin(tilt) * up])


def _ball(grid: Array, center: Array, radii: Array) -> Array:
    """Distance to an ellipsoid's surface, about that in the grid's units; negative inside."""
    return (ellipsoid_radius(grid, center, radii) - 1.0) * float(radii.min())


def _tube(rng: np.random.Generator, grid: Array, directions: Array, place: float) -> Array:
    """Distance to the wall of a bent tube through the whole image; negative inside."""
    along = np.tensordot(directions[1], grid, axes=1)
    squared = np.zeros(grid.shape[1:])
    for number, direction in enumerate(np.delete(directions, 1, axis=0)):
        bend = rng.uniform(0.02, 0.06) * np.sin(rng.uniform(2.0, 4.0) * along + rng.uniform(0.0, 2 * np.pi))
        squared += (np.tensordot(direction, grid, axes=1) - bend - (place if number == 0 else 0.0)) ** 2
    return np.sqrt(squared) - rng.uniform(0.09, 0.115)


def _distances(rng: np.random.Generator, grid: Array) -> list[Array]:
    """Distance to organ, vessel, capsule and nodule, in the order of their numbers; negative inside."""
    dims = len(grid)
    directions = _directions(rng, dims)
    radii = rng.uniform(0.36, 0.44, dims)
    center = directions[0] * rng.uniform(0.46, 0.5) + directions[1] * rng.uniform(-0.15, 0.15)
    small = rng.uniform(0.14, 0.18)
    away = rng.normal(size=dims)
    away *= rng.uniform(0.0, radii.min() - small - 0.1) / np.linalg.norm(away)
    outer = rng.uniform(0.28, 0.34, dims)
    place = directions[0] * rng.uniform(-0.58, -0.52) + directions[1] * rng.uniform(-0.2, 0.2)
    layer = rng.uniform(0.05, 0.065)  # half of its thickness
    organ = _ball(grid, center, radii)
    vessel = _tube(rng, grid, directions, rng.uniform(-0.1, -0.07))
    capsule = np.abs(_ball(grid, place, outer) + layer) - layer
    return [organ, vessel, capsule, _ball(grid, center + away, np.full(dims, small))]


def _glows(rng: np.random.Generator, grid: Array, voxel: float) -> Array:
    """Brightness of soft glows and small specks, which are no structures."""
    light, dims = np.zeros(grid.shape[1:]), len(grid)
    for _ in range(rng.integers(2, 5)):
        far = ellipsoid_radius(grid, rng.uniform(-0.9, 0.9, dims), rng.uniform(0.2, 0.35, dims))
        light += rng.choice([-1.0, 1.0]) * rng.uniform(0.1, 0.2) * np.exp(-(far**2))
    for _ in range(rng.integers(4, 9)):
        far = ellipsoid_radius(grid, rng.uniform(-0.9, 0.9, dims), np.ones(dims))
        light += rng.uniform(0.15, 0.25) * within(far, 1.2 * voxel, voxel)
    return light


def render_structures(
    rng: np.random.Generator, size: Sequence[int], spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness ``size`` float64, about in [0, 1] and 0 outside the body, and numbers of structures, uint8: 1 organ,
    2 vessel, 3 capsule, 4 nodule.

    Args:
        rng: generator; the image depends on its state and the other arguments only.
        size: pixels or voxels along each axis.
        spacing: of them along each axis, in any unit.
    """
    dims = len(size)
    half = min(side * step for side, step in zip(size, spacing, strict=True)) / 2.0
    axes = [(np.arange(side) + 0.5 - side / 2.0) * step / half for side, step in zip(size, spacing, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"))  # (dims, *size), in halves of the shortest side
    voxel = max(spacing) / half
    extent = np.array([side * step / 2.0 / half for side, step in zip(size, spacing, strict=True)])
    body = ellipsoid_radius(grid, np.zeros(dims), extent * rng.uniform(1.0, 1.1, dims)) < 1.0
    labels = np.zeros(tuple(size), np.uint8)
    bright = np.zeros(tuple(size))
    for number, distance in enumerate(_distances(rng, grid), start=1):
        labels[(distance < 0.0) & body] = number
        shown = within(distance, 0.0, voxel)
        bright = bright * (1.0 - shown) if number == NODULE else np.maximum(bright, shown)
    light = rng.uniform(0.35, 0.5) + 0.05 * waves(rng, grid, 6, 0.5, 1.5) + 0.02 * waves(rng, grid, 8, 4.0, 10.0)
    light += _glows(rng, grid, voxel) * (1.0 - bright)
    light += rng.uniform(0.2, 0.26) * bright
    light *= 1.0 + 0.12 * np.clip(waves(rng, grid, 3, 0.4, 1.0), -1.5, 1.5)  # as an uneven coil or lamp
    light += rng.normal(0.0, 0.03, tuple(size))
    return np.clip(light, 0.02, 1.0) * body, labels
