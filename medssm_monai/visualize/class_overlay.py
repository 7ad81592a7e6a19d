"""Pictures of segmentations with several classes, and of volumes: a plane of the volume, each class in its color."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .overlay import Color, _outline, to_rgb

__all__ = ["class_legend", "overlay_classes", "plane_image", "volume_plane", "volume_slice"]

COVER = 0.4  # of a class's color over the image
WINDOW = (0.5, 99.5)  # percentiles of a plane that become black and white; single bright voxels would darken it


def volume_slice(*masks: np.ndarray) -> int:
    """The slice across the last axis in which the masks have most foreground together; the middle one without any.

    Args:
        masks: bool ``(..., X, Y, Z)`` each.
    """
    found = np.sum([np.count_nonzero(mask, axis=tuple(range(mask.ndim - 1))) for mask in masks], axis=0)
    return int(found.argmax()) if found.any() else len(found) // 2


def volume_plane(values: np.ndarray, index: int, affine: Any | None = None) -> np.ndarray:
    """One slice of a volume as a picture shows it.

    Up is superior, or anterior in an axial slice; left is the patient's right, or anterior in a sagittal slice.

    Args:
        values: ``(..., X, Y, Z)``.
        index: along the last axis.
        affine: ``(4, 4)`` from voxels to world coordinates (RAS) as of a ``MetaTensor``; None: the axes are these.

    Returns:
        ``(..., H, W)``.
    """
    from nibabel.orientations import io_orientation

    ornt = io_orientation(np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64))
    plane = values[..., index]  # (..., X, Y)
    upward = 0 if np.nan_to_num(ornt[0, 0], nan=-1) > np.nan_to_num(ornt[1, 0], nan=-1) else 1
    if upward == 1:
        plane = plane.swapaxes(-1, -2)
    if ornt[upward, 1] > 0:  # rows go down
        plane = np.flip(plane, -2)
    if ornt[1 - upward, 1] > 0:  # columns go to the right
        plane = np.flip(plane, -1)
    return plane


def plane_image(image: Any, index: int, count: int, affine: Any | None = None) -> np.ndarray:
    """A slice of the first channel behind masks of ``count`` slices, from its 0.5th percentile to its 99.5th.

    Args:
        image: ``(C, X, Y, Z)``, with another number of slices perhaps.
        index: of the masks' slice.
        count: slices of the masks.
        affine: as in :func:`volume_plane`.

    Returns:
        ``(1, H, W)`` in [0, 1].
    """
    values = image.detach().cpu().float().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    place = min(int((index + 0.5) * values.shape[-1] / count), values.shape[-1] - 1)
    plane = np.nan_to_num(volume_plane(values[:1], place, affine).astype(np.float64))
    low, high = np.percentile(plane, WINDOW)
    return np.clip((plane - low) / (high - low), 0, 1) if high > low else np.zeros_like(plane)


def class_legend(names: Sequence[str], colors: Sequence[Color], *masks: np.ndarray) -> list[tuple[str, Color]]:
    """Name and color of the classes that any of the masks ``(K, H, W)`` show, for ``titled_panel``."""
    shown = np.any([mask.reshape(len(names), -1).any(axis=1) for mask in masks], axis=0)
    return [(name, color) for name, color, there in zip(names, colors, shown, strict=True) if there]


def overlay_classes(
    image: Any, masks: np.ndarray, colors: Sequence[Color], min_size: int = 320, width: int = 2
) -> np.ndarray:
    """Lay each class over the image in its color, with its outline; a later class lies over earlier ones.

    Colors alone do not tell classes apart for every reader: show :func:`class_legend` with it.

    Args:
        image: ``(C, H, W)`` or ``(H, W)``, see ``to_rgb``.
        masks: ``(K, H, W)``, a class is there above 0.5.
        colors: red, green, blue of each, 0 to 255.
        min_size: images with a smaller longer side are enlarged by a whole factor.
        width: outline width in pixels of the picture.

    Returns:
        uint8 ``(H * f, W * f, 3)`` with the whole factor ``f >= 1``.

    Raises:
        ValueError: masks of another size than the image, or other than one color each.
    """
    canvas = to_rgb(image)
    shape = canvas.shape[:2]
    masks = np.asarray(masks) > 0.5
    if masks.shape != (len(colors), *shape):
        raise ValueError(f"masks must have shape {(len(colors), *shape)}, a color and the image's size; {masks.shape}.")
    factor = max(1, -(-min_size // max(shape)))
    canvas = canvas.repeat(factor, axis=0).repeat(factor, axis=1)
    large = masks.repeat(factor, axis=1).repeat(factor, axis=2)
    for mask, color in zip(large, colors, strict=True):
        canvas[mask] = np.round((1 - COVER) * canvas[mask] + COVER * np.array(color))
    for mask, color in zip(large, colors, strict=True):
        canvas[_outline(mask, width)] = color
    return canvas
