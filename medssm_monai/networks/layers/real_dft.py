"""The Fourier transform of real maps as matrix products in real arithmetic, for exporters without an FFT.

ONNX has neither complex numbers nor a fast transform that its runtimes share. For maps of up to :data:`MAX_SIZE` pixels
a side one product with a fixed matrix for each axis is the same transform, to rounding.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

from ...ops.arguments import cast

__all__ = ["MAX_SIZE", "constant", "irdftn", "rdftn"]

MAX_SIZE = 256


@lru_cache(maxsize=32)
def _waves(size: int, frequencies: int) -> tuple[np.ndarray, np.ndarray]:
    """``cos`` and ``sin`` of ``2 pi j k / size``, over ``sqrt(size)``: ``(size, frequencies)``, float32."""
    turns = np.outer(np.arange(size), np.arange(frequencies)) % size  # exact integers: no rounding of large angles
    angles = 2 * math.pi / size * turns
    return tuple((wave(angles) / math.sqrt(size)).astype(np.float32) for wave in (np.cos, np.sin))


def _matrices(size: int, frequencies: int, like: torch.Tensor) -> list[torch.Tensor]:
    return [cast(constant(wave, like.device), like.dtype) for wave in _waves(size, frequencies)]


def constant(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor that shares its memory where it can: in a captured program nothing but the values."""
    x = torch.from_numpy(values)
    return x if x.device == device else x.to(device)


def _along(matrix: torch.Tensor, x: torch.Tensor, axis: int) -> torch.Tensor:
    """``matrix`` times ``x`` along an axis counted from the end, -2 or further in front."""
    if axis == -2:
        return matrix @ x
    return (matrix @ x.movedim(axis, -2)).movedim(-2, axis)


def rdftn(x: torch.Tensor, dims: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Real and imaginary part of ``torch.fft.rfftn(x, norm="ortho")`` over the last ``dims`` axes.

    Args:
        x: real maps ``(..., H, W)`` or ``(..., X, Y, Z)``, float32.
        dims: axes of a map.

    Returns:
        Two tensors ``(..., H, W // 2 + 1)`` or ``(..., X, Y, Z // 2 + 1)``.
    """
    width = x.shape[-1]
    cos, sin = _matrices(width, width // 2 + 1, x)
    real, imag = x @ cos, -(x @ sin)  # (..., H, W // 2 + 1)
    for axis in range(-2, -dims - 1, -1):
        cos, sin = _matrices(x.shape[axis], x.shape[axis], x)  # times cos - i sin, symmetric
        real, imag = (
            _along(cos, real, axis) + _along(sin, imag, axis),
            _along(cos, imag, axis) - _along(sin, real, axis),
        )
    return real, imag


def irdftn(real: torch.Tensor, imag: torch.Tensor, width: int, dims: int = 2) -> torch.Tensor:
    """``torch.fft.irfftn(real + i imag, norm="ortho")`` over the last ``dims`` axes, the last one ``width`` long.

    Args:
        real, imag: ``(..., H, width // 2 + 1)`` or ``(..., X, Y, width // 2 + 1)``, float32.
        width: of the maps, which the spectrum alone leaves open by one.
        dims: axes of a map.

    Returns:
        ``(..., H, width)`` or ``(..., X, Y, width)``.
    """
    frequencies = real.shape[-1]
    for axis in range(-2, -dims - 1, -1):
        cos, sin = _matrices(real.shape[axis], real.shape[axis], real)  # times cos + i sin
        real, imag = (
            _along(cos, real, axis) - _along(sin, imag, axis),
            _along(cos, imag, axis) + _along(sin, real, axis),
        )
    twice = np.full(frequencies, 2.0, dtype=np.float32)  # the other half, its conjugate
    twice[[0] if width % 2 else [0, frequencies - 1]] = 1.0
    waves = (constant(wave.T * twice[:, None], real.device) for wave in _waves(width, frequencies))
    cos, sin = (cast(wave, real.dtype) for wave in waves)
    return real @ cos - imag @ sin
