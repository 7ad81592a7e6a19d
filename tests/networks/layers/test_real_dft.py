"""The Fourier transform by matrix products, against PyTorch's FFT in float64."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.networks.layers import irdftn, rdftn

MAPS = [(1, 1), (1, 2), (2, 1), (3, 4), (7, 5), (16, 15), (15, 16), (64, 64), (256, 256), (255, 256)]
VOLUMES = [(1, 1, 1), (2, 1, 3), (3, 4, 5), (5, 4, 6), (16, 8, 15), (32, 32, 32)]


@pytest.mark.parametrize("size", MAPS + VOLUMES, ids=str)
def test_forward_is_rfftn(size: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    exact = torch.fft.rfftn(x.double(), dim=tuple(range(2, x.ndim)), norm="ortho")
    real, imag = rdftn(x, len(size))
    assert real.shape == imag.shape == exact.shape
    assert (torch.complex(real.double(), imag.double()) - exact).abs().max() <= 2e-6 * exact.abs().max()


@pytest.mark.parametrize("size", MAPS + VOLUMES, ids=str)
def test_inverse_is_irfftn_of_any_half_spectrum(size: tuple[int, ...]) -> None:
    """Also of one that no real map has: a filter's bias is free in the imaginary parts that must vanish."""
    generator = torch.Generator().manual_seed(1)
    real, imag = (torch.randn(2, 3, *size[:-1], size[-1] // 2 + 1, generator=generator) for _ in range(2))
    spectrum = torch.complex(real.double(), imag.double())
    exact = torch.fft.irfftn(spectrum, s=size, dim=tuple(range(2, real.ndim)), norm="ortho")
    result = irdftn(real, imag, size[-1], len(size))
    assert result.shape == exact.shape
    assert (result - exact).abs().max() <= 2e-6 * exact.abs().max()
