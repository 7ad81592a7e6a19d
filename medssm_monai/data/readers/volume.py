"""Reading of volumes: NIfTI, DICOM series and 3D images inside ``.npz`` files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from monai.config import PathLike
from monai.data import ImageReader, ITKReader, MetaTensor, NibabelReader
from monai.transforms import LoadImage

from ..errors import DatalistError, ImageReadError
from .arrays import ARRAY_NAME, array_name, array_pixels, is_array
from .dicom import check_dicom_volume, slice_plane
from .files import DICOM, NIFTI, RASTER, file_kind
from .image import to_channels, why_unreadable
from .intensity import IntensityRange, range_metadata, to_unit_range
from .limits import check_size
from .nifti import colors_last, full_range_of_values, nifti_facts
from .npz import ARRAY, npz_sample, parse_npz_address
from .series import dicom_series, series_files
from .series_files import SeriesFiles, enhanced_file, is_enhanced, read_slices
from .stacks import StackError, stack_planes

__all__ = ["check_volume", "is_volume", "open_volume", "read_volume"]


def _from_npz(file: Path, key: str, index: int) -> tuple[torch.Tensor, dict, float | None]:
    values, full_range = npz_sample(file, key, index)  # (D, H, W, C)
    meta = {"filename_or_obj": f"{file}/{key}/{index}", "file_kind": ARRAY, "original_channel_dim": 0}
    return torch.from_numpy(np.moveaxis(values, -1, 0).copy()), meta, full_range


def _from_array(source: np.ndarray | torch.Tensor) -> tuple[MetaTensor, float]:
    values, full_range = array_pixels(source, 3)
    values = np.moveaxis(values, -1, 0).copy()
    meta = {"filename_or_obj": ARRAY_NAME, "file_kind": ARRAY, "original_channel_dim": 0}
    affine = source.affine if isinstance(source, MetaTensor) else None
    return MetaTensor(torch.from_numpy(values), affine=affine, meta=meta), full_range


def _from_file(path: Path | SeriesFiles) -> tuple[MetaTensor, float | None]:
    """A NIfTI file or a DICOM series ``(C, X, Y, Z)``, and the value that stands for 1.0; its header is looked at
    first."""
    volume = open_volume(path, _from_nifti)
    return cast(MetaTensor, volume.to(torch.float32)), full_range_of_values(volume)


def open_volume(path: Path | SeriesFiles, from_nifti: Callable[[Path], MetaTensor]) -> MetaTensor:
    """A NIfTI file or a DICOM series ``(C, X, Y, Z)`` in the type of the file; its header is looked at first.

    Args:
        path: file, the folder of a series, or its sorted files.
        from_nifti: reads a NIfTI file.

    Raises:
        FileNotFoundError: no such file.
        PermissionError: it may not be read.
        ImageReadError: damaged, too large, no volume.
        DatalistError: a folder that holds no DICOM series, or several.
    """
    if isinstance(path, SeriesFiles):
        return read_slices(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such volume; check the path or the datalist it comes from.")
    kind = None if path.is_dir() else file_kind(path)
    try:
        if path.is_dir():
            return _from_folder(path)
        if kind == NIFTI:
            return from_nifti(path)
        if kind == DICOM and is_enhanced(path):
            return read_slices(enhanced_file(path))
        if kind == DICOM:
            check_dicom_volume(path)
            return _loaded(path, ITKReader())
        what = "a picture, not a volume" if kind == RASTER else "its suffix is no known image format"
        raise ImageReadError(f"{path}: {what}; volumes are NIfTI files or DICOM series.")
    except (ImageReadError, DatalistError):
        raise
    except PermissionError as error:
        raise PermissionError(f"{path}: may not be read (permission denied); ask for the right to read it.") from error
    except Exception as error:  # every reader raises its own kinds for damaged files
        reason = str(error) if path.is_dir() else why_unreadable(path, error)
        raise ImageReadError(f"{path}: cannot be read as a volume: {reason}") from error


def _from_folder(folder: Path) -> MetaTensor:
    """A series; its slices are placed by their headers where all of them say where they lie."""
    files = series_files(folder)
    planes = [slice_plane(file) for file in files]
    placed = [plane for plane in planes if plane is not None]
    if len(files) < 2 or len(placed) < len(files):
        check_dicom_volume(folder)
        return _loaded(folder, ITKReader(series_name=dicom_series(folder)))
    try:
        stack = stack_planes(placed)
    except StackError as error:
        raise ImageReadError(f"{folder}: {error}; complete the series, or name what makes a volume.") from error
    volume = read_slices(SeriesFiles(tuple(files[number] for number in stack.order), stack.affine))
    volume.meta["filename_or_obj"] = str(folder)
    return volume


def _loaded(path: Path, reader: ImageReader) -> MetaTensor:
    # The reader given at call time is the only one tried: MONAI's others unpickle some files.
    return LoadImage(image_only=True, ensure_channel_first=True, dtype=None)(path, reader=reader)


def _from_nifti(path: Path) -> MetaTensor:
    facts = nifti_facts(path)
    check_size(path, facts.sides, 3, 3 if facts.color else 1, facts.value_bytes)
    if not facts.color:
        return _loaded(path, NibabelReader())
    reader = NibabelReader()
    array, meta = reader.get_data(reader.read(str(path)))
    values = np.ascontiguousarray(np.moveaxis(colors_last(array, facts), -1, 0))
    meta |= {"filename_or_obj": str(path), "original_channel_dim": 0, "spatial_shape": np.asarray(facts.sides)}
    return MetaTensor(torch.from_numpy(values), meta=meta)


def read_volume(
    path: PathLike | SeriesFiles | np.ndarray | torch.Tensor,
    channels: int | None = 1,
    scale: bool = True,
    intensity: IntensityRange | None = None,
) -> MetaTensor:
    """One volume ``(C, X, Y, Z)`` float32; axes as stored.

    Args:
        path: NIfTI file, DICOM series folder or its sorted files (:class:`~.series_files.SeriesFiles`), an enhanced
            multi-frame DICOM file (sorted by its functional groups, with pydicom), the address of an image in an
            ``.npz`` file, or an array in memory (:func:`~.arrays.array_pixels`), whose affine is that of the
            MetaTensor, else the identity.
        channels: 1 (luma), 3 (gray repeated) or None (as in the file).
        scale: to [0, 1], as :mod:`.intensity` says for each kind of file (a constant volume without
            a range of its own becomes 0).
        intensity: says what 16-bit arrays are divided by; by default 65535, with a warning where that is doubtful.

    Raises:
        FileNotFoundError: no such file.
        TooLargeError: above the limit of voxels (:mod:`.limits`); nothing is decoded.
        ImageReadError: damaged, or no volume.
        DatalistError: a folder that holds no DICOM series, or several.
        ValueError: NaN or infinite values.
    """
    intensity = intensity or IntensityRange()
    full_range: float | None
    if is_array(path):
        (volume, full_range), path = _from_array(path), array_name(path)
    elif isinstance(path, SeriesFiles):
        volume, full_range = _from_file(path)
    elif (address := parse_npz_address(path)) is not None:
        values, meta, full_range = _from_npz(*address)
        volume = MetaTensor(values, meta=meta)
    else:
        volume, full_range = _from_file(Path(path))
    if volume.ndim != 4 or min(volume.shape[1:]) < 2:
        raise ImageReadError(f"{path}: {tuple(volume.shape[1:])} is no volume; expected three axes longer than one.")
    if not all(torch.isfinite(extreme) for extreme in torch.aminmax(volume)):
        raise ValueError(f"{path}: NaN or infinite values; repair the file or leave it out.")
    if volume.shape[0] not in (1, 3):
        raise ImageReadError(f"{path}: {volume.shape[0]} values for each voxel; expected one, or three of a color.")
    largest = float(volume.max())
    if channels is not None and volume.shape[0] != channels:
        last = to_channels(volume.moveaxis(0, -1).numpy(), channels)
        volume = MetaTensor(torch.from_numpy(np.moveaxis(last, -1, 0).copy()), meta=volume.meta)
    if scale:
        volume = cast(MetaTensor, to_unit_range(volume, intensity(path, full_range, None, largest)))
        full_range = 1.0
    volume.meta |= range_metadata(full_range)
    return volume


def check_volume(path: PathLike | SeriesFiles) -> None:
    """Raise what :func:`read_volume` raises."""
    read_volume(path, channels=None, scale=False)


def is_volume(path: PathLike) -> bool:
    """Whether a file holds a volume rather than one picture or slice: a NIfTI file by its header alone, a folder (of a
    DICOM series) always, any other file never.

    Raises:
        ImageReadError: a damaged NIfTI file.
    """
    if Path(path).is_dir():
        return True
    if file_kind(Path(path)) != NIFTI:
        return False
    try:
        sides = nifti_facts(path).sides
    except ImageReadError:
        raise
    except Exception as error:  # nibabel raises many kinds for damaged files
        raise ImageReadError(f"{path}: cannot be read as NIfTI ({type(error).__name__}: {error}).") from error
    return sum(side > 1 for side in sides[:3]) == 3
