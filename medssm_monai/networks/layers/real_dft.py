"""The 2D Fourier transform of real maps as matrix products in real arithmetic, for exporters without an FFT.

ONNX has neither complex numbers nor a fast transform that its runtimes share. For maps of up to :data:`MAX_SIZE` pixels
a side two products with fixed matrices are the same transform, to rounding.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch

__all__ = ["MAX_SIZE", "irdft2", "rdft2"]

MAX_SIZE = 256


@lru_cache(maxsize=32)
def _waves(size: int, frequencies: int) -> tuple[np.ndarray, np.ndarray]:
    """``cos`` and ``sin`` of ``2 pi j k / size``, over ``sqrt(size)``: ``(size, frequencies)``, float32."""
    turns = np.outer(np.arange(size), np.arange(frequencies)) % size  # exact integers: no rounding of large angles
    angles = 2 * math.pi / size * turns
    return tuple((wave(angles) / math.sqrt(size)).astype(np.float32) for wave in (np.cos, np.sin))


def _matrices(size: int, frequencies: int, like: torch.Tensor) -> list[torch.Tensor]:
    return [torch.tensor(wave, dtype=like.dtype, device=like.device) for wave in _waves(size, frequencies)]


def rdft2(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Real and imaginary part of ``torch.fft.rfft2(x, norm="ortho")``.

    Args:
        x: real maps ``(..., H, W)``, float32.

    Returns:
        Two tensors ``(..., H, W // 2 + 1)``.
    """
    height, width = x.shape[-2:]
    cos_w, sin_w = _matrices(width, width // 2 + 1, x)
    cos_h, sin_h = _matrices(height, height, x)
    real, imag = x @ cos_w, -(x @ sin_w)  # (..., H, W // 2 + 1)
    return cos_h @ real + sin_h @ imag, cos_h @ imag - sin_h @ real  # times cos - i sin, symmetric


def irdft2(real: torch.Tensor, imag: torch.Tensor, width: int) -> torch.Tensor:
    """``torch.fft.irfft2(real + i imag, s=(H, width), norm="ortho")``.

    Args:
        real, imag: ``(..., H, width // 2 + 1)``, float32.
        width: ``W``, which the spectrum alone leaves open by one.

    Returns:
        ``(..., H, width)``.
    """
    height, frequencies = real.shape[-2:]
    cos_h, sin_h = _matrices(height, height, real)
    cos_w, sin_w = _matrices(width, frequencies, real)
    real, imag = cos_h @ real - sin_h @ imag, cos_h @ imag + sin_h @ real  # times cos + i sin
    twice = torch.full((frequencies,), 2.0, dtype=real.dtype, device=real.device)  # the other half, its conjugate
    alone = [0] if width % 2 else [0, frequencies - 1]
    twice = torch.where(torch.tensor([k in alone for k in range(frequencies)], device=real.device), 1.0, twice)
    return (real * twice) @ cos_w.T - (imag * twice) @ sin_w.T
