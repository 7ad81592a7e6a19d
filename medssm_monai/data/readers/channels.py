"""Volumes of any number of channels in the units of their files: what a segmentation of volumes starts from.

The channels of a NIfTI file lie on its fourth axis, as in the Medical Segmentation Decathlon's BraTS (the standard's
vectors on the fifth, packed colors in a voxel); or every channel has its own file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.config import PathLike
from monai.data import MetaTensor
from monai.utils import SpaceKeys, optional_import

from ..errors import ImageReadError
from .arrays import ARRAY_NAME, array_name, is_array
from .files import DICOM, NIFTI, RASTER, file_kind
from .limits import check_size
from .nifti import colors_last, nifti_facts
from .npz import ARRAY
from .series_files import SeriesFiles
from .volume import open_volume

__all__ = ["SeriesFiles", "Source", "files_of", "read_channels", "same_place", "volume_header", "voxel_size"]

nib, _ = optional_import("nibabel")
Source = PathLike | SeriesFiles | Sequence[PathLike | SeriesFiles] | np.ndarray | torch.Tensor
CHANNEL_FILES = "channel_files"
TOLERANCE = 1e-3  # of a voxel, by which the affines of a volume's files may differ
UNKNOWN, SCANNER, ALIGNED = 0, 1, 2  # of NIFTI_XFORM: what nibabel writes for a bare affine is (0, 2)
HINT = "pictures and slices are segmented with spatial_dims 2"


def voxel_size(affine: np.ndarray) -> np.ndarray:
    """Size of a voxel along each axis of the array, in mm."""
    return cast(np.ndarray, np.linalg.norm(np.asarray(affine, dtype=np.float64)[:3, :3], axis=0))


def same_place(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two affines are one, to a thousandth of the smallest side of a voxel."""
    return bool(np.abs(first - second).max() <= TOLERANCE * voxel_size(first).min())


def files_of(meta: Mapping[str, Any], file: str) -> str | list[str]:
    """What a volume was loaded from, by its metadata: ``file``, or the files of its channels."""
    return json.loads(meta[CHANNEL_FILES]) if CHANNEL_FILES in meta else file


def read_channels(source: Source, channels: int | None = None) -> MetaTensor:
    """One volume ``(C, X, Y, Z)`` float32 in the units of its file (a slope of the header is applied), axes as stored.

    Args:
        source: a NIfTI file, the folder of a DICOM series, its sorted files (``series.source`` of
            :func:`medssm_monai.dicom.find_series`), an enhanced multi-frame DICOM file, a list of such (one for each
            channel, all on the same voxels), or an array in memory: NumPy's ``(X, Y, Z)`` or ``(X, Y, Z, C)``, a tensor
            ``(X, Y, Z)`` or ``(C, X, Y, Z)``, whose affine is that of the MetaTensor, else the identity.
        channels: how many there must be; None takes any number.

    Returns:
        the volume with the metadata ``filename_or_obj`` (the first file), ``affine`` and ``original_affine``,
        ``spatial_shape``, ``file_kind``, ``file_size`` ``(X, Y, Z)``, ``file_shape`` (four numbers: X, Y, Z, and the
        channels of a file that holds several, else 0), ``file_affine``, ``channel_files`` (of a list, all of them, as
        one text in JSON), ``qform_code`` and ``sform_code`` (of a NIfTI file; 1, scanner, for DICOM; 0 and 2 for
        arrays).

    Raises:
        FileNotFoundError: no such file.
        TooLargeError: above the limit of voxels (:mod:`.limits`); nothing is decoded.
        ImageReadError: damaged, a picture or a single slice, other than ``channels``, a voxel size of 0, or files of a
            list that do not lie on the same voxels.
        DatalistError: a folder that holds no DICOM series, or several.
        ValueError: NaN or infinite values; an empty list.
    """
    if is_array(source):
        volume, name = _from_array(source), array_name(source)
    elif isinstance(source, SeriesFiles):
        volume, name = _from_path(source), str(source)
    elif isinstance(source, (str, Path)) or not isinstance(source, Sequence):
        volume, name = _from_path(Path(cast(PathLike, source))), str(source)
    else:
        volume, name = _from_list([file if isinstance(file, SeriesFiles) else Path(file) for file in source])
    if channels is not None and volume.shape[0] != channels:
        raise ImageReadError(
            f"{name}: {volume.shape[0]} channel(s), expected {channels}; give each volume a file of {channels} "
            f"channel(s) on the fourth axis or a list of {channels} file(s), or set channel_names (in_channels) by "
            "the data."
        )
    return volume


def _from_list(files: Sequence[Path | SeriesFiles]) -> tuple[MetaTensor, str]:
    """Files of one channel each, one upon the other; and how messages call them."""
    if not files:
        raise ValueError("a volume is an empty list of files; name one file, or one for each channel.")
    first = _from_path(files[0])
    if len(files) == 1:
        return first, str(files[0])
    volumes = [first, *map(_from_path, files[1:])]
    name = f"{files[0]} and {len(files) - 1} more"
    first_name = files[0].name if isinstance(files[0], Path) else str(files[0])
    problems = []
    for file, volume in zip(files, volumes, strict=True):
        if volume.shape[0] != 1:
            problems.append(f"{file} holds {volume.shape[0]} channels, where a list has one file for each")
        if volume.shape[1:] != first.shape[1:]:
            problems.append(f"{file} is {tuple(volume.shape[1:])}, {first_name} {tuple(first.shape[1:])}")
        elif not same_place(first.meta["file_affine"], volume.meta["file_affine"]):
            apart = float(np.abs(volume.meta["file_affine"] - first.meta["file_affine"]).max())
            problems.append(f"the affine of {file} is {apart:.4g} off that of {first_name}")
    if problems:
        raise ImageReadError(f"{name}: {'; '.join(problems)}; resample the channels to the same voxels first.")
    meta = {**first.meta, CHANNEL_FILES: json.dumps([str(file) for file in files])}
    return MetaTensor(torch.cat([volume.as_tensor() for volume in volumes]), meta=meta), name


def _from_path(path: Path | SeriesFiles) -> MetaTensor:
    if isinstance(path, Path) and path.is_file() and file_kind(path) == RASTER:
        raise ImageReadError(f"{path}: a picture, not a volume; {HINT}.")
    found = open_volume(path, _from_nifti)
    values = found.as_tensor().to(torch.float32).contiguous()
    affine = np.asarray(found.meta["affine"], dtype=np.float64)
    facts = {key: found.meta.get(key, SCANNER) for key in ("qform_code", "sform_code")}
    kind = DICOM if isinstance(path, SeriesFiles) or path.is_dir() else file_kind(path)
    return _checked(values, affine, {"filename_or_obj": str(path), "file_kind": kind, **facts}, str(path))


def _from_nifti(path: Path) -> MetaTensor:
    facts = nifti_facts(path)
    if sum(side > 1 for side in facts.shape[:3]) < 3:
        raise ImageReadError(f"{path}: {facts.shape} is a single slice, not a volume; {HINT}.")
    rest = facts.shape[3:]
    if any(side > 1 for side in rest[:-1]):
        raise ImageReadError(f"{path}: an array of shape {facts.shape}; expected (X, Y, Z) or (X, Y, Z, channels).")
    check_size(path, facts.shape[:3], 3, 3 if facts.packed else int(np.prod(rest)), facts.value_bytes)
    image = nib.load(path)
    array = np.asanyarray(image.dataobj)
    if facts.packed:
        array = colors_last(array, facts)
    values = np.moveaxis(array.reshape(*facts.shape[:3], -1), -1, 0).astype(np.float32)
    codes = {key: int(image.header[key]) for key in ("qform_code", "sform_code")}
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(values)), affine=torch.as_tensor(image.affine), meta=codes)


def _from_array(source: np.ndarray | torch.Tensor) -> MetaTensor:
    name = array_name(source)
    values = source.detach().cpu() if isinstance(source, torch.Tensor) else torch.from_numpy(np.array(source))
    values = values.as_tensor() if isinstance(values, MetaTensor) else values
    if values.ndim == 3:
        values = values[None]
    elif values.ndim == 4 and not isinstance(source, torch.Tensor):
        values = values.moveaxis(-1, 0)
    affine = source.affine.numpy() if isinstance(source, MetaTensor) else np.eye(4)
    facts = {"filename_or_obj": ARRAY_NAME, "file_kind": ARRAY, "qform_code": UNKNOWN, "sform_code": ALIGNED}
    return _checked(values.to(torch.float32).contiguous(), np.asarray(affine, np.float64), facts, name)


def _checked(values: torch.Tensor, affine: np.ndarray, facts: dict[str, Any], name: str) -> MetaTensor:
    """With all metadata, after a look at shape, values and affine."""
    sides = tuple(values.shape[1:])
    if len(sides) != 3 or min(values.shape) < 1:
        raise ImageReadError(f"{name}: {sides} is no volume of three axes; {HINT}.")
    if min(sides) < 2:
        raise ImageReadError(f"{name}: {sides} is a single slice, not a volume; {HINT}.")
    if not all(torch.isfinite(extreme) for extreme in torch.aminmax(values)):
        raise ValueError(f"{name}: NaN or infinite values; repair the file or leave it out.")
    _check_affine(affine, name)
    shape = np.array([*sides, values.shape[0] if values.shape[0] > 1 else 0], dtype=np.int64)
    meta = {
        **facts,
        "original_affine": affine.copy(),
        "spatial_shape": np.asarray(sides),
        "original_channel_dim": 0,
        "space": SpaceKeys.RAS,
        "file_size": np.asarray(sides),
        "file_shape": shape,
        "file_affine": affine.copy(),
    }
    return MetaTensor(values, affine=torch.as_tensor(affine), meta=meta)


def _check_affine(affine: np.ndarray, name: str) -> None:
    steps = voxel_size(affine)
    if not np.isfinite(affine).all() or steps.min() <= 0 or abs(np.linalg.det(affine[:3, :3])) < 1e-6 * steps.prod():
        raise ImageReadError(
            f"{name}: its header gives voxels of {' x '.join(f'{step:g}' for step in steps)} mm (affine "
            f"{affine[:3].tolist()}), which is no place in space; repair the header or convert the file again."
        )


def volume_header(source: Source) -> tuple[tuple[int, ...], np.ndarray]:
    """Sides ``(X, Y, Z)`` and affine of a volume: of a NIfTI file by its header alone, of others by reading them.

    Args:
        source: as :func:`read_channels` takes it; of a list the first file.

    Raises:
        ImageReadError, FileNotFoundError, ValueError: as :func:`read_channels`.
    """
    if not is_array(source) and not isinstance(source, (str, Path)) and isinstance(source, Sequence) and source:
        source = source[0]
    if isinstance(source, (str, Path)) and Path(source).is_file() and file_kind(Path(source)) == NIFTI:
        found: list[tuple[tuple[int, ...], np.ndarray]] = []

        def header_only(path: Path) -> MetaTensor:
            image = nib.load(path)
            found.append((nifti_facts(path).shape[:3], np.asarray(image.affine, dtype=np.float64)))
            return MetaTensor(torch.zeros(1))

        open_volume(Path(source), header_only)
        sides, affine = found[0]
        _check_affine(affine, str(source))
        return sides, affine
    volume = read_channels(source)
    return tuple(volume.shape[1:]), np.asarray(volume.meta["file_affine"])
