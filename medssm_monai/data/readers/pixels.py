"""A decoded image, before its values are brought to [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Pixels"]


@dataclass
class Pixels:
    """One decoded 2D image.

    Attributes:
        values: ``(H, W, C)`` float32 with C = 1 or 3, in file units.
        full_range: value that stands for 1.0 (255, 65535, or 1 for 1-bit files); None when the file type has no fixed
            range (NIfTI and DICOM above 8 bits, floating-point TIFF).
        kind: ``"raster"``, ``"nifti"``, ``"dicom"`` or ``"array"`` (an image inside an ``.npz`` file); None for a
            DICOM file whose name does not say so.
        lossy: True for formats whose compression adds small gray values (JPEG).
        affine: ``(4, 4)`` of the (row, column) array; identity for raster files.
        file_shape: shape of the array as it lies in a NIfTI or DICOM file; ``(H, W)`` for raster files.
        file_affine: ``(4, 4)`` as written in the file.
        declared: largest possible value of a 16-bit file whose header states it, else None.
        alpha: ``(H, W)`` uint8 of files that have an alpha channel.
    """

    values: np.ndarray
    full_range: float | None
    kind: str | None
    lossy: bool
    affine: np.ndarray
    file_shape: tuple[int, ...]
    file_affine: np.ndarray
    declared: float | None = None
    alpha: np.ndarray | None = None
