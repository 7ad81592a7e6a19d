"""Shapes and waves on a grid of two or three axes, of which synthetic images are made."""

from __future__ import annotations

import numpy as np

__all__ = ["ellipsoid_radius", "waves", "within"]

Array = np.ndarray


def ellipsoid_radius(grid: Array, center: Array, radii: Array) -> Array:
    """Distance from a center in units of the radii: 1 on the ellipsoid. ``grid`` is ``(dims, *size)`` in [-1, 1]."""
    shape = (-1,) + (1,) * (grid.ndim - 1)
    return np.sqrt((((grid - center.reshape(shape)) / radii.reshape(shape)) ** 2).sum(axis=0))


def within(radius: Array, edge: float, softness: float) -> Array:
    """1 inside, 0 outside, linear over ``softness`` around ``edge``."""
    return np.clip(0.5 + (edge - radius) / softness, 0.0, 1.0)


def waves(rng: np.random.Generator, grid: Array, count: int, low: float, high: float) -> Array:
    """Sum of plane waves of random direction, phase and frequency (periods per side), about in [-1, 1]."""
    total = np.zeros(grid.shape[1:])
    for _ in range(count):
        direction = rng.normal(size=(grid.shape[0],))
        direction *= np.pi * rng.uniform(low, high) / np.linalg.norm(direction)
        total += np.cos(np.tensordot(direction, grid, axes=1) + rng.uniform(0.0, 2 * np.pi))
    return total / np.sqrt(count)
