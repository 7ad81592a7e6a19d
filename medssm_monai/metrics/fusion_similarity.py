"""Fusion metrics that compare local structure: SSIM, VIF and Qabf.

All functions take 2D batches ``(B, 1, H, W)`` in [0, ``data_range``] and return ``(B,)`` float64.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from monai.metrics.regression import compute_ssim_and_cs

from .fusion_statistics import as_grays

__all__ = ["qabf", "ssim", "vif"]

SSIM_WINDOW = 11
VIF_SMALLEST = 41  # the four scales leave at least one window
VIF_NOISE = 2.0  # variance of the visual noise, in squared gray levels
EPS = 1e-10
QABF_STRENGTH = (0.9994, -15.0, 0.5)  # Γ, κ, σ of the edge strength
QABF_ORIENTATION = (0.9879, -22.0, 0.8)  # and of the orientation


def ssim(fused: torch.Tensor, source: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Structural similarity with an 11 × 11 Gaussian window (σ 1.5), K1 = 0.01, K2 = 0.03, windows inside the image.

    Source: Wang, Bovik, Sheikh, Simoncelli, IEEE Trans. Image Processing 13 (2004). For two sources the literature
    takes either the mean of the two values or their sum.
    """
    image, reference = _planes(fused, source, data_range=data_range, smallest=SSIM_WINDOW)
    values, _ = compute_ssim_and_cs(
        image.float(),  # PyTorch's float64 convolutions are slow, and the constants of SSIM drown the rounding
        reference.float(),
        spatial_dims=2,
        kernel_size=(SSIM_WINDOW,) * 2,
        kernel_sigma=(1.5, 1.5),
        data_range=1.0,
    )
    return values.double().flatten(1).mean(1)


def vif(fused: torch.Tensor, source: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Visual information fidelity in the pixel domain, four scales, noise variance 2 (gray levels 0..255).

    Above 1 for images with more contrast than the source. NaN for a constant source.

    Source: Sheikh and Bovik, IEEE Trans. Image Processing 15 (2006), the authors' pixel-domain version. For two sources
    the fusion literature adds the two values.
    """
    image, reference = (255 * x for x in _planes(fused, source, data_range=data_range, smallest=VIF_SMALLEST))
    kept, held = torch.zeros(2, len(image), dtype=image.dtype, device=image.device)
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        if scale > 1:
            image, reference = (_smooth(x, size)[:, :, ::2, ::2] for x in (image, reference))
        mu_s, mu_f = _smooth(reference, size), _smooth(image, size)
        var_s = (_smooth(reference * reference, size) - mu_s * mu_s).clamp(min=0)
        var_f = (_smooth(image * image, size) - mu_f * mu_f).clamp(min=0)
        cov = _smooth(reference * image, size) - mu_s * mu_f
        flat_s, flat_f = var_s < EPS, var_f < EPS
        gain = (cov / (var_s + EPS)).masked_fill(flat_s | flat_f, 0)
        noise = (var_f - gain * cov).masked_fill(flat_f, 0)
        noise = torch.where(flat_s | (gain < 0), var_f, noise).clamp(min=EPS)  # a negative gain carries nothing
        var_s, gain = var_s.masked_fill(flat_s, 0), gain.clamp(min=0)
        kept = kept + (1 + gain * gain * var_s / (noise + VIF_NOISE)).log10().flatten(1).sum(1)
        held = held + (1 + var_s / VIF_NOISE).log10().flatten(1).sum(1)
    return kept / held


def qabf(fused: torch.Tensor, a: torch.Tensor, b: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Edge information of both sources that the fused image keeps, weighted by their edge strength, in [0, 1).

    Sobel edges with zeros outside the image; orientations agree modulo 180°. Γ, κ, σ = 0.9994, -15, 0.5 (strength) and
    0.9879, -22, 0.8 (orientation), weight exponent 1. Both sources are in it, so there is no mean and sum of it.

    Source: Xydeas and Petrović, Electronics Letters 36 (2000).
    """
    image, first, second = _planes(fused, a, b, data_range=data_range, smallest=3)
    edges = _edges(image)
    kept = total = torch.zeros(len(image), dtype=image.dtype, device=image.device)
    for source in (first, second):
        strength, angle = _edges(source)
        kept = kept + (_preserved(strength, angle, *edges) * strength).flatten(1).sum(1)
        total = total + strength.flatten(1).sum(1)
    return kept / total


def _planes(*images: torch.Tensor, data_range: float, smallest: int) -> list[torch.Tensor]:
    checked = as_grays(*images, data_range=data_range)
    if checked[0].ndim != 4 or min(checked[0].shape[2:]) < smallest:
        raise ValueError(
            f"this metric takes 2D images of at least {smallest} x {smallest} pixels, got {tuple(checked[0].shape)}; "
            "fusion_metrics averages volumes over their slices."
        )
    return checked


def _smooth(image: torch.Tensor, size: int) -> torch.Tensor:
    """Normalized Gaussian window of ``size`` pixels, σ = size / 5, at the places where it lies inside the image."""
    at = torch.arange(size, dtype=image.dtype, device=image.device) - (size - 1) / 2
    line = torch.exp(-at.square() / (2 * (size / 5) ** 2))
    line = line / line.sum()
    for axis in (2, 3):
        image = image.unfold(axis, size, 1) @ line  # a view and a product: float64 convolutions are slow
    return image


def _edges(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Strength and orientation (modulo π) of Sobel edges."""
    smooth, slope = torch.tensor([[1.0, 2.0, 1.0], [-1.0, 0.0, 1.0]], dtype=image.dtype, device=image.device)
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None]  # d/dx, d/dy
    dx, dy = F.conv2d(image, kernels, padding=1).chunk(2, dim=1)
    return torch.hypot(dx, dy), torch.atan2(dy, dx)


def _preserved(
    strength_s: torch.Tensor, angle_s: torch.Tensor, strength_f: torch.Tensor, angle_f: torch.Tensor
) -> torch.Tensor:
    """Edge preservation value of every pixel, in [0, 1)."""
    above = torch.maximum(strength_s, strength_f)
    strength = torch.minimum(strength_s, strength_f) / above.masked_fill(above == 0, 1)
    turned = torch.remainder(angle_s - angle_f, math.pi)  # 0 and π: the same orientation
    orientation = 1 - torch.minimum(turned, math.pi - turned) / (math.pi / 2)
    return _sigmoid(strength, *QABF_STRENGTH) * _sigmoid(orientation, *QABF_ORIENTATION)


def _sigmoid(x: torch.Tensor, top: float, slope: float, center: float) -> torch.Tensor:
    return top / (1 + torch.exp(slope * (x - center)))
