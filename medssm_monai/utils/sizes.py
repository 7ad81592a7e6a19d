"""Sizes of images and windows as users give them."""

from __future__ import annotations

from typing import Any

__all__ = ["per_axis"]


def per_axis(size: Any, spatial_dims: int, name: str = "image_size") -> list[int]:
    """One number for each axis: ``32`` is ``[32, 32]`` in 2D.

    Args:
        size: a positive whole number, or one for each axis.
        spatial_dims: number of axes.
        name: of the setting, for the error.

    Raises:
        ValueError: anything else.
    """
    sizes = [size] * spatial_dims if isinstance(size, int) else size
    whole = isinstance(sizes, (list, tuple)) and all(isinstance(one, int) and one > 0 for one in sizes)
    if not whole or len(sizes) != spatial_dims or isinstance(size, bool):
        raise ValueError(
            f"{name} is {size!r}; expected {spatial_dims} whole numbers of pixels, --{name} "
            f'"{[64] * spatial_dims}", or one for all axes, --{name} 64.'
        )
    return list(sizes)
