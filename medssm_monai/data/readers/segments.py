"""A DICOM object whose segments are labels of an image, and the pixels or voxels of that image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Grid", "SegmentFile", "SegmentsError"]


class SegmentsError(ValueError):
    """Segments that make no label map of an image, or belong to none.

    Attributes:
        kind: of the problem, as a :class:`~medssm_monai.data.Problem` has it.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Grid:
    """Pixels or voxels that labels are put on.

    Attributes:
        shape: ``(X, Y, Z)`` of a volume, ``(rows, columns)`` of a picture.
        affine: ``(4, 4)``, RAS+ mm, of (X, Y, Z), of a picture of (X, Y, 1); None for a picture without a place.
        frame_of_reference: UID; empty where the image says none.
        instance: SOP Instance UID of a picture.
        frame: of a picture inside a multi-frame file, from 0.
    """

    shape: tuple[int, ...]
    affine: np.ndarray | None
    frame_of_reference: str = ""
    instance: str = ""
    frame: int | None = None

    @property
    def sides(self) -> tuple[int, int, int]:
        """(X, Y, Z)."""
        return (self.shape[1], self.shape[0], 1) if len(self.shape) == 2 else self.shape  # type: ignore[return-value]


@dataclass(frozen=True)
class SegmentFile:
    """One object, and what its segments (of contours: regions of interest) stand for.

    Attributes:
        path: the file.
        uid: SOP Instance UID.
        numbers: of the segments of each class that it has.
        contours: an RTSTRUCT; else a SEG.
    """

    path: Path
    uid: str
    numbers: Mapping[str, tuple[int, ...]]
    contours: bool = False
