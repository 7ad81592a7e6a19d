"""What the fusion metrics take, checked once: batches of grey images in one shape and a known range."""

from __future__ import annotations

import torch

__all__ = [
    "GREY_LEVELS",
    "as_greys",
    "entropy",
    "grey_levels",
    "mutual_information",
    "normalised_mutual_information",
    "psnr",
    "scd_mean",
    "scd_sum",
    "spatial_frequency",
    "standard_deviation",
]

GREY_LEVELS = 256
SLACK = 1e-4  # share of the range that rounding may leave it by


def as_greys(*images: torch.Tensor, data_range: float = 1.0) -> list[torch.Tensor]:
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
            f"fusion metrics take grey images (B, 1, H, W) or volumes (B, 1, X, Y, Z), got {shape}; "
            "take the luminance of colour images (ExtractLuminanced)."
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


def grey_levels(image: torch.Tensor) -> torch.Tensor:
    """Images in [0, 1] to 8-bit grey levels 0..255, ``(B, pixels)`` int64: what a saved picture holds."""
    return (image.flatten(1) * (GREY_LEVELS - 1)).round().long()


NMI_KINDS = ("studholme", "arithmetic")


def entropy(fused: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Shannon entropy in bits of the histogram of 256 grey levels (Roberts et al., J. Appl. Remote Sens. 2, 2008)."""
    (image,) = as_greys(fused, data_range=data_range)
    return _bits(_histogram(grey_levels(image), GREY_LEVELS))


def mutual_information(fused: torch.Tensor, source: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """``MI(F, S) = H(F) + H(S) - H(F, S)`` in bits, from joint histograms of 256 × 256 grey levels.

    Source: Qu, Zhang, Yan, Electronics Letters 38 (2002), who add the values of the two sources.
    """
    h_fused, h_source, h_joint = _entropies(fused, source, data_range)
    return h_fused + h_source - h_joint


def normalised_mutual_information(
    fused: torch.Tensor, source: torch.Tensor, data_range: float = 1.0, kind: str = "studholme"
) -> torch.Tensor:
    """Mutual information over entropies, from histograms of 256 grey levels.

    Args:
        fused, source: images.
        data_range: value that stands for white.
        kind: ``"studholme"``: ``(H(F) + H(S)) / H(F, S)`` in [1, 2] (Studholme, Hill, Hawkes, Pattern Recognition 32,
            1999; scikit-image); ``"arithmetic"``: ``2·MI / (H(F) + H(S))`` in [0, 1], which Hossny, Nahavandi and
            Creighton (Electronics Letters 44, 2008) add over the sources.

    Returns:
        ``(B,)``; NaN when both images are constant.
    """
    if kind not in NMI_KINDS:
        raise ValueError(f"kind must be one of {NMI_KINDS}, got {kind!r}.")
    h_fused, h_source, h_joint = _entropies(fused, source, data_range)
    if kind == "studholme":
        return (h_fused + h_source) / h_joint
    return 2 * (h_fused + h_source - h_joint) / (h_fused + h_source)


def psnr(fused: torch.Tensor, *sources: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """``10·log10(range² / MSE)`` in dB; of several sources the errors are averaged before the logarithm.

    One source gives the PSNR of that pair (infinite for a copy). Two sources give the pooled convention of the fusion
    literature (Ma, Ma, Li, Information Fusion 45, 2019; VIFB benchmark, 2020), which the average of the sources
    maximises by definition.
    """
    image, *references = as_greys(fused, *sources, data_range=data_range)
    errors = torch.stack([(image - reference).square().flatten(1).mean(1) for reference in references])
    return -10 * errors.mean(0).log10()


def scd_sum(fused: torch.Tensor, a: torch.Tensor, b: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Sum of the correlations of differences, ``r(F - B, A) + r(F - A, B)``, in [-2, 2].

    NaN where a difference or a source is constant (a copy of B leaves nothing to correlate with A).

    Source: Aslantas and Bendes, Int. J. Electronics and Communications 69 (2015).
    """
    image, first, second = as_greys(fused, a, b, data_range=data_range)
    return _correlation(image - second, first) + _correlation(image - first, second)


def scd_mean(fused: torch.Tensor, a: torch.Tensor, b: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Half of :func:`scd_sum`: the mean over the sources, in [-1, 1]."""
    return scd_sum(fused, a, b, data_range) / 2


def spatial_frequency(fused: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """``sqrt(RF² + CF²)``, row and column frequency: root mean square of neighbour differences, in 8-bit grey levels.

    Source: Eskicioglu and Fisher, IEEE Trans. Communications 43 (1995). Decision: means over the differences that
    exist, as the public evaluation codes do, where the paper divides by the number of pixels.
    """
    image = _plane(*as_greys(fused, data_range=data_range))
    rows, columns = (image.diff(dim=axis).square().flatten(1).mean(1) for axis in (3, 2))
    return (GREY_LEVELS - 1) * (rows + columns).sqrt()


def standard_deviation(fused: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Standard deviation over all pixels (divisor N), in 8-bit grey levels (Rao, Meas. Sci. Technol. 8, 1997)."""
    (image,) = as_greys(fused, data_range=data_range)
    return (GREY_LEVELS - 1) * image.flatten(1).std(1, correction=0)


def _plane(image: torch.Tensor) -> torch.Tensor:
    if image.ndim != 4 or min(image.shape[2:]) < 2:
        raise ValueError(
            f"this metric takes 2D images of at least 2 x 2 pixels, got {tuple(image.shape)}; "
            "fusion_metrics averages volumes over their slices."
        )
    return image


def _histogram(levels: torch.Tensor, bins: int) -> torch.Tensor:
    """Integer values ``(B, pixels)`` below ``bins`` to probabilities ``(B, bins)``."""
    batch, pixels = levels.shape
    shifted = levels + bins * torch.arange(batch, device=levels.device)[:, None]
    return torch.bincount(shifted.flatten(), minlength=batch * bins).view(batch, bins).double() / pixels


def _bits(probability: torch.Tensor) -> torch.Tensor:
    return -torch.special.xlogy(probability, probability).sum(1) / torch.log(torch.tensor(2.0, dtype=torch.float64))


def _entropies(fused: torch.Tensor, source: torch.Tensor, data_range: float) -> tuple[torch.Tensor, ...]:
    """``H(F)``, ``H(S)`` and ``H(F, S)`` in bits."""
    first, second = (grey_levels(image) for image in as_greys(fused, source, data_range=data_range))
    joint = _histogram(GREY_LEVELS * first + second, GREY_LEVELS**2).unflatten(1, (GREY_LEVELS, GREY_LEVELS))
    return _bits(joint.sum(2)), _bits(joint.sum(1)), _bits(joint.flatten(1))


def _correlation(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Pearson correlation over the pixels, ``(B,)``; NaN when one of the two is constant."""
    x, y = (t.flatten(1) - t.flatten(1).mean(1, keepdim=True) for t in (x, y))
    below = x.square().sum(1) * y.square().sum(1)
    constant = torch.minimum(x.abs().amax(1), y.abs().amax(1)) < 1e-12  # rounding of the mean
    return torch.where(constant, torch.nan, (x * y).sum(1) / below.sqrt())
