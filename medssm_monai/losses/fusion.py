"""Loss of image fusion: intensity, gradients and structure of both sources."""

from __future__ import annotations

from types import EllipsisType
from typing import cast

import torch
import torch.nn as nn
import torch.nn.functional as F
from monai.networks.layers import separable_filtering

__all__ = ["FusionLoss", "sobel_magnitudes"]

SSIM_WEIGHT = {2: 5.0, 3: 1.0}
WINDOW, SIGMA = 11, 1.5
PLANES = {2: ((2, 3),), 3: ((3, 4), (2, 4), (2, 3))}  # axes of (B, 1, *spatial)


class FusionLoss(nn.Module):
    """Intensity, gradient and SSIM terms of a fused image F against its sources A and B.

    ``intensity·L1(F, max(A, B)) + gradient·L1(∇F, max(∇A, ∇B)) + ssim·(1 - ½ SSIM(F, A) - ½ SSIM(F, B))``; ∇ is
    ``|gx| + |gy|`` of the Sobel operator, SSIM has an 11-pixel Gaussian window (σ 1.5) and data range 1. In 3D the
    gradient term is the sum over the three planes, SSIM has a three-dimensional window and weight 1.

    Decisions: borders are replicated for the Sobel operator (zeros would add edges that no source has); SSIM is taken
    over the windows that lie inside the image, which must measure 11 pixels or more.

    Args:
        spatial_dims: 2 or 3.
        intensity_weight: weight of the intensity term.
        gradient_weight: weight of the gradient term.
        ssim_weight: weight of the SSIM term; default 5 in 2D, 1 in 3D.

    Raises:
        ValueError: for other ``spatial_dims`` or a negative weight.

    Source: ClinicalFMamba (Zhou & Khalvati, 2025); gradient and intensity terms after SwinFusion (Ma et al., 2022).

    Example:
        >>> pair = torch.rand(1, 2, 32, 32)
        >>> FusionLoss(2)(pair.amax(1, keepdim=True), pair).ndim
        0
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        intensity_weight: float = 2.0,
        gradient_weight: float = 10.0,
        ssim_weight: float | None = None,
    ) -> None:
        super().__init__()
        if spatial_dims not in PLANES:
            raise ValueError(f"FusionLoss is available for spatial_dims 2 and 3, got {spatial_dims}.")
        ssim_weight = SSIM_WEIGHT[spatial_dims] if ssim_weight is None else ssim_weight
        if min(intensity_weight, gradient_weight, ssim_weight) < 0:
            raise ValueError(f"weights must be 0 or more, got {intensity_weight}, {gradient_weight}, {ssim_weight}.")
        self.spatial_dims = spatial_dims
        self.weights = {"intensity": intensity_weight, "gradient": gradient_weight, "ssim": ssim_weight}

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Weighted sum of :meth:`terms`.

        Args:
            input: fused images ``(B, 1, *spatial)`` in [0, 1].
            target: the sources ``(B, 2, *spatial)`` in [0, 1], A and B as channels: the network's own input.

        Returns:
            a scalar.

        Raises:
            ValueError: when the shapes do not fit, or the images are smaller than the window of SSIM.
        """
        weighted = (self.weights[name] * term for name, term in self.terms(input, target).items())
        return cast(torch.Tensor, sum(weighted))

    def terms(self, input: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
        """The unweighted scalars ``intensity``, ``gradient`` and ``ssim`` (one minus the mean SSIM), in float32."""
        n = self.spatial_dims + 2
        fits = input.ndim == target.ndim == n and input.shape[0] == target.shape[0]
        if not (fits and input.shape[1] == 1 and target.shape[1] == 2 and input.shape[2:] == target.shape[2:]):
            raise ValueError(
                f"FusionLoss in {self.spatial_dims}D takes fused images (B, 1, *spatial) and their sources "
                f"(B, 2, *spatial) of the same size, got {tuple(input.shape)} and {tuple(target.shape)}."
            )
        fused, sources = input.float(), target.float()
        slopes = zip(sobel_magnitudes(fused), sobel_magnitudes(sources), strict=True)
        return {
            "intensity": F.l1_loss(fused, sources.amax(1, keepdim=True)),
            "gradient": cast(torch.Tensor, sum(F.l1_loss(own, theirs.amax(1, keepdim=True)) for own, theirs in slopes)),
            "ssim": 1 - structural_similarity(fused, sources).mean(),
        }


def structural_similarity(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SSIM of every window inside images ``(B, C, *spatial)`` in [0, 1], float32; ``C`` of one may be 1.

    11-pixel Gaussian window (σ 1.5), K1 = 0.01, K2 = 0.03 (Wang et al., 2004). MONAI's ``SSIMLoss`` gives the same
    value, but convolves with the full window: 1331 products per voxel and direction where the separated one has 33.
    """
    if min(x.shape[2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} pixels in every direction, got {tuple(x.shape[2:])}.")
    at = torch.arange(WINDOW, device=x.device) - WINDOW // 2
    kernel = torch.exp(-at.square() / (2 * SIGMA**2))
    kernel = kernel / kernel.sum()
    inside: tuple[slice | EllipsisType, ...] = (..., *(slice(WINDOW // 2, -(WINDOW // 2)),) * (x.ndim - 2))

    def local(image: torch.Tensor) -> torch.Tensor:
        return separable_filtering(image, [kernel] * (x.ndim - 2))[inside]

    with torch.autocast(x.device.type, enabled=False):
        mean_x, mean_y = local(x), local(y)
        var_x, var_y = local(x * x) - mean_x * mean_x, local(y * y) - mean_y * mean_y
        cov = local(x * y) - mean_x * mean_y
        c1, c2 = 0.01**2, 0.03**2
        alike = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
        return alike / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))


def sobel_magnitudes(x: torch.Tensor) -> list[torch.Tensor]:
    """``|gx| + |gy|`` of the Sobel operator, one map ``(B, C, *spatial)`` per plane: one in 2D, three in 3D."""
    smooth, slope = x.new_tensor([[1.0, 2.0, 1.0], [-1.0, 0.0, 1.0]])

    def along(axis: int, other: int) -> torch.Tensor:
        kernels = [None] * (x.ndim - 2)
        kernels[axis - 2], kernels[other - 2] = slope, smooth
        keep = x.new_ones(1)
        return separable_filtering(x, [keep if k is None else k for k in kernels], mode="replicate")

    return [along(a, b).abs() + along(b, a).abs() for a, b in PLANES[x.ndim - 2]]
