"""Synthetic lesion pictures of four classes that differ in shape and texture only; NumPy, the same on every machine.

The classes share brightness, polarity, colour, size and place: a smooth disc, a lobed one, a ring, and a disc with a
coarse mottle. Light, shadows, small spots and hairs are those of the segmentation demo. So a linear classifier of
pixels gets a good third of the pictures right (chance: a quarter), a network that sees shape and texture most of them.
"""

from __future__ import annotations

import numpy as np

from .demo_render import artefacts, background, cover, noise, spot_distance

__all__ = ["CLASS_DEMO_NAMES", "render_class_sample"]

CLASS_DEMO_NAMES = ("lobed", "mottled", "ring", "smooth")
Array = np.ndarray


def _lesion(rng: np.random.Generator, size: int, kind: str) -> tuple[Array, Array]:
    """Cover in [0, 1] of a lesion, and the change of brightness inside it, in units of its contrast."""
    pixel = 1.0 / size
    centre, radius = rng.uniform(0.38, 0.62, 2), rng.uniform(0.2, 0.28)
    stretch = np.array([rng.uniform(1.0, 1.3), rng.uniform(0.0, np.pi)])
    harmonics = np.stack([rng.uniform(-0.04, 0.04, 6), rng.uniform(0.0, 2 * np.pi, 6)], axis=1)
    if kind == "lobed":
        harmonics[rng.integers(3, 6), 0] = rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.3)  # five to seven lobes
    distance = spot_distance(size, centre, radius, harmonics, stretch)
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
    image = artefacts(rng, size, image, 1.0 / size)
    image = image + rng.normal(0.0, 0.02, image.shape)
    return np.floor(np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
