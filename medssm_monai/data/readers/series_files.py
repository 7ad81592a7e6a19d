"""A volume of DICOM slices that are sorted already, wherever their files lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["SeriesFiles"]


@dataclass(frozen=True)
class SeriesFiles:
    """Files of one volume, as :func:`medssm_monai.dicom.find_series` sorts them.

    Attributes:
        files: one for each slice, along the normal; or one multi-frame file.
        affine: ``(4, 4)``, RAS+ mm, of the array (X = column, Y = row, Z = slice).
        frames: of a multi-frame file, its frames (from 0) along the normal.
    """

    files: tuple[Path, ...]
    affine: np.ndarray
    frames: tuple[int, ...] | None = None

    def __str__(self) -> str:
        more = f" and {len(self.files) - 1} more" if len(self.files) > 1 else ""
        return f"{self.files[0]}{more}"
