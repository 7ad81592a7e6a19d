"""How large an image may be: looked at in the header, before anything is decoded."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, cast

from PIL import Image

from ..errors import ImageReadError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile
    from PIL.TiffImagePlugin import TiffImageFile

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "MAX_PIXELS_VARIABLE",
    "TooLargeError",
    "check_memory",
    "check_size",
    "check_text",
    "check_unpacked",
    "max_pixels",
    "open_raster",
]

MAX_PIXELS_VARIABLE = "MEDSSM_MAX_PIXELS"
MAX_PIXELS = 36_000_000
"""Pixels of a picture, 6000 x 6000: reading one takes up to 28 bytes each, 1 GB in all. Volumes may have three times as
many voxels, fewer where a voxel is a color or takes more than four bytes in the file."""
VOXELS_PER_PIXEL = 3
VALUE_BYTES = 4
SMALL, MOST_PACKED = 1 << 30, 100  # bytes of an array that may be packed as tightly as one likes; times for others
MAX_TEXT = 256 << 20
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")
"""What is opened, told by the content: others start programs (EPS: Ghostscript) or were never tried here."""
TILE_WIDTH, TILE_HEIGHT = 322, 323
_opening = Lock()


class TooLargeError(ImageReadError):
    """An image above the limit; the message names the size, the limit and what to do."""


def max_pixels() -> int:
    """The limit: environment variable ``MEDSSM_MAX_PIXELS``, else :data:`MAX_PIXELS`.

    Raises:
        ValueError: the variable is no whole number above 0.
    """
    given = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
    if not given:
        return MAX_PIXELS
    if not given.replace("_", "").isdecimal() or int(given) < 1:
        raise ValueError(f"{MAX_PIXELS_VARIABLE} must be a whole number of pixels above 0, got {given!r}.")
    return int(given)


def check_size(
    name: object, shape: Sequence[int], spatial_dims: int = 2, channels: int = 1, value_bytes: int = 1
) -> None:
    """Refuse an image of this shape if it is above the limit.

    Args:
        name: file, for the message.
        shape: its sides as the header gives them.
        spatial_dims: 2 for a picture, 3 for a volume.
        channels: of a volume, which count; a picture may have colors.
        value_bytes: of a value as the reader holds it beside the image.

    Raises:
        TooLargeError: above the limit.
    """
    limit = max_pixels() * (VOXELS_PER_PIXEL if spatial_dims == 3 else 1)
    count = math.prod(int(side) for side in shape)
    weight = (channels if spatial_dims == 3 else 1) * -(-value_bytes // VALUE_BYTES)
    if count * weight > limit:
        what = "voxels" if spatial_dims == 3 else "pixels"
        what += f" that count {weight} times ({channels} channel(s), {value_bytes} bytes each)" if weight > 1 else ""
        needed = -(-count * weight // VOXELS_PER_PIXEL) if spatial_dims == 3 else count * weight
        raise TooLargeError(
            f"{name}: too large, {' x '.join(map(str, shape))} = {count} {what}, the limit is {limit}; make it smaller "
            f"or cut it into tiles first, or raise the limit if the memory allows it ({MAX_PIXELS_VARIABLE}={needed})."
        )


def check_memory(name: object, size: int) -> None:
    """Refuse what cannot lie in the memory of this machine (where the system tells how much that is).

    Args:
        name: file, for the message.
        size: bytes needed.

    Raises:
        TooLargeError: more than there is.
    """
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return
    if size > there:
        raise TooLargeError(
            f"{name}: too large, its header claims {size / 2**30:.1f} GiB where the machine has {there / 2**30:.1f} "
            "GiB of memory; save it in parts."
        )


def check_unpacked(name: object, size: int, packed: int) -> None:
    """Refuse a large array that is packed more tightly than images are: a file of some kilobytes that fills the memory.

    Args:
        name: file, for the message.
        size: bytes of the array.
        packed: bytes that it takes in the file.

    Raises:
        TooLargeError: more than 1 GiB, and more than 100 times what lies in the file.
    """
    if size > SMALL and size > MOST_PACKED * packed:
        raise TooLargeError(
            f"{name}: too large, {packed} bytes would unpack to {size / 2**30:.1f} GiB, as no images do; save it in "
            "parts, or without compression."
        )


def check_text(path: Path) -> None:
    """Refuse a table or list that is none by its size.

    Raises:
        TooLargeError: more than 256 MiB.
    """
    size = path.stat().st_size
    if size > MAX_TEXT:
        raise TooLargeError(f"{path}: too large, {size >> 20} MiB where a list has up to {MAX_TEXT >> 20}; split it.")


def _whole(value: object) -> int:
    return value if isinstance(value, int) else max(map(int, value))  # type: ignore[call-overload]


def open_raster(path: Path) -> ImageFile:
    """``PIL.Image.open`` for the :data:`FORMATS`, with the limit of this package in place of Pillow's.

    Raises:
        TooLargeError: above the limit, and what Pillow raises.
    """
    with _opening:  # Pillow's own limit is a variable of its module
        kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            img = Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = kept
    try:
        check_size(path, (img.height, img.width))
        tags = cast("TiffImageFile", img).tag_v2 if img.format == "TIFF" else {}
        if TILE_WIDTH in tags:  # a tile may be larger than the picture
            check_size(path, [_whole(tags.get(tag, 0)) for tag in (TILE_HEIGHT, TILE_WIDTH)])
    except BaseException:
        img.close()
        raise
    return img
