"""Synthetic skin- and mucosa-like pictures with one lesion each; NumPy only, the same on every machine.

The lesion is the one large, mottled spot with an irregular sharp border. Its colour tells nothing: it is as often
brighter as darker than its surroundings, whose brightness varies more than the lesion's contrast, and soft shadows,
smooth spots, small spots and rings carry the same colours. So a classifier of single pixels fails, a network that
sees shape and texture does not.
"""

from __future__ import annotations

import numpy as np

__all__ = ["artefacts", "background", "cover", "noise", "render_sample", "spot_distance"]

Array = np.ndarray


def _grid(size: int) -> tuple[Array, Array]:
    """Row and column coordinates of the pixel centres, in [0, 1]."""
    axis = (np.arange(size) + 0.5) / size
    return np.meshgrid(axis, axis, indexing="ij")


def noise(rng: np.random.Generator, size: int, cells: int) -> Array:
    """Smooth noise in [-1, 1]: random values on ``cells`` x ``cells`` knots, blended in between."""
    knots = rng.uniform(-1.0, 1.0, (cells + 1, cells + 1))
    place = (np.arange(size) + 0.5) / size * cells
    index = place.astype(int)
    part = place - index
    part = part * part * (3.0 - 2.0 * part)
    rows = knots[index] * (1.0 - part)[:, None] + knots[index + 1] * part[:, None]  # (size, cells + 1)
    return rows[:, index] * (1.0 - part) + rows[:, index + 1] * part  # (size, size)


def _spot(row: Array, column: Array, centre: Array, radius: float, harmonics: Array, stretch: Array) -> Array:
    """Signed distance (units of the image side, negative inside) to a wavy, turned ellipse."""
    dy, dx = row - centre[0], column - centre[1]
    along = dx * np.cos(stretch[1]) + dy * np.sin(stretch[1])
    across = (dy * np.cos(stretch[1]) - dx * np.sin(stretch[1])) * stretch[0]
    angle = np.arctan2(across, along)
    border = np.ones_like(angle)
    for order, (height, phase) in enumerate(harmonics, start=2):
        border = border + height * np.cos(order * angle + phase)
    return np.sqrt(along**2 + across**2) - radius * border


def spot_distance(size: int, centre: Array, radius: float, harmonics: Array, stretch: Array) -> Array:
    """Signed distance ``(size, size)`` to a wavy, turned ellipse, in units of the image side, negative inside.

    Args:
        size: side in pixels.
        centre: row and column in [0, 1].
        radius: mean radius.
        harmonics: height (share of the radius) and phase of the border's waves, the first with two lobes.
        stretch: ratio of the axes, and the turn in radians.
    """
    return _spot(*_grid(size), centre, radius, harmonics, stretch)


def cover(distance: Array, softness: float) -> Array:
    """Share of each pixel covered by a spot: 1 inside, 0 outside, linear over ``softness``."""
    return np.clip(0.5 - distance / softness, 0.0, 1.0)


def _random_spot(rng: np.random.Generator, size: int, radius: float, wave: float, margin: float) -> Array:
    harmonics = np.stack([rng.uniform(-wave, wave, 5), rng.uniform(0.0, 2 * np.pi, 5)], axis=1)
    stretch = np.array([rng.uniform(1.0, 1.5), rng.uniform(0.0, np.pi)])
    return spot_distance(size, rng.uniform(margin, 1.0 - margin, 2), radius, harmonics, stretch)


def background(rng: np.random.Generator, size: int) -> Array:
    """Brightness of bare skin or mucosa: uneven light, fine texture, one soft shadow or glow."""
    light = np.full((size, size), rng.uniform(0.35, 0.8))
    row, column = _grid(size)
    turn = rng.uniform(0.0, 2 * np.pi)
    light += rng.uniform(0.05, 0.3) * ((row - 0.5) * np.sin(turn) + (column - 0.5) * np.cos(turn))
    light += 0.06 * noise(rng, size, 5) + 0.025 * noise(rng, size, 30)
    shade = np.exp(-((_random_spot(rng, size, 0.0, 0.0, 0.1) / rng.uniform(0.15, 0.3)) ** 2))
    light += rng.choice([-1.0, 1.0]) * rng.uniform(0.08, 0.18) * shade  # a soft shadow or glow
    return light


def _distractors(rng: np.random.Generator, size: int, pixel: float) -> Array:
    """Brightness added by smooth spots, small spots and rings."""
    light = np.zeros((size, size))
    for _ in range(rng.integers(1, 3)):  # small spots
        spot = cover(_random_spot(rng, size, rng.uniform(0.02, 0.05), 0.1, 0.05), 1.5 * pixel)
        light += rng.choice([-1.0, 1.0]) * rng.uniform(0.12, 0.22) * spot
    for _ in range(rng.integers(0, 2)):  # larger smooth spots with a blurred border
        spot = cover(_random_spot(rng, size, rng.uniform(0.06, 0.13), 0.05, 0.05), 14 * pixel)
        light += rng.choice([-1.0, 1.0]) * rng.uniform(0.12, 0.22) * spot
    for _ in range(rng.integers(0, 2)):  # rings
        distance = np.abs(_random_spot(rng, size, rng.uniform(0.06, 0.12), 0.02, 0.1))
        light += rng.choice([-1.0, 1.0]) * 0.15 * cover(distance - pixel, pixel)
    return light


def artefacts(rng: np.random.Generator, size: int, image: Array, pixel: float) -> Array:
    """Hairs, specular highlights and, on most pictures, a vignette."""
    row, column = _grid(size)
    for _ in range(rng.integers(0, 3)):
        turn, bend, shift = rng.uniform(0.0, np.pi), rng.uniform(-0.6, 0.6), rng.uniform(-0.4, 0.4)
        along = (column - 0.5) * np.cos(turn) + (row - 0.5) * np.sin(turn)
        across = (row - 0.5) * np.cos(turn) - (column - 0.5) * np.sin(turn)
        hair = cover(np.abs(across - shift - bend * along**2) - 0.4 * pixel, pixel)
        image = image * (1.0 - 0.6 * hair[..., None])
    for _ in range(rng.integers(0, 4)):
        gleam = cover(_random_spot(rng, size, rng.uniform(0.01, 0.03), 0.1, 0.1), 2 * pixel)
        image = image + (0.97 - image) * gleam[..., None]
    if rng.uniform() < 0.6:
        far = np.sqrt((row - 0.5) ** 2 + (column - 0.5) ** 2) / 0.7071
        image = image * (1.0 - rng.uniform(0.3, 0.9) * far**4)[..., None]
    return image


def render_sample(rng: np.random.Generator, size: int) -> tuple[Array, Array]:
    """One picture ``(size, size, 3)`` uint8 and its mask ``(size, size)`` uint8 in {0, 255}.

    Args:
        rng: generator; the picture depends on its state and ``size`` only.
        size: side in pixels.
    """
    pixel = 1.0 / size
    light = background(rng, size) + _distractors(rng, size, pixel)
    lesion = _random_spot(rng, size, rng.uniform(0.23, 0.33), 0.06, 0.33)
    contrast = rng.choice([-1.0, 1.0]) * rng.uniform(0.24, 0.34)
    contrast = contrast + 0.08 * noise(rng, size, 14) + 0.04 * noise(rng, size, 28)  # mottled
    covered = cover(lesion, 2 * pixel)
    tint = np.array([1.0, rng.uniform(0.62, 0.85), rng.uniform(0.52, 0.8)])
    stain = 1.0 + rng.uniform(-0.06, 0.06, 3) * covered[..., None]  # the lesion's own, slight hue
    image = (light + contrast * covered)[..., None] * tint * stain
    image = artefacts(rng, size, image, pixel)
    image = image + rng.normal(0.0, 0.012, image.shape)
    picture = np.floor(np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
    return picture, np.where(lesion < 0.0, 255, 0).astype(np.uint8)
