"""Fusion metrics from histograms, errors and correlations of whole images, and the check of what all of them take.

Entropies, mutual information and PSNR are those of scikit-image and scikit-learn, image by image.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

__all__ = [
    "GRAY_LEVELS",
    "as_grays",
    "entropy",
    "gray_levels",
    "mutual_information",
    "normalized_mutual_information",
    "psnr",
    "scd_mean",
    "scd_sum",
    "spatial_frequency",
    "standard_deviation",
]

GRAY_LEVELS = 256
SLACK = 1e-4  # share of the range that rounding may leave it by


def as_grays(*images: torch.Tensor, data_range: float = 1.0) -> list[torch.Tensor]:
    """Bring images to float64 in [0, 1].

    Args:
        images: batches ``(B, 1, H, W)`` or ``(B, 1, X, Y, Z)`` of one shape, values in [0, ``data_range``].
        data_range: value that stands for white.

    Returns:
        plain float64 tensors of the same shapes in [0, 1].

    Raises:
        ValueError: other or unequal shapes, more than one channel, values that are not finite or outside the range.
    """
    shapes = [tuple(image.shape) for image in images]
    if len(set(shapes)) > 1:
        raise ValueError(f"fusion metrics compare images of one shape, got {shapes}; resample the sources first.")
    shape = shapes[0]
    if len(shape) not in (4, 5) or shape[1] != 1 or 0 in shape:
        raise ValueError(
            f"fusion metrics take gray images (B, 1, H, W) or volumes (B, 1, X, Y, Z), got {shape}; "
            "take the luminance of color images (ExtractLuminanced)."
        )
    result = []
    for image in images:
        values = torch.as_tensor(image).detach().as_subclass(torch.Tensor).double() / data_range
        if not values.isfinite().all():
            raise ValueError("fusion metrics got values that are NaN or infinite; check the weights and the images.")
        low, high = values.min().item(), values.max().item()
        if low < -SLACK or high > 1 + SLACK:
            raise ValueError(
                f"fusion metrics expect values in [0, {data_range:g}], got [{low * data_range:.4g}, "
                f"{high * data_range:.4g}]; scale the images or say their data_range."
            )
        result.append(values.clamp(0, 1))
    return result


def gray_levels(image: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] to 8-bit gray levels 0..255, ``(B, pixels)`` int64: what a saved picture holds."""
    return (image.flatten(1) * (GRAY_LEVELS - 1)).round().long()


NMI_KINDS = ("studholme", "arithmetic")
_EDGES = [np.arange(GRAY_LEVELS + 1) - 0.5] * 2  # a bin for every gray level


def entropy(fused: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Shannon entropy in bits of the histogram of 256 gray levels (Roberts et al., J. Appl. Remote Sens. 2, 2008)."""
    from skimage.measure import shannon_entropy

    return _each(shannon_entropy, *_levels(fused, data_range=data_range))


def mutual_information(fused: torch.Tensor, source: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """``MI(F, S) = H(F) + H(S) - H(F, S)`` in bits, from joint histograms of 256 × 256 gray levels.

    Source: Qu, Zhang, Yan, Electronics Letters 38 (2002), who add the values of the two sources.
    """
    from sklearn.metrics import mutual_info_score

    return _each(mutual_info_score, *_levels(fused, source, data_range=data_range)) / np.log(2)


def normalized_mutual_information(
    fused: torch.Tensor, source: torch.Tensor, data_range: float = 1.0, kind: str = "studholme"
) -> torch.Tensor:
    """Mutual information over entropies, from histograms of 256 gray levels.

    Args:
        fused, source: images.
        data_range: value that stands for white.
        kind: ``"studholme"``: ``(H(F) + H(S)) / H(F, S)`` in [1, 2] (Studholme, Hill, Hawkes, Pattern Recognition 32,
            1999; scikit-image); ``"arithmetic"``: ``2·MI / (H(F) + H(S))`` in [0, 1], which Hossny, Nahavandi and
            Creighton (Electronics Letters 44, 2008) add over the sources.

    Returns:
        ``(B,)``; NaN when both images are constant.
    """
    from skimage.metrics import normalized_mutual_information as studholme
    from sklearn.metrics import normalized_mutual_info_score as arithmetic

    if kind not in NMI_KINDS:
        raise ValueError(f"kind must be one of {NMI_KINDS}, got {kind!r}.")
    levels = _levels(fused, source, data_range=data_range)
    scores = _each(partial(studholme, bins=_EDGES) if kind == "studholme" else arithmetic, *levels)
    constant = torch.stack([(values == values[:, :1]).all(1) for values in levels]).all(0)
    return scores.masked_fill(constant, torch.nan)


def psnr(fused: torch.Tensor, *sources: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """``10·log10(range² / MSE)`` in dB; of several sources the errors are averaged before the logarithm.

    One source gives the PSNR of that pair (infinite for a copy). Two sources give the pooled convention of the fusion
    literature (Ma, Ma, Li, Information Fusion 45, 2019; VIFB benchmark, 2020), which the average of the sources
    maximizes by definition; it is the PSNR of the sources stacked.
    """
    from skimage.metrics import peak_signal_noise_ratio

    image, *references = as_grays(fused, *sources, data_range=data_range)
    stacked = torch.stack(references, dim=1)
    return _each(partial(peak_signal_noise_ratio, data_range=1.0), stacked, image[:, None].expand_as(stacked))


def scd_sum(fused: torch.Tensor, a: torch.Tensor, b: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Sum of the correlations of differences, ``r(F - B, A) + r(F - A, B)``, in [-2, 2].

    NaN where a difference or a source is constant (a copy of B leaves nothing to correlate with A).

    Source: Aslantas and Bendes, Int. J. Electronics and Communications 69 (2015).
    """
    image, first, second = as_grays(fused, a, b, data_range=data_range)
    return _correlation(image - second, first) + _correlation(image - first, second)


def scd_mean(fused: torch.Tensor, a: torch.Tensor, b: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Half of :func:`scd_sum`: the mean over the sources, in [-1, 1]."""
    return scd_sum(fused, a, b, data_range) / 2


def spatial_frequency(fused: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """``sqrt(RF² + CF²)``, row and column frequency: root mean square of neighbor differences, in 8-bit gray levels.

    Source: Eskicioglu and Fisher, IEEE Trans. Communications 43 (1995). Decision: means over the differences that
    exist, as the public evaluation codes do, where the paper divides by the number of pixels.
    """
    image = _plane(*as_grays(fused, data_range=data_range))
    rows, columns = (image.diff(dim=axis).square().flatten(1).mean(1) for axis in (3, 2))
    return (GRAY_LEVELS - 1) * (rows + columns).sqrt()


def standard_deviation(fused: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Standard deviation over all pixels (divisor N), in 8-bit gray levels (Rao, Meas. Sci. Technol. 8, 1997)."""
    (image,) = as_grays(fused, data_range=data_range)
    return (GRAY_LEVELS - 1) * image.flatten(1).std(1, correction=0)


def _plane(image: torch.Tensor) -> torch.Tensor:
    if image.ndim != 4 or min(image.shape[2:]) < 2:
        raise ValueError(
            f"this metric takes 2D images of at least 2 x 2 pixels, got {tuple(image.shape)}; "
            "fusion_metrics averages volumes over their slices."
        )
    return image


def _levels(*images: torch.Tensor, data_range: float) -> list[torch.Tensor]:
    return [gray_levels(image) for image in as_grays(*images, data_range=data_range)]


def _each(score: Callable[..., float], *batches: torch.Tensor) -> torch.Tensor:
    """A score of arrays for every item of the batches: ``(B,)`` float64 on their device."""
    items = zip(*(batch.cpu().numpy() for batch in batches), strict=True)
    with np.errstate(divide="ignore", invalid="ignore"):  # a copy has infinite PSNR; constant images have no NMI
        return torch.tensor([score(*arrays) for arrays in items], dtype=torch.float64, device=batches[0].device)


def _correlation(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Pearson correlation over the pixels, ``(B,)``; NaN when one of the two is constant."""
    x, y = (t.flatten(1) - t.flatten(1).mean(1, keepdim=True) for t in (x, y))
    below = x.square().sum(1) * y.square().sum(1)
    constant = torch.minimum(x.abs().amax(1), y.abs().amax(1)) < 1e-12  # rounding of the mean
    return torch.where(constant, torch.nan, (x * y).sum(1) / below.sqrt())
