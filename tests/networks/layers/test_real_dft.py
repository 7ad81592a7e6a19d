"""The Fourier transform by matrix products, against PyTorch's FFT in float64."""

from __future__ import annotations

import pytest
import torch

from medssm_monai.networks.layers import irdft2, rdft2

SIZES = [(1, 1), (1, 2), (2, 1), (3, 4), (7, 5), (16, 15), (15, 16), (64, 64), (256, 256), (255, 256)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_forward_is_rfft2(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    exact = torch.fft.rfft2(x.double(), norm="ortho")
    real, imag = rdft2(x)
    assert real.shape == imag.shape == exact.shape
    assert (torch.complex(real.double(), imag.double()) - exact).abs().max() <= 2e-6 * exact.abs().max()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_inverse_is_irfft2_of_any_half_spectrum(size: tuple[int, int]) -> None:
    """Also of one that no real map has: a filter's bias is free in the imaginary parts that must vanish."""
    generator = torch.Generator().manual_seed(1)
    real, imag = (torch.randn(2, 3, size[0], size[1] // 2 + 1, generator=generator) for _ in range(2))
    exact = torch.fft.irfft2(torch.complex(real.double(), imag.double()), s=size, norm="ortho")
    result = irdft2(real, imag, size[1])
    assert result.shape == exact.shape
    assert (result - exact).abs().max() <= 2e-6 * exact.abs().max()
