"""Images that are already in memory: arrays and tensors that go wherever a file name goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import ImageReadError
from .intensity import full_range_of_type

if TYPE_CHECKING:
    from typing_extensions import TypeIs

__all__ = ["ARRAY_NAME", "array_name", "array_pixels", "array_values", "is_array"]

ARRAY_NAME = "array"
"""Stands for the file name in the metadata of an image that came as an array."""
COLOR_CHANNELS = (1, 3)


def is_array(source: Any) -> TypeIs[np.ndarray | torch.Tensor]:
    """Whether ``source`` is pixels rather than a file name."""
    return isinstance(source, (np.ndarray, torch.Tensor))


def array_name(source: np.ndarray | torch.Tensor) -> str:
    """What messages call pixels in memory."""
    return f"{ARRAY_NAME} of shape {tuple(source.shape)}"


def array_pixels(source: np.ndarray | torch.Tensor, spatial_dims: int) -> tuple[np.ndarray, float]:
    """Pixels in memory as ``(*spatial, C)`` float32 in their own units, C = 1 or 3, and the value that stands for 1.0.

    Args:
        source: NumPy arrays lie as pictures do, ``(H, W)`` or ``(H, W, C)``, volumes ``(X, Y, Z)`` or
            ``(X, Y, Z, C)``; tensors as MONAI's do, ``(C, H, W)`` or ``(C, X, Y, Z)``. Of boolean, 8- and 16-bit
            unsigned values 1, 255 and 65535 stand for 1.0; floating-point values must lie in [0, 1].
        spatial_dims: 2 or 3.

    Raises:
        ImageReadError: another number of axes or channels, other types, values outside [0, 1].
        ValueError: NaN or infinite values.
    """
    values, full_range = array_values(source, spatial_dims)
    if full_range is not None:
        return values, full_range
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageReadError(
            f"{array_name(source)}: floating-point values from {low:.4g} to {high:.4g}; scale them to [0, 1] first."
        )
    return values, 1.0


def array_values(source: np.ndarray | torch.Tensor, spatial_dims: int) -> tuple[np.ndarray, float | None]:
    """Pixels in memory as ``(*spatial, C)`` float32 in their own units, and the value that stands for 1.0 (None for
    floating point). Arguments and errors are those of :func:`array_pixels`, but for the values."""
    shape = tuple(source.shape)
    if isinstance(source, torch.Tensor):
        form = f"a tensor (C, {'H, W' if spatial_dims == 2 else 'X, Y, Z'})"
        values = source.detach().cpu().numpy()
        values = np.moveaxis(values, 0, -1) if values.ndim == spatial_dims + 1 else values
    else:
        form = f"an array {'(H, W) or (H, W, C)' if spatial_dims == 2 else '(X, Y, Z) or (X, Y, Z, C)'}"
        values = source[..., None] if source.ndim == spatial_dims else source
    if values.ndim != spatial_dims + 1 or values.shape[-1] not in COLOR_CHANNELS or 0 in shape:
        raise ImageReadError(
            f"{array_name(source)}: expected {form} with C = 1 or 3, a {spatial_dims}D image; "
            "choose the model by the data, or cut the array to one image."
        )
    full_range = full_range_of_type(values.dtype)
    if full_range is None and values.dtype.kind != "f":
        raise ImageReadError(
            f"{array_name(source)} and type {values.dtype}: expected uint8, uint16, bool or floating point; "
            "convert it, so that its range is known."
        )
    if full_range is None and not np.isfinite(values).all():
        raise ValueError(f"{array_name(source)}: holds NaN or infinite values; repair it or leave it out.")
    return values.astype(np.float32), full_range
