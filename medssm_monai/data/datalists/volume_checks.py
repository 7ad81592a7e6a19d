"""What one file of a data set holds, looked at for its check: channels, shape, place and spacing of a picture or a
volume."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

from ..errors import ImageReadError, Problem
from ..readers.channels import TOLERANCE, same_place
from ..readers.files import NIFTI, RASTER, file_kind
from ..readers.image import read_pixels, why_unreadable
from ..readers.limits import check_size
from ..readers.nifti import nifti_facts
from ..readers.series_files import SeriesFiles
from ..readers.volume import is_volume, read_volume
from .picture_headers import open_image
from .segmentation_parts import image_files

__all__ = ["FileFacts", "case_problems", "look", "wrong_kind"]

nib, _ = optional_import("nibabel")
FLAT = 1e-6
"""Volume of a voxel as a share of its sides' product, below which axes lie in one plane."""
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class FileFacts:
    """What was found in one file.

    Attributes:
        shape: of the picture, rows first, or of the volume as stored.
        channels: values of each pixel or voxel; 1 for colors that are all gray; 0 where the header does not say.
        affine: of a volume, ``(4, 4)``; None for pictures.
        spacing: why the spacing is none; empty when it is one.
        turned: an EXIF tag asks viewers to turn the picture.
        unplaced: a NIfTI file that has a spacing and no place (codes of qform and sform are 0).
    """

    shape: tuple[int, ...]
    channels: int
    affine: np.ndarray | None = None
    spacing: str = ""
    unplaced: bool = False
    turned: bool = False


def wrong_kind(path: str, spatial_dims: int) -> Problem | None:
    """A picture or slice where volumes are expected, or the other way round; None for a file of the right kind, and for
    one that cannot be told by its header."""
    file = Path(path)
    if not file.is_file():
        return None
    kind = file_kind(file)
    if spatial_dims == 3 and kind == RASTER:
        return Problem("picture among volumes", path, "a picture")
    if kind != NIFTI:
        return None
    try:
        volume = is_volume(file)
    except ImageReadError:
        return None  # said where it is read
    if spatial_dims == 3 and not volume:
        return Problem("picture among volumes", path, "a single slice")
    return Problem("volume among pictures", path) if spatial_dims == 2 and volume else None


def look(path: str | SeriesFiles, spatial_dims: int, full: bool) -> FileFacts:
    """Facts of one file.

    Args:
        path: the file, or the sorted files of a DICOM series.
        spatial_dims: 2 or 3.
        full: decode it, so that truncation, NaN and infinite values are noticed; else the header alone is read.

    Raises:
        OSError: as the readers.
        ValueError: NaN or infinite values.
    """
    if isinstance(path, SeriesFiles):
        return _decoded(path)
    file = Path(path)
    if spatial_dims == 2:
        return _picture(file, full)
    if file.is_file() and file_kind(file) == NIFTI:
        try:
            return _nifti(file, full)
        except (ImageReadError, PermissionError, ValueError) as error:
            if isinstance(error, ValueError) and not str(error).startswith(str(path)):  # of nibabel
                raise ImageReadError(f"{path}: {why_unreadable(file, error)}") from error
            raise
        except Exception as error:  # nibabel raises many kinds for damaged files
            raise ImageReadError(f"{path}: {why_unreadable(file, error)}") from error
    return _decoded(path)


def _decoded(source: str | SeriesFiles) -> FileFacts:
    volume = read_volume(source, channels=None, scale=False)
    return FileFacts(tuple(volume.shape[1:]), volume.shape[0], np.asarray(volume.affine))


def _picture(file: Path, full: bool) -> FileFacts:
    turned = False
    if file.is_file() and file_kind(file) == RASTER:
        shape, turned = open_image(file, full=False)
        if not full:
            return FileFacts(shape, 0, turned=turned)
    values = read_pixels(file).values
    if not np.isfinite(values).all():
        raise ValueError(f"{file}: NaN or infinite values")
    gray = (values == values[..., :1]).all()
    return FileFacts(values.shape[:2], 1 if gray else values.shape[2], turned=turned)


def _nifti(file: Path, full: bool) -> FileFacts:
    facts = nifti_facts(file)
    sides = facts.shape[:3]
    if any(side > 1 for side in facts.shape[3:-1]):
        raise ImageReadError(f"{file}: an array of shape {facts.shape}; expected (X, Y, Z) or (X, Y, Z, channels).")
    channels = 3 if facts.packed else int(np.prod(facts.shape[3:]))
    check_size(file, sides, 3, channels, facts.value_bytes)
    image = nib.load(file)
    if full and not facts.packed:
        stored = np.asanyarray(image.dataobj.get_unscaled())
        if stored.dtype.kind == "f" and not all(np.isfinite(plane).all() for plane in np.moveaxis(stored, -1, 0)):
            raise ValueError(f"{file}: NaN or infinite values")
    elif full:
        np.asanyarray(image.dataobj)
    spacing, unplaced = _spacing(file, image.affine)
    return FileFacts(tuple(sides), channels, np.asarray(image.affine, dtype=np.float64), spacing, unplaced)


def _spacing(file: Path, affine: np.ndarray) -> tuple[str, bool]:
    """Why a file has no spacing (empty: it has one), and whether it has no place. The header is read as it lies in the
    file: nibabel turns 0 into 1."""
    with file.open("rb") as stream:
        opened = gzip.open if stream.read(2) == GZIP else open
    with opened(file, "rb") as stream:
        block = stream.read(540)
    kind, size = (
        (nib.Nifti1Header, 348) if nib.Nifti1Header.may_contain_header(block[:348]) else (nib.Nifti2Header, 540)
    )
    header = kind(block[:size], check=False)
    unplaced = int(header["qform_code"]) <= 0 and int(header["sform_code"]) <= 0
    sizes = nib.affines.voxel_sizes(affine) if int(header["sform_code"]) > 0 else header["pixdim"][1:4]
    good = np.isfinite(affine).all() and np.isfinite(sizes).all() and (np.asarray(sizes) > 0).all()
    good = good and abs(np.linalg.det(affine[:3, :3])) > FLAT * np.prod(nib.affines.voxel_sizes(affine))
    return "" if good else f"spacing {' x '.join(f'{size:g}' for size in sizes)}", unplaced


def case_problems(
    item: Mapping[str, Any], files: Sequence[FileFacts], label: FileFacts | None, label_name: str
) -> list[Problem]:
    """What does not fit together in the files of one image and its label."""
    names, found = image_files(item), []
    first = files[0]
    colored = [name for name, facts in zip(names, files, strict=True) if facts.channels > 1]
    if len(files) > 1 and colored:
        found.append(Problem("unequal channels", colored[0], "several channels in a file that should hold one"))
    others = [*zip(names[1:], files[1:], strict=True), *([(label_name, label)] if label is not None else [])]
    for name, facts in others:
        what = "label" if facts is label else "channel file"
        if facts.shape != first.shape:
            hint = "; the image carries an EXIF rotation, which is not applied" if first.turned else ""
            sizes = f"image {_sides(first.shape)}, {what} {_sides(facts.shape)}, {what} {name}{hint}"
            found.append(Problem("unequal sizes", names[0], sizes))
        elif first.affine is None or facts.affine is None or first.spacing or facts.spacing:
            continue  # pictures, or said below
        elif not same_place(first.affine, facts.affine):
            found.append(
                Problem("unequal geometry", names[0], f"{what} {name}: {_difference(first.affine, facts.affine)}")
            )
    placed = dict(zip(names, files, strict=True)) | ({label_name: label} if label is not None else {})
    found += [Problem("no spacing", name, facts.spacing) for name, facts in placed.items() if facts.spacing]
    return found


def _sides(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _difference(first: np.ndarray, second: np.ndarray) -> str:
    """Where two affines differ, in words."""
    codes = ["".join(nib.aff2axcodes(affine)) for affine in (first, second)]
    if codes[0] != codes[1]:
        return f"orientation {codes[0]} and {codes[1]}"
    sizes = [nib.affines.voxel_sizes(affine) for affine in (first, second)]
    if not np.allclose(sizes[0], sizes[1], rtol=TOLERANCE):
        return "spacing {} and {}".format(*(" x ".join(f"{size:g}" for size in own) for own in sizes))
    shift = second[:3, 3] - first[:3, 3]
    return (
        f"origins {np.linalg.norm(shift):.3g} mm apart" if np.abs(shift).max() > 0 else "other directions of the axes"
    )
