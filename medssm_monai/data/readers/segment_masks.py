"""Segments of a DICOM SEG object, read by highdicom, on the pixels or voxels of an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from monai.utils import optional_import
from scipy.ndimage import affine_transform

from ..errors import ImageReadError
from .channels import voxel_size
from .functional_groups import frame_planes
from .segments import Grid, SegmentFile, SegmentsError
from .stacks import LPS_TO_RAS

if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["segment_masks"]

HALF = 0.5  # of a fractional segment
ON_GRID = 0.05  # of a voxel, by which a segment's pixels may lie beside those of the image
TURNED = 1e-3  # by which directions may differ
MEASURES = "PixelMeasuresSequence"


def segment_masks(segment: SegmentFile, grid: Grid) -> Callable[[Sequence[int]], np.ndarray]:
    """A function of numbers of segments that gives where one of them lies, bool in the shape of ``grid``.

    Segments on the voxels of the image are taken as they are; frames that are not there are empty. Segments on other
    voxels of the same frame of reference are resampled by the nearest neighbor. Fractional ones count from one half.

    Raises:
        ImportError: pydicom or highdicom is not installed.
        ImageReadError: a damaged file.
        SegmentsError: an object of another frame of reference, or that does not fit its picture.
    """
    highdicom, there = optional_import("highdicom")
    if not there:
        raise ImportError('DICOM segmentations need highdicom; install it with: pip install "medssm-monai[dicom]"')
    import pydicom

    header = pydicom.dcmread(segment.path)
    by_reference = len(grid.shape) == 2 and _refers_to(header, grid)
    if not by_reference:
        _check_place(header, segment, grid)
        _state_spacing(header, grid)
    found = highdicom.seg.Segmentation.from_dataset(header, copy=False)
    read = _by_reference if by_reference else _by_place

    def masks(numbers: Sequence[int]) -> np.ndarray:
        try:
            return read(found, segment, grid, list(numbers))
        except (SegmentsError, ImageReadError):
            raise
        except Exception as error:  # highdicom raises many kinds for what it cannot decode or place
            reason = (str(error).strip().splitlines() or ["no reason given"])[0]
            raise ImageReadError(
                f"{segment.path}: its segments {', '.join(map(str, numbers))} cannot be read ({type(error).__name__}: "
                f"{reason}); copy or export it again."
            ) from error

    return masks


def _sources(header: Dataset) -> list[Dataset]:
    """What the frames refer to as the images that they come from."""
    groups = [*header.get("PerFrameFunctionalGroupsSequence", []), *header.get("SharedFunctionalGroupsSequence", [])]
    derived = (item for group in groups for item in group.get("DerivationImageSequence", []))
    return [source for item in derived for source in item.get("SourceImageSequence", [])]


def _refers_to(header: Dataset, grid: Grid) -> bool:
    """Whether frames say that they were made of a picture, of the same rows and columns."""
    named = any(source.get("ReferencedSOPInstanceUID") == grid.instance for source in _sources(header))
    return named and (int(header.Rows), int(header.Columns)) == grid.shape


def _by_reference(found: Any, segment: SegmentFile, grid: Grid, numbers: list[int]) -> np.ndarray:
    """Of a picture, ``(rows, columns)``."""
    options = {
        "segment_numbers": numbers,
        "ignore_spatial_locations": True,  # rows and columns are those of the picture
        "assert_missing_frames_are_empty": True,
    }
    if grid.frame is None:
        pixels = found.get_pixels_by_source_instance([grid.instance], **options)
    else:
        pixels = found.get_pixels_by_source_frame(grid.instance, [grid.frame + 1], **options)
    return np.any(pixels[0] >= _from(found), axis=-1, keepdims=True)[..., 0]


def _from(found: Any) -> float:
    return HALF if str(found.SegmentationType) == "FRACTIONAL" else 1


def _check_place(header: Dataset, segment: SegmentFile, grid: Grid) -> None:
    """Raise where an object says no place in the frame of reference of the image."""
    own = str(header.get("FrameOfReferenceUID", ""))
    if grid.affine is None:
        raise SegmentsError(
            "segmentation on another grid",
            f"{segment.path}: {header.Rows} x {header.Columns} pixels, the picture {grid.shape[0]} x {grid.shape[1]}, "
            f"which has no place in space ({segment.uid})",
        )
    if own != grid.frame_of_reference:
        raise SegmentsError(
            "segmentation on another grid",
            f"{segment.path}: of another frame of reference than its images ({segment.uid})",
        )
    if frame_planes(header) is None:
        raise ImageReadError(f"{segment.path}: its frames do not say where they lie; export it again.")


def _state_spacing(header: Dataset, grid: Grid) -> None:
    """Let an object whose frames lie on slices of the image say how far these are apart, so that slices without a frame
    are empty."""
    planes = frame_planes(header) or []
    to_voxels = np.linalg.inv(np.asarray(grid.affine)) @ LPS_TO_RAS
    directions = np.asarray(grid.affine)[:3, :3] / voxel_size(np.asarray(grid.affine))
    normals = np.abs([_ras(plane.normal) @ directions[:, 2] for plane in planes])
    places = np.array([(to_voxels @ [*plane.position, 1])[2] for plane in planes])
    if normals.min() < 1 - TURNED or np.abs(places - places.round()).max() > ON_GRID:
        return
    step = float(voxel_size(np.asarray(grid.affine))[2])
    for group in (*header.get("SharedFunctionalGroupsSequence", []), *header.PerFrameFunctionalGroupsSequence):
        for item in group.get(MEASURES, []):
            item.SpacingBetweenSlices = step


def _ras(direction: np.ndarray) -> np.ndarray:
    return LPS_TO_RAS[:3, :3] @ direction


def _by_place(found: Any, segment: SegmentFile, grid: Grid, numbers: list[int]) -> np.ndarray:
    """On the voxels of the image, by where the frames lie."""
    volume = found.get_volume(segment_numbers=numbers)  # (frames, rows, columns, segments)
    own = np.any(volume.array >= _from(found), axis=-1, keepdims=True)[..., 0].T  # (columns, rows, frames)
    affine = LPS_TO_RAS @ np.asarray(volume.affine)[:, [2, 1, 0, 3]]
    placed = on_grid(own, affine, grid.sides, np.asarray(grid.affine))
    return placed[..., 0].T if len(grid.shape) == 2 else placed


def on_grid(values: np.ndarray, affine: np.ndarray, sides: Sequence[int], wanted: np.ndarray) -> np.ndarray:
    """Values ``(X, Y, Z)`` at other voxels, by the nearest neighbor, 0 outside; exact where the voxels are the same
    ones in another order or extent.

    Args:
        values: bool.
        affine: ``(4, 4)`` of them.
        sides: of the result.
        wanted: its affine.
    """
    matrix = np.linalg.inv(affine) @ wanted
    turn, start = matrix[:3, :3], matrix[:3, 3]
    whole = turn.round()
    reach = np.abs(turn - whole) @ np.asarray(sides)  # how far the last voxel is off
    if reach.max() <= ON_GRID and np.abs(start - start.round()).max() <= ON_GRID:
        turn, start = whole, start.round()
    moved = affine_transform(
        values.astype(np.uint8), turn, start, output_shape=tuple(sides), order=0, mode="grid-constant", cval=0
    )
    return moved > 0
