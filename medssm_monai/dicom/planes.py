"""Voxels of a volume, back in the rows and columns of the images that it was read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data.readers.functional_groups import frame_planes
from ..data.readers.stacks import Plane
from ..data.studies.sort import header_plane

if TYPE_CHECKING:
    from pydicom import Dataset

    from ..bundle.predictions import FusionPrediction, SegmentationPrediction
    from ..data.studies.series import Series

__all__ = ["PixelPlane", "array_affine", "planes_of", "to_planes"]

IN_PLANE, ACROSS = 0.25, 0.49  # of a voxel, that a plane may lie beside those of the array
TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class PixelPlane:
    """Where a frame lies, in mm, as DICOM has it (left, posterior, superior).

    Attributes:
        position: of the middle of its first pixel.
        along_row: from a pixel to the next one in its row (a higher column).
        along_column: from a pixel to the next one in its column (a higher row).
        size: rows and columns.
    """

    position: np.ndarray
    along_row: np.ndarray
    along_column: np.ndarray
    size: tuple[int, int]


def array_affine(series: Series, prediction: FusionPrediction | SegmentationPrediction) -> np.ndarray:
    """``(4, 4)`` of the volume that was predicted; that of the series, where the prediction does not know it."""
    known = "file_affine" in prediction.meta or "affine" in prediction.meta
    return prediction.affine if known else np.asarray(series.affine, dtype=np.float64)


def planes_of(headers: Sequence[Dataset]) -> list[PixelPlane]:
    """The plane of each image, or of each frame of the one image that has several.

    Raises:
        ValueError: images that do not say where they are.
    """
    found: list[PixelPlane] = []
    lost = total = 0
    for header in headers:
        frames = header.get("PerFrameFunctionalGroupsSequence")
        own = frame_planes(header) if frames else [header_plane(header)]
        total += len(frames or [None])
        if own is None or None in own:
            lost += len(frames or [None])
            continue
        size = int(header.Rows), int(header.Columns)
        found += [_with_pixels(plane, size) for plane in own if plane is not None]
    if lost:
        raise ValueError(
            f"{lost} of {total} images do not say where they are (position, orientation or pixel spacing is missing); "
            "a volume cannot be written back to them."
        )
    return found


def _with_pixels(plane: Plane, size: tuple[int, int]) -> PixelPlane:
    position, directions = np.asarray(plane.position), np.asarray(plane.orientation)
    return PixelPlane(position, directions[:3] * plane.spacing[1], directions[3:] * plane.spacing[0], size)


def to_planes(array: np.ndarray, affine: np.ndarray, planes: Sequence[PixelPlane]) -> np.ndarray:
    """A volume, cut into the planes of its images.

    Args:
        array: ``(X, Y, Z)``, or ``(X, Y, Z, K)``.
        affine: ``(4, 4)`` from voxels to mm (right, anterior, superior).
        planes: one for each slice, in any order.

    Returns:
        ``(planes, rows, columns)``, or ``(planes, rows, columns, K)``, of the type of ``array``.

    Raises:
        ValueError: the array does not lie on the pixels of the images.
    """
    inverse = np.linalg.inv(np.asarray(affine, dtype=np.float64))
    cut, taken = [], []
    for number, plane in enumerate(planes):
        across, frame = _cut(array, inverse, plane, number)
        cut.append(frame)
        taken.append(across)
    axis, sides = taken[0][0], array.shape
    if {one[0] for one in taken} != {axis} or sorted(one[1] for one in taken) != list(range(sides[axis])):
        raise ValueError(
            f"a volume of {sides[axis]} slices does not fit the {len(planes)} images one by one; write it to the "
            "series that it was predicted from."
        )
    return np.stack(cut)


def _cut(array: np.ndarray, inverse: np.ndarray, plane: PixelPlane, number: int) -> tuple[tuple[int, int], np.ndarray]:
    """Axis and number of the slice, and its voxels ``(rows, columns[, K])``."""
    first = inverse[:3, :3] @ TO_RAS @ plane.position + inverse[:3, 3]
    right, down = (inverse[:3, :3] @ TO_RAS @ step for step in (plane.along_row, plane.along_column))
    column, row = int(np.abs(right).argmax()), int(np.abs(down).argmax())
    if column == row:
        raise _beside(number, "its rows and columns run along one axis of the volume")
    across = 3 - column - row
    last = first + right * (plane.size[1] - 1) + down * (plane.size[0] - 1)
    ends = {axis: (first[axis], last[axis]) for axis in (row, column)}
    for axis, length in ((row, plane.size[0]), (column, plane.size[1])):
        if length != array.shape[axis]:
            raise _beside(number, f"it is {plane.size[0]} x {plane.size[1]}, the volume {array.shape[:3]}")
        off = np.abs(np.sort(ends[axis]) - (0, length - 1)).max()
        if off > IN_PLANE:
            raise _beside(number, f"its pixels lie {off:.2f} voxels off (a tilted gantry, or another image)")
    corners = (first, first + right * (plane.size[1] - 1), first + down * (plane.size[0] - 1), last)
    place = round(float(np.mean([corner[across] for corner in corners])))
    off = max(abs(corner[across] - place) for corner in corners)
    if off > ACROSS or not 0 <= place < array.shape[across]:
        raise _beside(number, f"it lies {off:.2f} voxels off every slice of the volume")
    frame = array.take(place, axis=across)
    if row > column:
        frame = frame.swapaxes(0, 1)
    frame = frame[:: -1 if down[row] < 0 else 1, :: -1 if right[column] < 0 else 1]
    return (across, place), frame


def _beside(number: int, why: str) -> ValueError:
    return ValueError(
        f"image {number + 1} of the series does not lie in the volume: {why}; write a volume to the series that it "
        "was predicted from."
    )
