"""NIfTI files, looked at by their header first: how large, whether a voxel is a color, whether values have a range.

A color lies in a file as a voxel of several bytes (RGB24, RGBA32: what ITK makes of a color picture) or as three or
four values of a voxel (a vector). The standard puts these on the fifth axis, ``(X, Y, Z, 1, 3)``, as 3D Slicer and
SimpleITK do; writers that know less put them on the last axis there is. That axis is taken for one of colors where the
header says so (an intent of vectors), or where the values are colors' (8 bits unsigned) and it is the fourth. Three
axes without such an intent are three slices, never colors.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.config import PathLike
from monai.utils import optional_import

from ..errors import ImageReadError
from .intensity import EIGHT_BITS, full_range_of_type
from .limits import TooLargeError

__all__ = ["NiftiFacts", "colors_last", "full_range_of_values", "nifti_facts"]

nib, _ = optional_import("nibabel")
INTENT_OF_VECTORS = (1007, 2003, 2004)  # NIFTI_INTENT_VECTOR, RGB_VECTOR, RGBA_VECTOR
COLORS = (3, 4)
VECTOR_AXIS = 4  # the fifth, by the standard
GZIP = b"\x1f\x8b"
HEADER_BYTES = 1 << 21
"""Of header and extensions: nibabel reads all of it before it looks at the image."""


@dataclass(frozen=True)
class NiftiFacts:
    """What the header of a NIfTI file says.

    Attributes:
        sides: axes of the image, without that of the colors.
        shape: of the array that nibabel gives.
        axis: of the colors in that array; None where there is none.
        packed: whether a voxel is a color of several bytes.
        value_bytes: of one value in the file.
    """

    sides: tuple[int, ...]
    shape: tuple[int, ...]
    axis: int | None
    packed: bool
    value_bytes: int

    @property
    def color(self) -> bool:
        """Whether voxels are colors."""
        return self.packed or self.axis is not None


def nifti_facts(path: PathLike) -> NiftiFacts:
    """Look at the header of a NIfTI file.

    Raises:
        TooLargeError: a header that claims extensions beyond 2 MiB.
        ImageReadError: other files that nibabel knows by the suffix (CIFTI-2), and complex or packed values other than
            colors; and what nibabel raises for files that are none.
    """
    path = Path(path)
    _check_extensions(path)
    image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):  # of which NIfTI-2 is a kind
        raise ImageReadError(f"{path}: {type(image).__name__} of nibabel, no image in NIfTI-1 or NIfTI-2.")
    shape, dtype = tuple(int(side) for side in image.shape), image.get_data_dtype()
    if dtype.names is not None:
        return NiftiFacts(shape, shape, None, True, 1)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ImageReadError(f"{path}: {dtype} values are no picture; save it as integers or float32.")
    axis = _color_axis(shape, dtype, int(image.header["intent_code"]))
    return NiftiFacts(shape if axis is None else shape[: min(axis, 3)], shape, axis, False, dtype.itemsize)


def _color_axis(shape: Sequence[int], dtype: np.dtype, intent: int) -> int | None:
    axis = len(shape) - 1
    if axis < 2 or shape[axis] not in COLORS or any(side > 1 for side in shape[3:axis]):
        return None
    if axis == VECTOR_AXIS or intent in INTENT_OF_VECTORS:
        return axis
    return axis if axis == 3 and dtype == np.uint8 else None


def _check_extensions(path: Path) -> None:
    """Refuse a header whose extensions nibabel would read, and unpack, without end."""
    with path.open("rb") as stream:
        opened = gzip.open if stream.read(2) == GZIP else open
    try:
        with opened(path, "rb") as stream:
            head = stream.read(352)
    except (OSError, EOFError, zlib.error):
        return  # said by nibabel
    for order in ("<", ">"):
        size = int(np.frombuffer(head[:4], f"{order}i4")[0]) if len(head) >= 352 else 0
        if size == 348:
            offset = float(np.frombuffer(head[108:112], f"{order}f4")[0])
        elif size == 540:
            offset = float(np.frombuffer(head[168:176], f"{order}i8")[0])
        else:
            continue
        if not offset <= HEADER_BYTES:
            raise TooLargeError(f"{path}: its header claims {offset:.0f} bytes before the image; save it again.")


def colors_last(array: np.ndarray, facts: NiftiFacts) -> np.ndarray:
    """``(*sides, C)`` of the array that nibabel gives, C = 3 for colors (alpha is dropped), else 1."""
    if facts.packed:
        assert array.dtype.names is not None  # packed colors are fields
        return np.stack([array[name] for name in array.dtype.names[:3]], axis=-1)
    if facts.axis is None:
        return array[..., None]
    return np.moveaxis(array, facts.axis, -1).reshape(*facts.sides, -1)[..., :3]


def full_range_of_values(values: np.ndarray | torch.Tensor) -> float | None:
    """255 for values of 8 bits that no slope of a header has changed, else None."""
    return EIGHT_BITS if full_range_of_type(values.dtype) == EIGHT_BITS else None
