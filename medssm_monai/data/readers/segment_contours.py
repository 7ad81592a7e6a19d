"""Regions of interest of a DICOM RTSTRUCT object on the voxels of a volume.

A contour lies in one slice, and a voxel is inside where its center is. Contours of one region in one slice leave out
where an even number of them lies upon each other, so that inner ones are holes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from skimage.draw import polygon2mask

from .segments import Grid, SegmentFile, SegmentsError
from .stacks import LPS_TO_RAS

__all__ = ["AREAS", "contour_masks"]

AREAS = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
"""Kinds of contours that are areas."""
OFF_SLICE = 0.2  # of the gap between slices, by which a contour may lie beside one
FEWEST = 3  # points


def contour_masks(segment: SegmentFile, grid: Grid) -> Callable[[Sequence[int]], np.ndarray]:
    """A function of numbers of regions that gives where one of them lies, bool in the shape of ``grid``.

    Raises:
        ImportError: pydicom is not installed.
        SegmentsError: contours on a picture, of another frame of reference, or beside the slices of the image.
    """
    import pydicom

    header = pydicom.dcmread(segment.path)
    if len(grid.shape) != 3 or grid.affine is None:
        raise SegmentsError(
            "segmentation on another grid", f"{segment.path}: contours are read for volumes alone ({segment.uid})"
        )
    frames = {str(item.get("FrameOfReferenceUID", "")) for item in header.get("ReferencedFrameOfReferenceSequence", [])}
    if grid.frame_of_reference not in frames:
        raise SegmentsError(
            "segmentation on another grid",
            f"{segment.path}: of another frame of reference than its images ({segment.uid})",
        )
    contours = {
        int(item.ReferencedROINumber): [
            np.asarray(contour.ContourData, dtype=np.float64).reshape(-1, 3)
            for contour in item.get("ContourSequence", [])
            if contour.get("ContourGeometricType") in AREAS
        ]
        for item in header.get("ROIContourSequence", [])
    }
    to_voxels = np.linalg.inv(np.asarray(grid.affine)) @ LPS_TO_RAS

    def masks(numbers: Sequence[int]) -> np.ndarray:
        found = np.zeros(grid.shape, bool)
        for number in numbers:
            found |= _region(contours.get(number, []), to_voxels, grid, segment, number)
        return found

    return masks


def _region(
    contours: Sequence[np.ndarray], to_voxels: np.ndarray, grid: Grid, segment: SegmentFile, number: int
) -> np.ndarray:
    mask = np.zeros(grid.shape, bool)
    beside = []
    for points in contours:
        if len(points) < FEWEST:
            continue
        voxels = points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
        place = round(float(voxels[:, 2].mean()))
        off = float(np.abs(voxels[:, 2] - place).max())
        if off > OFF_SLICE:
            beside.append(off)
        elif 0 <= place < grid.shape[2]:
            mask[..., place] ^= polygon2mask(grid.shape[:2], voxels[:, :2])
    if beside:
        raise SegmentsError(
            "segmentation on another grid",
            f"{segment.path}: {len(beside)} of {len(contours)} contours of region {number} lie up to {max(beside):.2f} "
            f"of the gap beside the slices of the image ({segment.uid})",
        )
    return mask
