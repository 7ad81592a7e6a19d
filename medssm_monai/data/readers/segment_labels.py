"""Labels of an image that DICOM objects hold: segmentations (SEG) and contours (RTSTRUCT), as one label map on its
pixels or voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ImageReadError
from ..labels import LabelSet
from .segment_contours import contour_masks
from .segment_masks import segment_masks
from .segments import Grid, SegmentFile, SegmentsError

__all__ = ["IGNORE", "SegmentFiles", "read_segments"]

IGNORE = "ignore"
MOST_REGIONS = 62  # bits of a number


@dataclass(frozen=True)
class SegmentFiles:
    """What ``read_label_map`` takes for the labels of one image.

    Attributes:
        segments: the objects.
        grid: of the image.
        labels: the classes; segments are theirs by name, and ``ignore`` is one where it has a value.
    """

    segments: tuple[SegmentFile, ...]
    grid: Grid
    labels: LabelSet

    @property
    def files(self) -> tuple[Path, ...]:
        """Of the objects."""
        return tuple(segment.path for segment in self.segments)

    def __str__(self) -> str:
        more = f" and {len(self.segments) - 1} more" if len(self.segments) > 1 else ""
        return f"{self.segments[0].path}{more}"


def read_segments(source: SegmentFiles) -> tuple[np.ndarray, np.ndarray]:
    """The label map of an image: the values of :attr:`LabelSet.written` where classes exclude each other, of regions
    the value that those and only those regions have which hold there; 0 where no segment is.

    Returns:
        int32 ``(X, Y, Z)`` or ``(rows, columns)``, and the affine of the grid.

    Raises:
        FileNotFoundError, ImageReadError: an object that is not there, or damaged.
        SegmentsError: segments that overlap though their classes exclude each other, regions of which no value is,
            a grid that does not fit.
    """
    grid, labels = source.grid, source.labels
    values = np.zeros(grid.shape, np.int32)
    if labels.overlapping:
        bits = np.zeros(grid.shape, np.int64)
        for number, (_, mask) in enumerate(_masks(source, labels.names)):
            bits |= mask.astype(np.int64) << number
        values = _of_regions(bits, source)
    else:
        overlaps = []
        for (name, mask), value in zip(_masks(source, labels.names), labels.written, strict=True):
            both = mask & (values > 0)
            if both.any():
                others = [labels.names[labels.written.index(other)] for other in np.unique(values[both])]
                overlaps.append(f"{name} and {', '.join(others)} in {np.count_nonzero(both)} voxels")
            values[mask] = value
        if overlaps:
            raise SegmentsError("overlapping segments", f"{source}: {'; '.join(overlaps)} ({_uids(source)})")
    if labels.ignore is not None:
        for _, mask in _masks(source, (IGNORE,)):
            values[mask] = labels.ignore
    return values, np.eye(4) if grid.affine is None else np.asarray(grid.affine, dtype=np.float64)


def _uids(source: SegmentFiles) -> str:
    return ", ".join(segment.uid for segment in source.segments)


def _of_regions(bits: np.ndarray, source: SegmentFiles) -> np.ndarray:
    """Values of the regions that hold in each voxel."""
    labels = source.labels
    if len(labels.names) > MOST_REGIONS:
        raise SegmentsError("other labels", f"{source}: {len(labels.names)} regions; at most {MOST_REGIONS} are read.")
    every = sorted({value for own in labels.values for value in own})
    value_of = {sum((value in own) << n for n, own in enumerate(labels.values)): value for value in every}
    found, places, counts = np.unique(bits, return_inverse=True, return_counts=True)
    missing = [
        f"{' with '.join(name for n, name in enumerate(labels.names) if number >> n & 1)} alone in {count} voxels"
        for number, count in zip(found.tolist(), counts.tolist(), strict=True)
        if number and number not in value_of
    ]
    if missing:
        raise SegmentsError(
            "overlapping segments",
            f"{source}: {'; '.join(missing)}, for which no value of the labels stands ({_uids(source)})",
        )
    table = np.array([value_of.get(number, 0) for number in found.tolist()], np.int32)
    return table[places].reshape(bits.shape)


def _masks(source: SegmentFiles, names: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Where each class lies, by all objects together."""
    opened = [_open(segment, source.grid) for segment in source.segments]
    for name in names:
        mask = np.zeros(source.grid.shape, bool)
        for segment, read in zip(source.segments, opened, strict=True):
            if name in segment.numbers:
                mask |= read(segment.numbers[name])
        yield name, mask


def _open(segment: SegmentFile, grid: Grid) -> Callable[[Sequence[int]], np.ndarray]:
    """A function of numbers of segments that gives where they lie."""
    if not segment.path.is_file():
        raise FileNotFoundError(f"{segment.path}: no such file.")
    try:
        return (contour_masks if segment.contours else segment_masks)(segment, grid)
    except (SegmentsError, ImageReadError, ImportError, PermissionError):
        raise
    except Exception as error:  # pydicom and highdicom raise many kinds for damaged files
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ImageReadError(
            f"{segment.path}: cannot be read as a DICOM {'structure set' if segment.contours else 'segmentation'} "
            f"({type(error).__name__}: {reason}); copy or export it again."
        ) from error
