"""Masks that hold a number for each class, read as these numbers: the indices of an indexed picture, not its colors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from monai.config import PathLike
from monai.utils import optional_import

from ..errors import ImageReadError
from .files import NIFTI, RASTER, file_kind
from .image import SEQUENCES, read_pixels, why_unreadable
from .limits import TooLargeError, check_size, open_raster
from .nifti import colors_last, nifti_facts
from .segment_labels import SegmentFiles, read_segments
from .volume import read_volume

__all__ = ["read_label_map"]

nib, _ = optional_import("nibabel")
INDEXED = ("P", "PA")
LARGEST = np.iinfo(np.int32).max
REMEDY = "export a label map: one whole number for each pixel or voxel"


def read_label_map(path: PathLike | SegmentFiles, spatial_dims: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers that a mask holds, as they lie in the file, and where it lies.

    Args:
        path: a picture (PNG, TIFF, ...; indexed ones are read by their indices) or one slice for two dimensions; a
            NIfTI file or the folder of a DICOM series for three; or the DICOM segmentations of an image.
        spatial_dims: 2 or 3.

    Returns:
        int32 values ``(H, W)``, rows first, or ``(X, Y, Z)``, axes as stored; and the ``(4, 4)`` affine of that array.

    Raises:
        FileNotFoundError: no such file.
        ImageReadError: damaged, too large, a volume where a picture is expected or the other way round.
        ValueError: numbers that are not whole, colors, NaN, several numbers for each voxel; the message says what to
            export; or segments that overlap.
    """
    if isinstance(path, SegmentFiles):
        if len(path.grid.shape) != spatial_dims:
            raise ImageReadError(f"{path}: labels of {len(path.grid.shape)} dimensions, expected {spatial_dims}.")
        return read_segments(path)
    path = Path(path)
    if spatial_dims == 2:
        values, affine = _picture(path)
    else:
        values, affine = _volume(path)
    return _whole(_one_channel(values, path), path), np.asarray(affine, dtype=np.float64)


def _picture(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """``(H, W, C)``."""
    if path.is_file() and file_kind(path) == RASTER:
        indices = _indices(path)
        if indices is not None:
            return indices[..., None], np.eye(4)
    pixels = read_pixels(path)
    return pixels.values, pixels.affine


def _indices(path: Path) -> np.ndarray | None:
    """``(H, W)`` of an indexed picture; None for another."""
    try:
        with open_raster(path) as img:
            if img.mode not in INDEXED or (img.format in SEQUENCES and getattr(img, "n_frames", 1) > 1):
                return None
            values = np.asarray(img)
    except (TooLargeError, PermissionError):
        raise
    except Exception as error:  # Pillow raises many kinds for damaged files
        raise ImageReadError(f"{path}: {why_unreadable(path, error)}") from error
    return values if values.ndim == 2 else values[..., 0]


def _volume(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """``(X, Y, Z, C)``."""
    if not path.is_file() or file_kind(path) != NIFTI:
        volume = read_volume(path, channels=None, scale=False)
        return np.moveaxis(volume.numpy(), 0, -1), np.asarray(volume.affine)
    try:
        facts = nifti_facts(path)
        check_size(path, facts.sides, 3, 3 if facts.color else 1, facts.value_bytes)
        image = nib.load(path)
        values = colors_last(np.asanyarray(image.dataobj), facts)
    except (ImageReadError, PermissionError):
        raise
    except Exception as error:  # nibabel raises many kinds for damaged files
        raise ImageReadError(f"{path}: cannot be read as a volume: {why_unreadable(path, error)}") from error
    sides, channels = values.shape[:3], int(np.prod(values.shape[3:]))
    if len(sides) < 3 or min(sides) < 2:
        raise ImageReadError(f"{path}: {tuple(facts.sides)} is no volume; expected three axes longer than one.")
    return values.reshape(*sides, channels), image.affine


def _one_channel(values: np.ndarray, path: Path) -> np.ndarray:
    first = values[..., 0]
    if values.shape[-1] > 1 and any((values[..., other] != first).any() for other in range(1, values.shape[-1])):
        what = "colors" if values.shape[-1] in (3, 4) else f"{values.shape[-1]} numbers for each voxel"
        raise ValueError(f"{path}: holds {what}, not the numbers of classes; {REMEDY}.")
    return first


def _whole(values: np.ndarray, path: Path) -> np.ndarray:
    """The values as int32."""
    if values.dtype.kind not in "iub":
        if not np.isfinite(values).all():
            raise ValueError(f"{path}: NaN or infinite values; repair the file or leave it out.")
        broken = values[values != np.rint(values)]
        if broken.size:
            shown = ", ".join(f"{value:g}" for value in np.unique(broken)[:6])
            raise ValueError(f"{path}: {broken.size} values are not whole numbers ({shown}); {REMEDY}.")
    if values.size and (values.min() < -LARGEST or values.max() > LARGEST):
        raise ValueError(
            f"{path}: values from {values.min():g} to {values.max():g} are no numbers of classes; {REMEDY}."
        )
    return np.ascontiguousarray(values, dtype=np.int32)
