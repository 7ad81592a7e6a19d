"""Feature similarity (FSIM) of a fused image with a source: phase congruency and gradient magnitude.

Source: Zhang, Zhang, Mou, Zhang, IEEE Trans. Image Processing 20 (2011); phase congruency after Kovesi (Videre 1, 1999)
in the form and with the constants of the authors' code. Luminance on gray levels 0..255.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .fusion_statistics import as_grays

__all__ = ["fsim"]

T_PHASE, T_GRADIENT = 0.85, 160.0
SCALES, ORIENTATIONS = 4, 4
SHORTEST_WAVE, SCALE_STEP = 6.0, 2.0
SIGMA_ON_F, ANGLE_ON_SIGMA = 0.55, 1.2
NOISE_DEVIATIONS, NOISE_SHRINK = 2.0, 1.7
REFERENCE_SIDE = 256  # larger images are averaged down so that their shorter side is about this long


def fsim(fused: torch.Tensor, source: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """FSIM of 2D batches ``(B, 1, H, W)`` in [0, ``data_range``], in (0, 1], 1 for equal images.

    For two sources the literature takes the mean of the two values or their sum. NaN when both images are constant.

    Returns:
        ``(B,)`` float64.
    """
    images = [_reduce(255 * image) for image in as_grays(fused, source, data_range=data_range)]
    phases, slopes = [phase_congruency(x) for x in images], [_scharr(x) for x in images]
    alike = _alike(phases[0], phases[1], T_PHASE) * _alike(slopes[0], slopes[1], T_GRADIENT)
    weight = torch.maximum(phases[0], phases[1])
    return (alike * weight).flatten(1).sum(1) / weight.flatten(1).sum(1)


def phase_congruency(image: torch.Tensor) -> torch.Tensor:
    """Phase congruency of ``(B, 1, H, W)`` gray levels, summed over four orientations of four log-Gabor scales."""
    spectrum = torch.fft.fft2(image)
    filters = _log_gabor(image.shape[-2:], image)  # (orientations, scales, H, W)
    energy, amplitude = torch.zeros_like(image), torch.zeros_like(image)
    for bank in filters:
        responses = torch.fft.ifft2(spectrum * bank)  # (B, scales, H, W) complex
        summed = responses.sum(1, keepdim=True)
        mean = summed / (summed.abs() + 1e-4)
        along = responses.real * mean.real + responses.imag * mean.imag
        across = responses.real * mean.imag - responses.imag * mean.real
        local = (along - across.abs()).sum(1, keepdim=True)
        energy = energy + (local - _noise_threshold(responses[:, 0], bank)).clamp(min=0)
        amplitude = amplitude + responses.abs().sum(1, keepdim=True)
    return energy / amplitude.clamp(min=torch.finfo(image.dtype).tiny)


def _noise_threshold(finest: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """Energy that noise alone would have, from the median response of the finest scale (Rayleigh); ``(B, 1, 1, 1)``."""
    median = finest.abs().square().flatten(1).quantile(0.5, dim=1)
    power = median / math.log(2) / bank[0].square().sum()
    kernels = torch.fft.ifft2(bank).real * math.sqrt(bank[0].numel())  # (scales, H, W)
    # Σ f² + 2 Σ_{i<j} f_i f_j = (Σ f)²: twice the noise energy over two
    tau = (power * kernels.sum(0).square().sum()).sqrt()
    threshold = tau * (math.sqrt(math.pi / 2) + NOISE_DEVIATIONS * math.sqrt(2 - math.pi / 2)) / NOISE_SHRINK
    return threshold[:, None, None, None]


def _log_gabor(size: torch.Size, like: torch.Tensor) -> torch.Tensor:
    """Filters ``(orientations, scales, H, W)`` with the zero frequency first."""
    y, x = torch.meshgrid(*(_frequencies(n, like) for n in size), indexing="ij")
    radius, theta = torch.hypot(x, y), torch.atan2(-y, x)
    radius[0, 0] = 1
    low_pass = 1 / (1 + (radius / 0.45) ** 30)
    center = [1 / (SHORTEST_WAVE * SCALE_STEP**scale) for scale in range(SCALES)]
    radial = torch.stack([torch.exp(-((radius / f).log() ** 2) / (2 * math.log(SIGMA_ON_F) ** 2)) for f in center])
    radial = radial * low_pass
    radial[:, 0, 0] = 0
    angles = [math.pi * o / ORIENTATIONS for o in range(ORIENTATIONS)]
    distance = torch.stack([torch.atan2((theta - a).sin(), (theta - a).cos()).abs() for a in angles])
    spread = math.pi / ORIENTATIONS / ANGLE_ON_SIGMA
    return radial * torch.exp(-distance.square() / (2 * spread**2))[:, None]


def _frequencies(n: int, like: torch.Tensor) -> torch.Tensor:
    """Frequencies in the order of the FFT; for odd sizes the authors divide by n - 1."""
    return torch.fft.fftfreq(n, dtype=like.dtype, device=like.device) * (n / (n - 1) if n % 2 and n > 1 else 1)


def _scharr(image: torch.Tensor) -> torch.Tensor:
    smooth, slope = torch.tensor([[3.0, 10.0, 3.0], [1.0, 0.0, -1.0]], dtype=image.dtype, device=image.device)
    kernels = torch.stack([torch.outer(smooth / 16, slope), torch.outer(slope, smooth / 16)])[:, None]
    dx, dy = F.conv2d(image, kernels, padding=1).chunk(2, dim=1)
    return torch.hypot(dx, dy)


def _reduce(image: torch.Tensor) -> torch.Tensor:
    """Average over squares so that the shorter side is about 256 pixels."""
    if image.ndim != 4 or min(image.shape[2:]) < 3:
        raise ValueError(
            f"fsim takes 2D images of at least 3 x 3 pixels, got {tuple(image.shape)}; "
            "fusion_metrics averages volumes over their slices."
        )
    factor = max(1, int(min(image.shape[2:]) / REFERENCE_SIDE + 0.5))
    before, after = factor - 1 - factor // 2, factor // 2
    padded = F.pad(image, (before, after, before, after))
    return F.avg_pool2d(padded, factor, stride=1)[:, :, ::factor, ::factor]


def _alike(x: torch.Tensor, y: torch.Tensor, constant: float) -> torch.Tensor:
    return (2 * x * y + constant) / (x.square() + y.square() + constant)
