"""A volume of DICOM slices that are sorted already, wherever their files lie; or of the frames of one file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import optional_import

from ..errors import ImageReadError
from .dicom import check_dicom_volume, measured, read_dicom, reader_inverts
from .dicom_headers import sop_class
from .functional_groups import frame_planes, frame_traits
from .split_stacks import FRAME_TRAITS, like_planes, split_stacks

__all__ = ["SeriesFiles", "enhanced_file", "is_enhanced", "read_slices"]

STORAGE = "1.2.840.10008.5.1.4.1.1."
ENHANCED = {  # CT, MR, PET, X-ray 3D, tomosynthesis: frames with a place each
    f"{STORAGE}{end}" for end in ("2.1", "2.2", "4.1", "4.3", "4.4", "128.1", "130", "13.1.1", "13.1.2", "13.1.3")
}
BY_FRAME = "read its frames one by one (<file>/frames/0, ...)"


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


def is_enhanced(path: Path) -> bool:
    """Whether a DICOM file is of a class whose frames have places in space of their own."""
    return sop_class(path) in ENHANCED


def read_slices(source: SeriesFiles) -> MetaTensor:
    """The volume ``(1, X, Y, Z)``, values as measured (rescaled, MONOCHROME1 not turned over), with its affine.

    Eight-bit files give uint8, all others float32.

    Raises:
        FileNotFoundError: a file that is not there.
        TooLargeError: above the limit of voxels; nothing is decoded.
        ImageReadError: a slice of colors, of another size than the first, or that cannot be read; it is named.
    """
    missing = [file for file in source.files if not file.is_file()]
    if missing:
        raise FileNotFoundError(f"{missing[0]}: no such file; {len(missing)} of {len(source.files)} slices are not there.")
    check_dicom_volume(source.files)
    planes = [plane for file in source.files for plane in _planes(file, source.frames)]
    odd = [file for file, plane in zip(source.files, planes, strict=False) if plane.shape != planes[0].shape]
    if odd:
        raise ImageReadError(f"{odd[0]}: a slice of another size than {source.files[0]}; sort the series again.")
    values = np.stack(planes, axis=-1)[None]
    values = values if values.dtype == np.uint8 else values.astype(np.float32)
    meta = {"filename_or_obj": str(source), "original_channel_dim": 0, "spatial_shape": np.asarray(values.shape[1:])}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(values)), affine=torch.as_tensor(source.affine), meta=meta)


def _planes(file: Path, frames: tuple[int, ...] | None) -> list[np.ndarray]:
    """Slices (x, y) of a file."""
    try:
        array, meta = read_dicom(file)
    except ImageReadError:
        raise
    except OSError as error:  # DicomError, which does not name the file
        raise ImageReadError(f"{file}: {error}.") from error
    count = len(meta["spatial_shape"])
    if array.ndim > count:
        raise ImageReadError(f"{file}: a slice of colors; a volume has one value for each voxel.")
    shown = array.reshape(*array.shape[:2], -1)
    shown = shown if shown.dtype == np.uint8 else shown.astype(np.float32)
    shown = measured(shown, meta, reader_inverts())
    if frames is None and shown.shape[-1] != 1:
        raise ImageReadError(f"{file}: holds {shown.shape[-1]} frames, expected one slice; sort the series again.")
    if frames is not None and max(frames) >= shown.shape[-1]:
        raise ImageReadError(f"{file}: holds {shown.shape[-1]} frames, frame {max(frames)} was asked for.")
    return [shown[..., frame] for frame in frames or (0,)]


def enhanced_file(path: Path) -> SeriesFiles:
    """The one volume of an enhanced multi-frame file, its frames sorted by their functional groups.

    Raises:
        ImageReadError: frames without a place, several volumes, or none; or pydicom is not installed.
    """
    pydicom, there = optional_import("pydicom")
    if not there:
        raise ImageReadError(f'{path}: enhanced multi-frame DICOM needs pydicom: pip install "medssm-monai[dicom]".')
    header = pydicom.dcmread(path, stop_before_pixels=True)
    planes = frame_planes(header)
    if planes is None:
        raise ImageReadError(f"{path}: its frames have no place in space (functional groups); {BY_FRAME}.")
    groups = like_planes(planes, [(1, 1)] * len(planes))
    found = [split_stacks(planes, frame_traits(header), FRAME_TRAITS, group) for group in groups]
    stacks = [stack for part in found for stack in part.stacks]
    left = [why for part in found for _, why in part.left]
    if len(stacks) != 1 or left:
        what = f"holds {len(stacks)} volumes" if stacks else "makes no volume"
        why = f" ({'; '.join(left[:3])})" if left else ""
        raise ImageReadError(f"{path}: {what}{why}; name one that medssm_monai.dicom.find_series finds, or {BY_FRAME}.")
    frames, stack, _ = stacks[0]
    return SeriesFiles((path,), stack.affine, tuple(frames))
