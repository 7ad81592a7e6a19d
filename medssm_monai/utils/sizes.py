"""Sizes of images and windows as users give them."""

from __future__ import annotations

from typing import Any

__all__ = ["per_axis", "require_axes"]


def per_axis(size: Any, spatial_dims: int, name: str = "image_size") -> list[int]:
    """One number for each axis: ``32`` is ``[32, 32]`` in 2D.

    Args:
        size: a positive whole number, or one for each axis.
        spatial_dims: number of axes.
        name: of the setting, for the error.

    Raises:
        ValueError: anything else.
    """
    if spatial_dims not in (2, 3):
        raise ValueError(f"spatial_dims is {spatial_dims!r}; expected 2 for pictures and slices or 3 for volumes.")
    sizes = [size] * spatial_dims if isinstance(size, int) else size
    whole = isinstance(sizes, (list, tuple)) and all(isinstance(one, int) and one > 0 for one in sizes)
    if not whole or len(sizes) != spatial_dims or isinstance(size, bool):
        raise ValueError(
            f"{name} is {size!r}; expected {spatial_dims} whole numbers of pixels, as spatial_dims is, --{name} "
            f'"{[64] * spatial_dims}", or one for all axes, --{name} 64.'
        )
    return list(sizes)


def require_axes(axes: Any, spatial_dims: int, name: str) -> None:
    """Refuse what is no list of different axes of an image.

    Args:
        axes: numbers of axes; an empty list is none.
        spatial_dims: number of axes.
        name: of the setting, for the error.

    Raises:
        ValueError: anything else.
    """
    known = list(range(spatial_dims))
    listed = isinstance(axes, (list, tuple)) and all(isinstance(one, int) and one in known for one in axes)
    if not listed or len(set(axes)) < len(axes) or any(isinstance(one, bool) for one in axes):
        raise ValueError(
            f"{name} is {axes!r}; expected different axes among {', '.join(map(str, known))}, as spatial_dims is "
            f'{spatial_dims}: --{name} "{known}", or --{name} "[]" for none.'
        )
