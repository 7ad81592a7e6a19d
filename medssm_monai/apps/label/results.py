"""Result images in the format that a client asks for."""

from __future__ import annotations

from pathlib import Path

import itk
import numpy as np
from monai.utils import optional_import
from PIL import Image

__all__ = ["suffix_of", "write_as"]

nib, _ = optional_import("nibabel")

RASTER, NRRD = ".png", ".nrrd"


def suffix_of(path: Path) -> str:
    """``.nii.gz``, or the last suffix."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()


def write_as(
    source: Path, target: Path, *, labels: bool = False, dtype: str | None = None, compress: bool = True
) -> Path:
    """Write a result again, with its geometry, as what the suffix of ``target`` says.

    Masks of pictures hold 255; in formats of volumes they become label numbers, as editors want them, and one slice.
    Label maps of several classes keep their numbers.

    Args:
        source: PNG or NIfTI.
        target: ``.png`` (of a PNG only), ``.nii``, ``.nii.gz`` or ``.nrrd``.
        labels: whether it is a mask or a label map.
        dtype: of the values in the file; None keeps them.
        compress: NRRD files.

    Raises:
        ValueError: a PNG of what is no picture, or of other values than 8 bits; label numbers that ``dtype`` cannot
            hold; axes that are not at right angles, which ITK does not take.
    """
    picture, wanted = suffix_of(source) == RASTER, suffix_of(target)
    if wanted == RASTER:
        if not picture or dtype not in (None, "uint8"):
            raise ValueError(f"result_extension {RASTER} is for masks of pictures, with result_dtype uint8.")
        source.replace(target)
        return target
    if labels and not picture and wanted != NRRD:
        volume = nib.load(source)
        kept = _as_type(np.asarray(volume.dataobj), dtype)
        volume.set_data_dtype(kept.dtype)
        nib.save(type(volume)(kept, None, volume.header), target)  # codes of the forms and the names stay
        source.unlink()
        return target
    if picture and labels:
        values = _label_numbers(source)
    else:
        image = _read(source)
        values = itk.array_from_image(image)
    if labels:
        values = _as_type(values, dtype)
    if picture:  # one slice, as editors of volumes read a picture
        made = itk.image_from_array(values[None], is_vector=values.ndim == 3)
    else:
        made = itk.image_from_array(values, is_vector=values.ndim > image.GetImageDimension())
        made.CopyInformation(image)
    itk.imwrite(made, str(target), compression=compress or wanted == ".nii.gz")
    source.unlink()
    return target


def _as_type(values: np.ndarray, dtype: str | None) -> np.ndarray:
    if dtype is not None and values.max(initial=0) > np.iinfo(dtype).max:
        raise ValueError(f"result_dtype {dtype} cannot hold the label {values.max()}; ask for uint16.")
    return values if dtype is None else values.astype(dtype)


def _read(path: Path) -> itk.Image:
    try:
        return itk.imread(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ValueError(f"this result cannot be written in that format ({reason}); ask for .nii.gz.") from error


def _label_numbers(path: Path) -> np.ndarray:
    """``(H, W)`` of a PNG: what an indexed or 16-bit one holds, 0 and 1 for a mask of 8 bits; ITK gives colors."""
    with Image.open(path) as picture:
        values = np.asarray(picture)
        return (values > 0).astype(np.uint8) if picture.mode == "L" else values
