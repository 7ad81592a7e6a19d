"""What the fusion metrics take, checked once: batches of grey images in one shape and a known range."""

from __future__ import annotations

import torch

__all__ = ["GREY_LEVELS", "as_greys", "grey_levels"]

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
